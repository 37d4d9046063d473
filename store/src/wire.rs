//! Keys and entries as messages, for all backends that write them down.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Entry, Op};

/// One key in a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotRecord {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
    #[prost(uint64, tag = "3")]
    pub(crate) modified: u64,
}

/// An accepted write.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EntryRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    #[prost(int64, tag = "3")]
    pub(crate) time_unix_ms: i64,
    #[prost(message, repeated, tag = "4")]
    pub(crate) ops: Vec<OpRecord>,
}

/// A put, or without a value a delete.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OpRecord {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) value: Option<Bytes>,
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let ops = entry.ops.iter().map(|op| match op {
            Op::Put { key, value } => {
                OpRecord { key: key.to_string(), value: Some(Bytes::from_owner(value.clone())) }
            }
            Op::Delete { key } => OpRecord { key: key.to_string(), value: None },
        });
        Self {
            revision: entry.revision,
            term: entry.term,
            time_unix_ms: entry.time_unix_ms,
            ops: ops.collect(),
        }
    }
}

/// What stays in memory, of its own: nothing of what the record was read from, which is thus given back in one piece. Holes
/// between what stays once took a fifth of a large state's memory.
impl From<EntryRecord> for Entry {
    fn from(record: EntryRecord) -> Self {
        let mut ops = Vec::with_capacity(record.ops.len());
        ops.extend(record.ops.into_iter().map(|op| {
            let key: Arc<str> = op.key.into();
            match op.value {
                Some(value) => Op::Put { key, value: value[..].into() },
                None => Op::Delete { key },
            }
        }));
        Self { revision: record.revision, term: record.term, time_unix_ms: record.time_unix_ms, ops }
    }
}
