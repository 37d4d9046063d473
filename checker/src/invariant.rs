//! What must hold, and what shows that it does not.

use std::fmt;

use serde::Serialize;

use crate::Event;

/// What must hold of every history. Beside each stands the promise that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Invariant {
    /// 1: the stored events are one history, the same for whoever sees it, and its terms never go down.
    OneTermWrites,
    /// 1: each term is one replica's, and begins once.
    TermsGrow,
    /// 2: what was acknowledged is in the stored history.
    AcknowledgedIsDurable,
    /// 2, 5, 10: the calls about each service can be put in one order that explains every answer, and in which no call
    /// comes before another that had been answered when it was made.
    Linearizable,
    /// 3: once a term has acted, no older one does.
    OneTermActs,
    /// 3: a term does not act when its leader has been dead for longer than the authority.
    AuthorityEnds,
    /// 4: only a leader acknowledges; who refuses because another leads names it.
    FollowersRefuse,
    /// 6: what is acted by was declared before, and stored.
    PersistThenForward,
    /// 7: when the faults are over, everything that is declared is ready again.
    TakeoverIsComplete,
    /// 8: what was freed or destroyed is left alone.
    LeftAlone,
    /// 9: a stream brings every stored event after its beginning once, in order.
    WatchHasNoGaps,
    /// 10: a request takes effect once, however often it was asked.
    RetryIsSafe,
    /// The history is one that can be judged, and was judged to the end.
    Decided,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What is wrong, in a sentence.
    pub what: String,
    /// The events that show it.
    pub evidence: Vec<Event>,
}

impl Violation {
    pub(crate) fn new<'e>(
        invariant: Invariant,
        what: impl Into<String>,
        evidence: impl IntoIterator<Item = &'e Event>,
    ) -> Self {
        Self { invariant, what: what.into(), evidence: evidence.into_iter().cloned().collect() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)?;
        for Event { at, what } in &self.evidence {
            write!(f, "\n  {at:?} {what:?}")?;
        }
        Ok(())
    }
}
