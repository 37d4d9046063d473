//! A change to the state, and the entry that records it.

use std::sync::Arc;

use crate::Value;

/// The store's version: one more per accepted write. 0 is the empty store.
pub type Revision = u64;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The key has this value from now on.
    Put {
        /// Which key; not empty.
        key: Arc<str>,
        /// Its value, opaque to the store.
        value: Value,
    },
    /// The key is gone. Deleting a key that does not exist is no error.
    Delete {
        /// Which key.
        key: Arc<str>,
    },
}

/// What a key must be for a change to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists.
    Present,
    /// The key's last write was at this revision.
    Modified(Revision),
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Which key.
    pub key: Arc<str>,
    /// What it must be.
    pub expect: Expect,
}

/// A write: all operations or none, if all preconditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Checked against the state right before the write, after all earlier writes.
    pub preconditions: Vec<Precondition>,
    /// Applied in order. Empty: nothing changes, but a revision is taken all the same.
    pub ops: Vec<Op>,
    /// Wall time of the writer, milliseconds since 1970 UTC; kept in the entry, decides nothing.
    pub time_unix_ms: i64,
}

impl Change {
    /// A change without conditions.
    #[must_use]
    pub fn at(time_unix_ms: i64) -> Self {
        Self { time_unix_ms, ..Self::default() }
    }

    /// The same, putting one more key.
    #[must_use]
    pub fn put(mut self, key: impl Into<Arc<str>>, value: impl Into<Vec<u8>>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: Value::from(value.into()) });
        self
    }

    /// The same, deleting one more key.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Arc<str>>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// The same, under one more condition.
    #[must_use]
    pub fn expect(mut self, key: impl Into<Arc<str>>, expect: Expect) -> Self {
        self.preconditions.push(Precondition { key: key.into(), expect });
        self
    }
}

/// An accepted write, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its revision: one more than the entry before.
    pub revision: Revision,
    /// The term it was written under.
    pub term: u64,
    /// As in [`Change`].
    pub time_unix_ms: i64,
    /// As in [`Change`].
    pub ops: Vec<Op>,
}
