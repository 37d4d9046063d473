//! Transactions, and what they answer.

use std::fmt;

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp, TxnOpResponse};

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

    fn compare(&self) -> Compare {
        match self {
            Self::Modified { key, revision } => {
                Compare::mod_revision(key.as_str(), CompareOp::Equal, *revision)
            }
            Self::Created { key, revision } => {
                Compare::create_revision(key.as_str(), CompareOp::Equal, *revision)
            }
            Self::Present { key } => Compare::create_revision(key.as_str(), CompareOp::Greater, 0),
            Self::Since { key, revision } => {
                Compare::mod_revision(key.as_str(), CompareOp::Greater, revision.saturating_sub(1))
            }
            Self::Value { key, value } => Compare::value(key.as_str(), CompareOp::Equal, value.clone()),
            Self::Untouched { prefix, since } => {
                Compare::mod_revision(prefix.as_str(), CompareOp::Less, since.saturating_add(1)).with_prefix()
            }
        }
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

    fn request(&self) -> TxnOp {
        match self {
            Self::Put { key, value, lease } => {
                TxnOp::put(key.as_str(), value.clone(), Some(PutOptions::new().with_lease(*lease)))
            }
            Self::Get(range) => TxnOp::get(range.key.as_str(), Some(range.options())),
            Self::Delete(range) => TxnOp::delete(range.key.as_str(), Some(range.delete_options())),
        }
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

    /// The same as a proposal, if it only reads, whatever holds.
    pub(crate) fn by_proposal(&self) -> Option<Self> {
        let Some(Op::Get(range)) = self.then.first() else { return None };
        let simple = self.guards.is_empty() && self.otherwise.is_empty() && self.only_reads();
        simple.then(|| proposal(self.then.clone(), &range.key))
    }

    pub(crate) fn only_reads(&self) -> bool {
        self.then.iter().chain(&self.otherwise).all(|op| matches!(op, Op::Get(_)))
    }

    /// About how many bytes are sent.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.then.iter().chain(&self.otherwise).map(|op| op.weight() as u64).sum()
    }
}

/// Reads as a transaction that goes through the log like a write, though it never writes: a member whose leader went
/// away while it asked it for the newest revision waits for an answer that does not come, and lets later readers wait
/// with it (etcd 3.4); a proposal it sends anew.
pub(crate) fn proposal(reads: Vec<Op>, key: &str) -> Txn {
    Txn {
        guards: vec![Guard::Created { key: key.to_owned(), revision: -1 }],
        then: vec![Op::Delete(Range::key(key))],
        otherwise: reads,
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

impl From<&Txn> for etcd_client::Txn {
    fn from(txn: &Txn) -> Self {
        let requests = |ops: &[Op]| ops.iter().map(Op::request).collect::<Vec<_>>();
        Self::new()
            .when(txn.guards.iter().map(Guard::compare).collect::<Vec<_>>())
            .and_then(requests(&txn.then))
            .or_else(requests(&txn.otherwise))
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

    pub(crate) fn into_found(self) -> Found {
        let first = self.answers.into_iter().next();
        let Some(Answer::Get(found)) = first else {
            return Found { header: self.header, ..Found::default() };
        };
        // Answers within a transaction carry only the revision.
        Found { header: self.header, ..found }
    }
}

impl From<etcd_client::TxnResponse> for TxnAnswer {
    fn from(response: etcd_client::TxnResponse) -> Self {
        let answers = response.op_responses().into_iter().filter_map(|answer| match answer {
            TxnOpResponse::Put(_) => Some(Answer::Put),
            TxnOpResponse::Get(found) => Some(Answer::Get(found.into())),
            TxnOpResponse::Delete(deleted) => {
                Some(Answer::Delete(u64::try_from(deleted.deleted()).unwrap_or(0)))
            }
            TxnOpResponse::Txn(_) => None,
        });
        Self { header: response.header().into(), succeeded: response.succeeded(), answers: answers.collect() }
    }
}
