//! What replicas say to each other, and the port through which they do.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use om_kv::layout::ReplicaRecord;
use tokio::sync::mpsc;
use tokio_stream::Stream;

/// From the replica that opened the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The leader asks: take nothing over, and help nobody to, for `promise` from your receiving this.
    Beat {
        /// The leader's term.
        term: u64,
        /// The electorate it counts by: the mod-revision of its record.
        electorate: u64,
        /// Number of the beat, growing.
        beat: u64,
        /// How long the promise is to last.
        promise: Duration,
    },
    /// A candidate asks: promise nothing more to the leader of this term under this electorate.
    Vote {
        /// The term that is to end.
        term: u64,
        /// The electorate by which votes are counted.
        electorate: u64,
        /// Number of the question, growing.
        vote: u64,
    },
    /// The leader of this term leads no more.
    Farewell {
        /// The term that is over.
        term: u64,
    },
    /// The process that opened the line leads no more under this term, and everything that was done under it has stopped.
    Bequest {
        /// The term that is over: of a claim by this process.
        term: u64,
        /// The name of the replica that is to follow, if one was named.
        successor: Option<String>,
    },
}

/// From the replica at which the line was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The promise is given.
    Promised {
        /// Which beat is answered.
        beat: u64,
    },
    /// It is not.
    Refused {
        /// Which beat is answered.
        beat: u64,
        /// The newest term that this replica knows of.
        term: u64,
        /// It voted against the term under this electorate; 0: it did not.
        electorate: u64,
    },
    /// Answers a vote.
    Ballot {
        /// Which vote is answered.
        vote: u64,
        /// Whether it is given.
        granted: bool,
        /// How long what was promised before may still count.
        remaining: Duration,
        /// Why it is not given, for people.
        why: String,
    },
}

/// What comes over a line. Its end is the end of the line: the process is gone, or cannot be reached.
pub type Coming<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// A line that this replica opened. Dropped, it is closed.
pub struct Outgoing {
    /// Requests go in here. A peer that does not keep up misses some.
    pub requests: mpsc::Sender<Request>,
    /// Answers come out here.
    pub answers: Coming<Answer>,
}

/// A line that another replica opened. Dropped, it is closed.
pub struct Incoming {
    /// The other's process.
    pub instance: String,
    /// Requests come out here.
    pub requests: Coming<Request>,
    /// Answers go in here. A peer that does not keep up misses some.
    pub answers: mpsc::Sender<Answer>,
}

/// The way to other replicas.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Opens a line to a replica, and makes sure that it is this very process.
    ///
    /// # Errors
    /// Why it cannot, for people.
    async fn dial(&self, to: &ReplicaRecord) -> Result<Outgoing, String>;
}
