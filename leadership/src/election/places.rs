//! Where replicas stand in what keeps the election, where that knows of places: a Swarm has a leader of its own, and beside
//! it the leader of the replicas has the shortest ways.
//!
//! It is a preference and no more: whoever claims rests on the same guards, wherever it stands.

use std::time::Duration;

use super::records::Election;
use super::seat::Seat;

/// Who does not stand at the preferred place gives the one that does so much time to claim first.
pub(super) const PRECEDENCE: Duration = Duration::from_millis(150);

/// Where a replica stands, and where the leader had best be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Where this replica stands. `None`: that is not known (yet), and it is not recorded before.
    pub here: Option<String>,
    /// Where the leader had best be. `None`: anywhere.
    pub preferred: Option<String>,
    /// Why this replica must not run for the leadership from where it stands, for people. It still votes.
    pub unfit: Option<String>,
}

impl Seat {
    /// Whether somebody else is to be let go first, for a while: a replica at the preferred place lives, and a line joins
    /// it with this one.
    pub(super) fn gives_precedence(&self, election: &Election) -> bool {
        let Some(preferred) = self.places.preferred.as_ref() else { return false };
        if self.places.here.as_ref() == Some(preferred) {
            return false;
        }
        // It is lost, or has just handed over.
        let before = election.leader.as_ref().map(|leader| &leader.record.instance);
        let joined = |peer: &String| self.lines.contains(peer) || self.callers.contains(peer);
        election.replicas.values().any(|replica| {
            replica.place == *preferred
                && replica.instance != self.me
                && before != Some(&replica.instance)
                && joined(&replica.instance)
        })
    }

    /// Whether a claim that could be made now is to wait. Remembers since when it could be made.
    pub(super) fn holds_back(&mut self, election: &Election) -> bool {
        let since = *self.able_since.get_or_insert(self.now);
        let ended = election.leader.as_ref().and_then(|leader| self.ended(leader));
        let named = ended.is_some_and(|ended| ended.successor == Some(&self.name));
        !named && self.now < since + PRECEDENCE && self.gives_precedence(election)
    }
}
