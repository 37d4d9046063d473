//! What the manager keeps in the store: the keys, and the messages behind them.
//!
//! The store sees opaque bytes. Here they get their meaning: protobuf, so that an older program can read what a newer
//! one wrote as far as it knows it.

use std::collections::HashMap;

use bytes::Bytes;
use om_api::v1;
use prost::Message;

use crate::packing;

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
    /// What the user declared, if it is not packed.
    #[prost(message, optional, tag = "1")]
    declaration: Option<v1::Declaration>,
    /// Whether it is being torn down.
    #[prost(bool, tag = "2")]
    pub(crate) destroying: bool,
    /// The revision of the declaration, where this record was rewritten since (freed, destroying); 0: the record's own.
    #[prost(uint64, tag = "3")]
    pub(crate) declared_at: u64,
    /// What the user declared, [packed](packing), but the labels.
    #[prost(bytes = "bytes", tag = "4")]
    packed: Bytes,
    /// Its length, unpacked.
    #[prost(uint32, tag = "5")]
    length: u32,
    /// Its kind, if it is packed.
    #[prost(string, tag = "6")]
    packed_kind: String,
    /// Its labels, if it is packed.
    #[prost(hash_map = "string, string", tag = "7")]
    packed_labels: HashMap<String, String>,
}

impl ServiceRecord {
    /// Reads a stored record, without unpacking it.
    pub(crate) fn read(key: &str, record: &om_store::Record) -> Result<Self, om_store::Error> {
        Self::decode(&*record.value).map_err(|cause| damaged(key, &cause.to_string()))
    }

    /// The record of a declaration.
    pub(crate) fn new(mut declaration: v1::Declaration, destroying: bool, declared_at: u64) -> Self {
        let labels = std::mem::take(&mut declaration.labels);
        let plain = declaration.encode_to_vec();
        let length = u32::try_from(plain.len()).ok();
        match packing::pack(&plain).zip(length) {
            Some((packed, length)) => Self {
                declaration: None,
                destroying,
                declared_at,
                packed: packed.into(),
                length,
                packed_kind: declaration.kind,
                packed_labels: labels,
            },
            None => {
                let declaration = Some(v1::Declaration { labels, ..declaration });
                Self { declaration, destroying, declared_at, ..Default::default() }
            }
        }
    }

    /// The kind of the service, without unpacking it.
    pub(crate) fn kind(&self) -> &str {
        self.declaration.as_ref().map_or(&*self.packed_kind, |declaration| &*declaration.kind)
    }

    /// The labels of the service, without unpacking it.
    pub(crate) fn labels(&self) -> &HashMap<String, String> {
        self.declaration.as_ref().map_or(&self.packed_labels, |declaration| &declaration.labels)
    }

    /// The revision of the declaration, in a record that was last modified at this one.
    fn revision(&self, modified: u64) -> u64 {
        if self.declared_at == 0 { modified } else { self.declared_at }
    }

    /// The service in short, of a record that was last modified at this revision, without unpacking it. Its phase is said
    /// only where it is being torn down.
    pub(crate) fn summary(self, name: &str, modified: u64) -> v1::Summary {
        let (revision, destroying) = (self.revision(modified), self.destroying);
        let (kind, labels) = match self.declaration {
            Some(declaration) => (declaration.kind, declaration.labels),
            None => (self.packed_kind, self.packed_labels),
        };
        summary(name, kind, labels, revision, destroying)
    }

    fn declaration(self) -> Result<v1::Declaration, String> {
        match self.declaration {
            Some(declaration) => Ok(declaration),
            None if self.packed.is_empty() => Err("no declaration".to_owned()),
            None => {
                let plain = packing::unpack(&self.packed, self.length)?;
                let read = v1::Declaration::decode(Bytes::from(plain)).map_err(|cause| cause.to_string())?;
                Ok(v1::Declaration { labels: self.packed_labels, ..read })
            }
        }
    }
}

/// What the plugin of a service has kept with it; empty if that is nothing.
pub(crate) fn state_of(view: &om_store::View, service: &str) -> Bytes {
    view.get(&key(STATES, service)).map(|record| Bytes::from_owner(record.value)).unwrap_or_default()
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
        let read = ServiceRecord::read(key, record)?;
        let (destroying, revision) = (read.destroying, read.revision(record.modified));
        let declaration = read.declaration().map_err(|why| damaged(key, &why))?;
        Ok(Self { declaration, destroying, revision, modified: record.modified })
    }

    /// The record that marks it as being destroyed, or as freed: same declaration, same revision of it.
    pub(crate) fn rewritten(&self, destroying: bool) -> Vec<u8> {
        ServiceRecord::new(self.declaration.clone(), destroying, self.revision).encode_to_vec()
    }

    /// The service in short. Its phase is said only where it is being torn down.
    pub(crate) fn summary(&self) -> v1::Summary {
        let v1::Declaration { name, kind, labels, .. } = &self.declaration;
        summary(name, kind.clone(), labels.clone(), self.revision, self.destroying)
    }
}

fn summary(
    name: &str,
    kind: String,
    labels: HashMap<String, String>,
    revision: u64,
    destroying: bool,
) -> v1::Summary {
    let phase = if destroying { v1::Phase::Destroying } else { v1::Phase::Unspecified };
    let (name, phase, message) = (name.to_owned(), phase.into(), String::new());
    v1::Summary { name, kind, revision, phase, message, labels }
}

fn damaged(key: &str, what: &str) -> om_store::Error {
    om_store::Error::Corrupt { what: format!("{key}: {what}") }
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
        let record = om_store::Record { value: declared(declaration).into(), modified: 7 };
        Stored::read("service/web", &record).expect("readable")
    }

    fn declared(declaration: v1::Declaration) -> Vec<u8> {
        ServiceRecord::new(declaration, false, 0).encode_to_vec()
    }

    #[test]
    fn a_large_declaration_is_packed_and_its_kind_and_labels_are_in_the_clear() {
        let spec = serde_json::json!({ "command": vec!["sleep"; 100] }).to_string();
        let declaration = v1::Declaration {
            name: "web".into(),
            kind: "process".into(),
            spec_json: spec.into(),
            labels: HashMap::from([("team".into(), "a".into())]),
        };
        let plain = declaration.encode_to_vec();
        let value = declared(declaration.clone());
        assert!(value.len() < plain.len() / 2, "{} of {}", value.len(), plain.len());
        let packed = ServiceRecord::decode(&*value).expect("a record");
        assert_eq!((packed.kind(), packed.labels()), ("process", &declaration.labels));
        let record = om_store::Record { value: value.into(), modified: 7 };
        let stored = Stored::read("service/web", &record).expect("readable");
        assert_eq!(stored.declaration, declaration);
        assert_eq!(packed.summary("web", 7), stored.summary());
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
        let record = om_store::Record { value: b""[..].into(), modified: 1 };
        assert!(matches!(Stored::read("service/x", &record), Err(om_store::Error::Corrupt { .. })));
    }
}
