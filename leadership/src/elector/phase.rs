//! How far a replica is on its way to a term, and what it said of that.

use std::time::Duration;

use crate::Timing;

#[derive(Debug)]
pub(super) enum Phase {
    /// No term. `firm`: the pause is not cut short by seeing the leadership again.
    Resting { until: Duration, firm: bool },
    /// A claim is under way.
    Claiming { asked_at: Duration, give_up: Duration },
    /// A term was granted.
    Holding(Reign),
}

#[derive(Debug)]
pub(super) struct Reign {
    pub(super) term: u64,
    /// When the last answer that counts was asked for.
    pub(super) confirmed_at: Duration,
    /// How long that counts, and when the next is due.
    pub(super) timing: Timing,
    /// `None` while the term was granted so late that it must be confirmed before it can begin.
    pub(super) begun: Option<Duration>,
    pub(super) confirm: Confirm,
    pub(super) last_error: Option<String>,
}

impl Reign {
    /// When it ends if nothing is confirmed before.
    pub(super) fn renew_by(&self) -> Duration {
        self.confirmed_at.saturating_add(self.timing.renew_deadline())
    }
}

#[derive(Debug)]
pub(super) enum Confirm {
    Due(Duration),
    Asked { asked_at: Duration, give_up: Duration },
}

/// What was published last.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Leading,
    Following(Option<String>),
    Unknown(String),
}
