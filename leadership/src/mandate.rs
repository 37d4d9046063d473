//! What a replica is, by its own campaign.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// A confirmed leadership: its term and its deadline. Clones share both.
#[derive(Clone)]
pub struct Mandate {
    term: u64,
    clock: Clock,
    deadline: watch::Receiver<Duration>,
    ended: CancellationToken,
}

impl Mandate {
    /// For the campaign, and for tests: a mandate whose deadline `deadline` moves, ended by `ended`.
    #[must_use]
    pub fn new(
        term: u64,
        clock: Clock,
        deadline: watch::Receiver<Duration>,
        ended: CancellationToken,
    ) -> Self {
        Self { term, clock, deadline, ended }
    }

    /// The term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Time left until the deadline of the last confirmation; `None` if it has passed or the mandate has ended.
    /// To be asked right before anything that only a leader may do.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        if self.ended.is_cancelled() {
            return None;
        }
        let left = self.deadline.borrow().saturating_sub((self.clock)());
        (!left.is_zero()).then_some(left)
    }

    /// From `moment` on, on the campaign's clock, until the deadline of the last confirmation; `None` if that has passed or
    /// the mandate has ended.
    #[must_use]
    pub fn remaining_from(&self, moment: Duration) -> Option<Duration> {
        self.remaining().map(|_| self.deadline.borrow().saturating_sub(moment))
    }

    /// The deadline on the campaign's clock, and every extension of it: for whoever passes authority on.
    #[must_use]
    pub fn deadline(&self) -> watch::Receiver<Duration> {
        self.deadline.clone()
    }

    /// Cancelled when the mandate ends, for good.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl std::fmt::Debug for Mandate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mandate").field("term", &self.term).field("remaining", &self.remaining()).finish()
    }
}

/// What a replica takes itself for.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It leads. A new term is a new mandate; its end is announced by another standing and by [`Mandate::ended`].
    Leading(Mandate),
    /// It does not.
    Following {
        /// Whom the detector names, if anybody.
        leader: Option<String>,
    },
    /// It cannot tell who leads, or it is named and cannot lead.
    Unknown {
        /// Why, for people.
        why: String,
    },
}
