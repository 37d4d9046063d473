//! The end of a reign as the others know of it: by the release that is recorded, or by the leader's own word over the line, its
//! *bequest*. Pure.
//!
//! A bequest says what a release says: everything that was done under the claim has stopped. It costs no write, and can be said
//! where nothing can be written any more. What must hold:
//!
//! * Who says it has ended its reign before, and leads under that term no more: [`Seat::bequeath`].
//! * It counts for one claim alone, the one of its term by the process that says it. Heard late, twice or out of order it is
//!   about a claim that is no longer the newest, and a takeover replaces the claim that it was heard of and no other.
//! * Lost, it is made up for by a release, or by votes.

use std::time::Duration;

use om_kv::layout::LeaderRecord;

use super::io::Output;
use super::line::Request;
use super::records::At;
use super::seat::Seat;

/// A bequest that was heard, or said.
#[derive(Clone, Debug)]
pub(super) struct Bequest {
    term: u64,
    /// The process that said it.
    from: String,
    /// The name of the replica that is to follow, if one was named.
    successor: Option<String>,
    heard_at: Duration,
}

/// The end of the newest reign, when everything that was done under it has stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    pub(super) successor: Option<&'a String>,
    /// Since when that has been known here.
    pub(super) since: Duration,
}

impl Seat {
    /// The reign of this term is over, with everything that was done under it: tells the others, the successor first.
    pub(super) fn bequeath(&mut self, term: u64, successor: Option<String>) {
        if self.rule.as_ref().is_some_and(|rule| rule.term == term) {
            self.end_rule();
        }
        let named = |peer: &String| {
            let record = self.election.as_ref().and_then(|election| election.replicas.get(peer));
            record.is_some_and(|record| Some(&record.name) == successor.as_ref())
        };
        let mut peers: Vec<String> = self.lines.iter().cloned().collect();
        peers.sort_by_key(|peer| !named(peer));
        for to in peers {
            let request = Request::Bequest { term, successor: successor.clone() };
            self.out.push(Output::Ask { to, request });
        }
        self.bequeathed(self.me.clone(), term, successor);
    }

    /// A replica says that its reign of this term is over, with everything that was done under it.
    pub(super) fn bequeathed(&mut self, from: String, term: u64, successor: Option<String>) {
        self.voter.farewell(term);
        if self.bequest.as_ref().is_none_or(|known| known.term < term) {
            self.bequest = Some(Bequest { term, from, successor, heard_at: self.now });
        }
    }

    /// How the newest reign ended; `None`: it is not known to have, or not that everything has stopped.
    pub(super) fn ended<'a>(&'a self, leader: &'a At<LeaderRecord>) -> Option<Ended<'a>> {
        let LeaderRecord { instance, released, .. } = &leader.record;
        let term = leader.record.term(leader.revision);
        let bequest = self.bequest.as_ref().filter(|said| said.term == term && said.from == *instance);
        let successor = match (released, bequest) {
            (Some(released), _) => released.successor.as_ref(),
            (None, Some(bequest)) => bequest.successor.as_ref(),
            (None, None) => return None,
        };
        Some(Ended { successor, since: bequest.map_or(self.leader_since.1, |bequest| bequest.heard_at) })
    }
}
