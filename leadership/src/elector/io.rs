//! What goes into the elector and what comes out.

use std::time::Duration;

use crate::{Leadership, OfficeError};

/// What happened. `asked_at` tells which question an answer belongs to: the one of the output that asked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The detector says something new.
    Detected(Leadership),
    /// The claim asked for at `asked_at` was granted.
    ClaimGranted {
        /// The new term.
        term: u64,
        /// From [`Output::Claim`].
        asked_at: Duration,
    },
    /// It was not.
    ClaimFailed {
        /// From [`Output::Claim`].
        asked_at: Duration,
        /// Why.
        error: OfficeError,
    },
    /// The term was confirmed.
    Confirmed {
        /// Which.
        term: u64,
        /// From [`Output::Confirm`].
        asked_at: Duration,
        /// For how long from then.
        lasts: Duration,
    },
    /// It was not.
    ConfirmFailed {
        /// Which.
        term: u64,
        /// From [`Output::Confirm`].
        asked_at: Duration,
        /// Why.
        error: OfficeError,
    },
    /// Time has passed: at the latest at [`wake_at`](crate::Elector::wake_at).
    Tick,
    /// Give up the leadership, and do not take it again before somebody else, or nobody, was named.
    Resign,
}

/// What to do about it. At most one question to the office is under way; [`Output::Abandon`] and [`Output::End`]
/// drop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the office for a term.
    Claim {
        /// To be given back with the answer.
        asked_at: Duration,
        /// Counts from 1 since this replica was named, or last led.
        attempt: u32,
    },
    /// Ask the office whether the term is still the newest.
    Confirm {
        /// Which.
        term: u64,
        /// To be given back with the answer.
        asked_at: Duration,
    },
    /// Drop the question under way.
    Abandon,
    /// Lead, until the deadline.
    Begin {
        /// Under this term.
        term: u64,
        /// On the campaign's clock.
        deadline: Duration,
    },
    /// Lead on, until this deadline.
    Extend {
        /// Under this term.
        term: u64,
        /// On the campaign's clock.
        deadline: Duration,
    },
    /// Lead no more.
    End {
        /// The term that is over.
        term: u64,
        /// Why.
        why: Lost,
    },
    /// Publish: following.
    Follow {
        /// Whom, if anybody is named.
        leader: Option<String>,
    },
    /// Publish: unknown who leads, or named and unable to lead.
    Unknown {
        /// Why, for people.
        why: String,
    },
}

/// Why a reign ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The detector names another.
    #[error("{0} is named leader")]
    Named(String),
    /// The detector names nobody.
    #[error("nobody is named leader")]
    Nobody,
    /// The detector could not see for too long.
    #[error("who leads could not be seen for {within:?}: {why}")]
    Unseen {
        /// The renew deadline.
        within: Duration,
        /// The detector's reason.
        why: String,
    },
    /// A newer term exists.
    #[error("fenced: {0}")]
    Fenced(String),
    /// No confirmation came in time.
    #[error("the leadership was not confirmed within {within:?}{}", .error.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Unconfirmed {
        /// The renew deadline.
        within: Duration,
        /// What the last confirmation failed with.
        error: Option<String>,
    },
    /// The state must not be ruled over any more.
    #[error("{0}")]
    Refused(String),
    /// This replica gave it up.
    #[error("resigned")]
    Resigned,
}
