//! What a history is made of.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the one clock of the history.
    pub at: Duration,
    /// What.
    pub what: What,
}

impl Event {
    /// Something happened then.
    #[must_use]
    pub fn new(at: Duration, what: What) -> Self {
        Self { at, what }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A plugin acted on a service.
    Acted {
        /// Which process of which plugin; for people.
        plugin: String,
        /// The service's kind: what one term must have left alone before the next begins.
        kind: String,
        /// The service.
        service: String,
        /// The term under which it was permitted.
        term: u64,
        /// The revision of the declaration that it acted by.
        revision: u64,
        /// What it did.
        deed: Deed,
    },
    /// A replica's process ended for good; a new process of its name is another life.
    Died {
        /// The replica's name.
        replica: String,
    },
    /// A client asks.
    Called {
        /// A number of its own among all calls.
        call: u64,
        /// The service.
        service: String,
        /// What for.
        intent: Intent,
    },
    /// It is told for certain.
    Answered {
        /// The call.
        call: u64,
        /// The replica that answered; empty: not known.
        by: String,
        /// What it was told.
        answer: Answer,
    },
    /// It is told that nothing was done by its last attempt; an earlier one, which was never answered, may have taken
    /// effect, or still may.
    Refused {
        /// The call.
        call: u64,
        /// The replica that answered; empty: not known.
        by: String,
        /// What it was told.
        answer: Answer,
    },
    /// Somebody begins to watch.
    Opened {
        /// A number of its own among all streams: who resumes opens another one.
        watch: u64,
        /// Only this service; none: all of them.
        service: Option<String>,
        /// Every event after this revision; none: from now on.
        after: Option<u64>,
    },
    /// A watch, or a history that was asked for, brought a stored event.
    Watched {
        /// The stream.
        watch: u64,
        /// The event.
        stored: Stored,
    },
    /// How a service stood when all faults were over and there had been time to make everything good; one for each that
    /// is listed, and one with `seen: None` for each that is known and is not.
    Stood {
        /// The service.
        service: String,
        /// How it was listed.
        seen: Option<Seen>,
        /// Whether it was ready.
        ready: bool,
        /// What was said about it.
        message: String,
    },
}

/// What a plugin did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Looked after it.
    Steer,
    /// Tore it down.
    Destroy,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Declare this.
    Commit {
        /// Stands for the declaration.
        value: u64,
        /// Only at this revision; 0: only if it does not exist.
        if_revision: Option<u64>,
    },
    /// Stop looking after it.
    Free,
    /// Tear it down.
    Destroy,
    /// See how it stands.
    Read,
}

/// What a client is told for certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is declared.
    Committed {
        /// The revision that it stands at.
        revision: u64,
        /// Whether that is new.
        changed: bool,
    },
    /// It is no longer looked after.
    Freed {
        /// The revision of that.
        revision: u64,
    },
    /// Its tearing down is decided.
    Destroyed {
        /// The revision of the decision.
        revision: u64,
        /// Whether nothing is left of it.
        done: bool,
    },
    /// What a read saw; none: it is not declared.
    Stands(Option<Seen>),
    /// It stood at another revision than was demanded; nothing was done.
    Conflict {
        /// At this one; 0: it did not exist.
        stands_at: u64,
    },
    /// It does not exist; nothing was done.
    NotFound,
    /// Nothing was done.
    Refused {
        /// Why.
        reason: String,
        /// For a refusal that sends the client elsewhere: where.
        leader: Option<Named>,
    },
}

/// Whom a follower names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The leader's name.
    pub name: String,
    /// Where it serves.
    pub endpoint: String,
    /// Its term.
    pub term: u64,
}

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What is declared.
    pub value: u64,
    /// The revision of the declaration.
    pub revision: u64,
    /// Whether it is being torn down.
    pub destroying: bool,
}

/// An event that the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stored {
    /// Its revision.
    pub revision: u64,
    /// The term it was written in.
    pub term: u64,
    /// The service; empty for a leadership.
    pub service: String,
    /// What it says.
    pub kind: Kind,
}

/// What a stored event says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A service was declared, anew or again.
    Committed,
    /// It is no longer looked after.
    Freed,
    /// It is gone.
    Destroyed,
    /// A term began: this replica's.
    Leadership(String),
}
