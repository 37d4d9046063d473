//! What is written: the record in the label, and the pages in config objects.
//!
//! Both are gzipped protobuf; gzip's checksum tells what is damaged. A label is text, so the record is in base64.

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use prost::Message;

/// What this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// Nothing that is read unpacks to more.
const LARGEST: u64 = 256 * 1024 * 1024;

/// What the label holds.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// The identity of these keys: random, made when the first one was written.
    #[prost(fixed64, tag = "2")]
    pub(crate) cluster: u64,
    /// One more per transaction that writes.
    #[prost(int64, tag = "3")]
    pub(crate) revision: i64,
    /// Deletions up to this revision may have left no trace.
    #[prost(int64, tag = "4")]
    pub(crate) floor: i64,
    /// What the last transactions were known by, the one that made `revision` last.
    #[prost(fixed64, repeated, tag = "5")]
    pub(crate) nonces: Vec<u64>,
    /// Keys that are in no page.
    #[prost(message, repeated, tag = "6")]
    pub(crate) items: Vec<Item>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) graves: Vec<Grave>,
    /// The identities of the config objects that are the pages.
    #[prost(string, repeated, tag = "8")]
    pub(crate) pages: Vec<String>,
}

/// A key.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
    #[prost(int64, tag = "3")]
    pub(crate) created: i64,
    #[prost(int64, tag = "4")]
    pub(crate) modified: i64,
    #[prost(int64, tag = "5")]
    pub(crate) lease: i64,
}

/// Keys that were deleted: what pages say of them from before does not count.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Grave {
    #[prost(string, tag = "1")]
    pub(crate) from: String,
    /// 0: one key; 1: all that begin with `from`; 2: until before `before`.
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    #[prost(string, tag = "3")]
    pub(crate) before: String,
    #[prost(int64, tag = "4")]
    pub(crate) revision: i64,
}

/// What a page holds.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PageBody {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// In order of the keys.
    #[prost(message, repeated, tag = "2")]
    pub(crate) items: Vec<Item>,
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it has the format {0}, and this version knows {FORMAT}: run a newer om-manager")]
    Newer(u32),
}

impl Record {
    /// As it stands in the label.
    pub(crate) fn to_label(&self) -> String {
        STANDARD.encode(pack(&self.encode_to_vec()))
    }

    pub(crate) fn from_label(label: &str) -> Result<Self, Unreadable> {
        let packed = STANDARD.decode(label.trim()).map_err(|error| Unreadable::Damaged(error.to_string()))?;
        let record = decode::<Self>(&packed)?;
        if record.format > FORMAT { Err(Unreadable::Newer(record.format)) } else { Ok(record) }
    }
}

impl PageBody {
    /// As it stands in the config object.
    pub(crate) fn to_data(&self) -> Vec<u8> {
        pack(&self.encode_to_vec())
    }

    pub(crate) fn from_data(data: &[u8]) -> Result<Self, Unreadable> {
        let body = decode::<Self>(data)?;
        if body.format > FORMAT { Err(Unreadable::Newer(body.format)) } else { Ok(body) }
    }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn decode<M: Message + Default>(packed: &[u8]) -> Result<M, Unreadable> {
    let mut bytes = Vec::new();
    let unpacked = GzDecoder::new(packed).take(LARGEST).read_to_end(&mut bytes);
    unpacked.map_err(|error| Unreadable::Damaged(error.to_string()))?;
    M::decode(Bytes::from(bytes)).map_err(|error| Unreadable::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_damaged_or_newer_is_not_read() {
        let record = Record { format: FORMAT, cluster: 7, revision: 3, ..Record::default() };
        let label = record.to_label();
        assert_eq!(Record::from_label(&label), Ok(record.clone()));
        let mut packed = STANDARD.decode(&label).unwrap();
        let last = packed.len() - 6;
        packed[last] ^= 1;
        for bad in [&label[..label.len() / 2], "", "somebody's words", &STANDARD.encode(packed)] {
            assert!(matches!(Record::from_label(bad), Err(Unreadable::Damaged(_))), "{bad}");
        }
        let newer = Record { format: FORMAT + 1, ..record };
        assert_eq!(Record::from_label(&newer.to_label()), Err(Unreadable::Newer(FORMAT + 1)));
    }
}
