//! Transactions, and what they answer.

use std::fmt;

use crate::range::{Found, Header, Kv, Range};

/// What must hold for a transaction's `then` to be done. A key that does not exist has revision 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key's last write was at this revision; 0: it does not exist.
    Modified {
        /// Which key.
        key: String,
        /// The revision.
        revision: i64,
    },
    /// The key was created at this revision; 0: it does not exist.
    Created {
        /// Which key.
        key: String,
        /// The revision.
        revision: i64,
    },
    /// The key exists.
    Present {
        /// Which key.
        key: String,
    },
    /// The key's last write was at this revision or later.
    Since {
        /// Which key.
        key: String,
        /// The revision.
        revision: i64,
    },
    /// The key has this value.
    Value {
        /// Which key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// No key that begins with this was written after this revision.
    Untouched {
        /// The prefix.
        prefix: String,
        /// The revision.
        since: i64,
    },
}

impl Guard {
    /// The key's last write was at this revision; 0: it does not exist.
    #[must_use]
    pub fn modified(key: impl Into<String>, revision: i64) -> Self {
        Self::Modified { key: key.into(), revision }
    }

    /// The key does not exist.
    #[must_use]
    pub fn absent(key: impl Into<String>) -> Self {
        Self::Created { key: key.into(), revision: 0 }
    }
}

/// One step of a transaction. A transaction must not write a key twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put {
        /// Which key.
        key: String,
        /// Its value.
        value: Vec<u8>,
        /// The lease that it lives under; 0: none.
        lease: i64,
    },
    /// Reads.
    Get(Range),
    /// Deletes.
    Delete(Range),
}

impl Op {
    /// Writes a key, under no lease.
    #[must_use]
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: 0 }
    }

    /// Reads one key.
    #[must_use]
    pub fn get(key: impl Into<String>) -> Self {
        Self::Get(Range::key(key))
    }

    fn weight(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Get(_) | Self::Delete(_) => 0,
        }
    }
}

/// If all guards hold, one list of steps, else the other; all at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// Done if it holds.
    pub then: Vec<Op>,
    /// Done if it does not.
    pub otherwise: Vec<Op>,
}

impl Txn {
    /// Without guards and steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more guard.
    #[must_use]
    pub fn when(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// With one more step for when the guards hold.
    #[must_use]
    pub fn then(mut self, op: Op) -> Self {
        self.then.push(op);
        self
    }

    /// With one more step for when a guard does not hold.
    #[must_use]
    pub fn otherwise(mut self, op: Op) -> Self {
        self.otherwise.push(op);
        self
    }

    /// Whether it changes nothing, whatever holds.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.then.iter().chain(&self.otherwise).all(|op| matches!(op, Op::Get(_)))
    }

    /// About how many bytes are sent.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.then.iter().chain(&self.otherwise).map(|op| op.weight() as u64).sum()
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.then.iter().chain(&self.otherwise).max_by_key(|op| !matches!(op, Op::Get(_)));
        match first {
            Some(Op::Put { key, .. }) => write!(f, "write {key}"),
            Some(Op::Delete(range)) => write!(f, "delete {range}"),
            Some(Op::Get(range)) => write!(f, "read {range}"),
            None => write!(f, "do an empty transaction"),
        }
    }
}

/// What one step answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Written.
    Put,
    /// What was found.
    Get(Found),
    /// How many were deleted.
    Delete(u64),
}

/// What a transaction answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnAnswer {
    /// Who answered. After a write its revision is that of the write.
    pub header: Header,
    /// Whether the guards held, so that `then` was done.
    pub succeeded: bool,
    /// One for each step that was done.
    pub answers: Vec<Answer>,
}

impl TxnAnswer {
    /// What the read at this place among the steps found; nothing if that step was none.
    #[must_use]
    pub fn found(&self, place: usize) -> &[Kv] {
        match self.answers.get(place) {
            Some(Answer::Get(found)) => &found.kvs,
            _ => &[],
        }
    }
}
