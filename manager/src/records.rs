//! What the manager keeps in the store: the keys, and the messages behind them.
//!
//! The store sees opaque bytes. Here they get their meaning: protobuf, so that an older program can read what a newer
//! one wrote as far as it knows it.

use std::collections::HashMap;

use om_api::v1;
use prost::Message;

/// `service/NAME`: a [`ServiceRecord`], declared and looked after (or being destroyed).
pub(crate) const SERVICES: &str = "service/";
/// `freed/NAME`: a [`ServiceRecord`] that is no longer looked after; its members may still run.
pub(crate) const FREED: &str = "freed/";
/// `state/NAME`: what the plugin saved, opaque.
pub(crate) const STATES: &str = "state/";
/// `request/ID`: a [`RequestRecord`].
pub(crate) const REQUESTS: &str = "request/";
/// `operation/ID`: a [`v1::Operation`].
pub(crate) const OPERATIONS: &str = "operation/";
/// `grant/HOST/SOCKET`: a [`GrantRecord`].
pub(crate) const GRANTS: &str = "grant/";
/// A [`ReignRecord`]: who leads. Written once a term.
pub(crate) const REIGN: &str = "reign";

/// A [`CompactionRecord`]: the newest compaction.
pub(crate) const COMPACTED: &str = "compacted";

/// A declared service.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServiceRecord {
    /// What the user declared.
    #[prost(message, optional, tag = "1")]
    pub(crate) declaration: Option<v1::Declaration>,
    /// Whether it is being torn down.
    #[prost(bool, tag = "2")]
    pub(crate) destroying: bool,
    /// The revision of the declaration, where this record was rewritten since (freed, destroying); 0: the record's own.
    #[prost(uint64, tag = "3")]
    pub(crate) declared_at: u64,
}

/// A request that took effect: its repetition gets the same answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RequestRecord {
    /// Which service or services it was about.
    #[prost(string, tag = "1")]
    pub(crate) service: String,
    /// When, milliseconds since 1970 UTC. For forgetting it one day.
    #[prost(int64, tag = "2")]
    pub(crate) time_unix_ms: i64,
    /// The revision to answer; 0: the record's own.
    #[prost(uint64, tag = "3")]
    pub(crate) revision: u64,
    /// For a commit: whether it changed anything.
    #[prost(bool, tag = "4")]
    pub(crate) changed: bool,
    /// For a commit: its plan.
    #[prost(string, repeated, tag = "5")]
    pub(crate) plan: Vec<String>,
    /// For a run: its operation.
    #[prost(string, tag = "6")]
    pub(crate) operation: String,
    /// For a restore: what was freed.
    #[prost(string, repeated, tag = "7")]
    pub(crate) freed: Vec<String>,
    /// What the request was: a repetition must be the same call.
    #[prost(string, tag = "8")]
    pub(crate) call: String,
}

/// A compaction that was done: the next one is due so many entries after it, whoever leads then.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct CompactionRecord {
    /// The revision of its snapshot.
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
}

/// The authority that a leader may have handed to a plugin. Written before it is handed out, so that the next leader
/// knows whom it must have stopped, or wait for.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GrantRecord {
    /// The plugin's name. Tag 1 was the leader's term.
    #[prost(string, tag = "2")]
    pub(crate) plugin: String,
    /// Its host.
    #[prost(string, tag = "3")]
    pub(crate) host: String,
    /// Its socket's path on that host.
    #[prost(string, tag = "4")]
    pub(crate) socket: String,
    /// Its kinds.
    #[prost(string, repeated, tag = "5")]
    pub(crate) kinds: Vec<String>,
    /// How long one renewal lasts at most, in milliseconds.
    #[prost(uint64, tag = "6")]
    pub(crate) authority_ms: u64,
    /// Digest of the secret that the plugin was left in a will; empty: none.
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) will: Vec<u8>,
}

/// Who leads.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReignRecord {
    /// The replica's name.
    #[prost(string, tag = "1")]
    pub(crate) manager: String,
    /// Where it serves.
    #[prost(string, tag = "2")]
    pub(crate) endpoint: String,
}

/// The key of something by its name or id.
pub(crate) fn key(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

/// A service as the rest of the manager handles it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) declaration: v1::Declaration,
    pub(crate) destroying: bool,
    /// The revision of the declaration.
    pub(crate) revision: u64,
    /// The revision of the record, for preconditions.
    pub(crate) modified: u64,
}

impl Stored {
    /// Reads a stored record.
    pub(crate) fn read(key: &str, record: &om_store::Record) -> Result<Self, om_store::Error> {
        let damaged = |what: &str| om_store::Error::Corrupt { what: format!("{key}: {what}") };
        let read =
            ServiceRecord::decode(record.value.clone()).map_err(|cause| damaged(&cause.to_string()))?;
        let declaration = read.declaration.ok_or_else(|| damaged("no declaration"))?;
        let revision = if read.declared_at == 0 { record.modified } else { read.declared_at };
        Ok(Self { declaration, destroying: read.destroying, revision, modified: record.modified })
    }

    /// The record that marks it as being destroyed, or as freed: same declaration, same revision of it.
    pub(crate) fn rewritten(&self, destroying: bool) -> Vec<u8> {
        let declaration = Some(self.declaration.clone());
        ServiceRecord { declaration, destroying, declared_at: self.revision }.encode_to_vec()
    }

    /// The service in short, with the given phase.
    pub(crate) fn summary(&self, phase: v1::Phase, message: String) -> v1::Summary {
        v1::Summary {
            name: self.declaration.name.clone(),
            kind: self.declaration.kind.clone(),
            revision: self.revision,
            phase: phase.into(),
            message,
            labels: self.declaration.labels.clone(),
        }
    }
}

/// Whether `labels` carry everything that `selector` asks for.
pub(crate) fn selected(labels: &HashMap<String, String>, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let declaration =
            v1::Declaration { name: "web".into(), kind: "process".into(), ..Default::default() };
        let fresh = ServiceRecord { declaration: Some(declaration), destroying: false, declared_at: 0 };
        let record = om_store::Record { value: fresh.encode_to_vec().into(), modified: 7 };
        Stored::read("service/web", &record).expect("readable")
    }

    #[test]
    fn a_rewritten_service_keeps_the_revision_of_its_declaration() {
        let first = stored();
        assert_eq!((first.revision, first.modified), (7, 7));
        let record = om_store::Record { value: first.rewritten(true).into(), modified: 9 };
        let second = Stored::read("service/web", &record).expect("readable");
        assert_eq!((second.revision, second.modified, second.destroying), (7, 9, true));
    }

    #[test]
    fn a_record_without_a_declaration_is_damage_not_a_service() {
        let record = om_store::Record { value: bytes::Bytes::new(), modified: 1 };
        assert!(matches!(Stored::read("service/x", &record), Err(om_store::Error::Corrupt { .. })));
    }
}
