//! Reads, and what they find.

use std::fmt;

/// Which cluster answered, and how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster's identity. A cluster restored from a backup may have the same.
    pub cluster: u64,
    /// The member that answered.
    pub member: u64,
    /// The newest revision when it answered.
    pub revision: i64,
    /// The term of the cluster's own leader; nothing to do with a term of ours.
    pub raft_term: u64,
}

/// One key as it is kept.
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
    /// The key, or where the keys begin.
    pub key: String,
    /// Where they end.
    pub end: End,
    /// At most so many; 0: all.
    pub limit: i64,
    /// As they were at this revision; 0: the newest.
    pub revision: i64,
    /// Without the values.
    pub keys_only: bool,
    /// Only how many there are.
    pub count_only: bool,
    /// The answer may be megabytes.
    pub large: bool,
}

/// Where a range ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is one key.
    One,
    /// With the last key that begins so.
    Prefix,
    /// Before this key.
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

    /// As they were at this revision: read from whichever member has it, also while the cluster has no leader.
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
