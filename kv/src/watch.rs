//! Watching keys: what happens to them, in order, without a gap.

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Result;
use crate::range::{Header, Kv};

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written.
    Put(Kv),
    /// It was deleted, or its lease ran out.
    Delete {
        /// Which key.
        key: String,
        /// The revision of its deletion.
        revision: i64,
    },
}

/// Events that came together, in order; whole revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who sent it, and how far that member was; what happened up to there may still be on its way.
    pub header: Header,
    /// Empty: a sign of life, as they come again and again while nothing happens.
    pub events: Vec<Event>,
    /// The first of a connection, be it the watch's first one or another. Nothing is missing before it, unless the
    /// keyspace went back meanwhile and has moved on beyond where it was: only who looks again at what it has kept can
    /// tell.
    pub begun: bool,
}

/// A watch. Ends with its error, or when it is dropped.
#[derive(Debug)]
pub struct Watching {
    batches: mpsc::Receiver<Result<Batch>>,
    _task: JoinSet<()>,
}

impl Watching {
    /// What this task gives out.
    #[must_use]
    pub fn new(batches: mpsc::Receiver<Result<Batch>>, task: JoinSet<()>) -> Self {
        Self { batches, _task: task }
    }

    /// The next events. Safe to cancel. After an error there is nothing more.
    ///
    /// # Errors
    /// [`Error::Compacted`](crate::Error::Compacted), [`Error::WentBack`](crate::Error::WentBack): it cannot go on without a gap. [`Error::Refused`](crate::Error::Refused).
    pub async fn next(&mut self) -> Option<Result<Batch>> {
        self.batches.recv().await
    }
}

impl Event {
    /// The revision at which it happened.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.modified,
            Self::Delete { revision, .. } => *revision,
        }
    }

    /// Which key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }
}
