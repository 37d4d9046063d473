//! Reads, and what they find.

use std::fmt;

use etcd_client::{DeleteOptions, GetOptions, GetResponse};

use crate::txn::{Op, Txn, proposal};

/// Which cluster answered, and how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster's identity. A cluster restored from a backup may have the same.
    pub cluster: u64,
    /// The member that answered.
    pub member: u64,
    /// The newest revision when it answered.
    pub revision: i64,
    /// The term of etcd's own leader; nothing to do with a term of ours.
    pub raft_term: u64,
}

/// One key as etcd has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision that created it.
    pub created: i64,
    /// The revision of its last write.
    pub modified: i64,
    /// The lease that it lives under; 0: none.
    pub lease: i64,
}

/// Which keys to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub(crate) key: String,
    pub(crate) end: End,
    pub(crate) limit: i64,
    pub(crate) revision: i64,
    keys_only: bool,
    count_only: bool,
    pub(crate) large: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    One,
    Prefix,
    Before(String),
}

impl Range {
    fn new(key: impl Into<String>, end: End) -> Self {
        Self {
            key: key.into(),
            end,
            limit: 0,
            revision: 0,
            keys_only: false,
            count_only: false,
            large: false,
        }
    }

    /// One key.
    #[must_use]
    pub fn key(key: impl Into<String>) -> Self {
        Self::new(key, End::One)
    }

    /// All keys that begin with this.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::new(prefix, End::Prefix)
    }

    /// All keys from `from` on that are before `end`.
    #[must_use]
    pub fn between(from: impl Into<String>, end: impl Into<String>) -> Self {
        Self::new(from, End::Before(end.into()))
    }

    /// At most so many, in order of the keys.
    #[must_use]
    pub fn limit(self, limit: u32) -> Self {
        Self { limit: limit.into(), ..self }
    }

    /// As they were at this revision: read from whichever member has it, also while etcd has no leader.
    #[must_use]
    pub fn at(self, revision: i64) -> Self {
        Self { revision, ..self }
    }

    /// Without the values.
    #[must_use]
    pub fn keys_only(self) -> Self {
        Self { keys_only: true, ..self }
    }

    /// Only how many there are.
    #[must_use]
    pub fn count_only(self) -> Self {
        Self { count_only: true, ..self }
    }

    /// The answer may be megabytes: attempts get ten times as long.
    #[must_use]
    pub fn large(self) -> Self {
        Self { large: true, ..self }
    }

    pub(crate) fn options(&self) -> GetOptions {
        let options = GetOptions::new().with_limit(self.limit);
        let options = match &self.end {
            End::One => options,
            End::Prefix => options.with_prefix(),
            End::Before(end) => options.with_range(end.as_str()),
        };
        // What was at a revision never changes: any member that has it may say it.
        let options = match self.revision {
            0 => options,
            revision => options.with_revision(revision).with_serializable(),
        };
        let options = if self.keys_only { options.with_keys_only() } else { options };
        if self.count_only { options.with_count_only() } else { options }
    }

    pub(crate) fn delete_options(&self) -> DeleteOptions {
        match &self.end {
            End::One => DeleteOptions::new(),
            End::Prefix => DeleteOptions::new().with_prefix(),
            End::Before(end) => DeleteOptions::new().with_range(end.as_str()),
        }
    }

    pub(crate) fn by_proposal(&self) -> Txn {
        proposal(vec![Op::Get(self.clone())], &self.key)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::One => write!(f, "{}", self.key),
            End::Prefix => write!(f, "{}*", self.key),
            End::Before(end) => write!(f, "{}..{end}", self.key),
        }
    }
}

/// What a read found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Who answered.
    pub header: Header,
    /// The keys, in order.
    pub kvs: Vec<Kv>,
    /// How many there are in the range, whatever the limit.
    pub count: u64,
    /// Whether the limit cut some off.
    pub more: bool,
}

impl Found {
    /// The only key, where one was asked for.
    #[must_use]
    pub fn one(&self) -> Option<&Kv> {
        self.kvs.first()
    }
}

impl From<GetResponse> for Found {
    fn from(mut response: GetResponse) -> Self {
        Self {
            header: response.header().into(),
            count: u64::try_from(response.count()).unwrap_or(0),
            more: response.more(),
            kvs: response.take_kvs().into_iter().map(Kv::from).collect(),
        }
    }
}

impl From<etcd_client::KeyValue> for Kv {
    fn from(kv: etcd_client::KeyValue) -> Self {
        let (created, modified, lease) = (kv.create_revision(), kv.mod_revision(), kv.lease());
        let (key, value) = kv.into_key_value();
        let key = String::from_utf8(key)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Self { key, value, created, modified, lease }
    }
}
