//! The leader's side: whose promises make authority, and until when. Pure.
//!
//! What must hold:
//!
//! * Authority is published only until a moment before which nobody else can act: enough of the recorded electorate have
//!   promised, or a heartbeat guarded by the claim was written; and in any case only within `hold` of a proof from the keyspace
//!   that the claim is still the newest.
//! * The electorate changes only when what was published is covered by the new one, too. While a change is under way,
//!   and its outcome is unclear, promises of both count, each by itself.
//!
//! The counts: of an electorate of the leader and n followers, `enough(n)` promises make authority; then
//! `n - enough(n) + 1` votes end it, for they hold at least one of any `enough(n)`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::pace::Pace;
use crate::Timing;

/// Promises of so many of `followers` make authority.
pub(super) fn enough(followers: usize) -> usize {
    followers.div_ceil(2)
}

/// Votes of so many of `followers` end it. Of nobody if there are no followers: then only the keyspace's lease tells.
pub(super) fn votes_needed(followers: usize) -> usize {
    followers - enough(followers) + 1
}

/// The promises that a peer has given to this reign.
#[derive(Clone, Copy, Debug)]
struct Promised {
    beat: u64,
    until: Duration,
}

/// A change of the electorate.
#[derive(Debug)]
pub(super) struct Change {
    members: BTreeSet<String>,
    /// Whether it is on its way to the keyspace.
    sent: bool,
    /// Whether it may be recorded, for all that is known.
    tried: bool,
    /// Not written again before.
    at: Duration,
}

/// The question of the campaign that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) asked_at: Duration,
    pub(super) beat: u64,
    /// How long the answer is to last.
    pub(super) lasts: Duration,
}

/// One reign, from its claim on.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) term: u64,
    me: String,
    /// The mod-revision of the electorate's record.
    pub(super) electorate: u64,
    pub(super) members: BTreeSet<String>,
    pub(super) change: Option<Change>,
    promised: BTreeMap<String, Promised>,
    /// Beats that may still be answered: number, when they were sent, for how long they ask.
    sent: VecDeque<(u64, Duration, Duration)>,
    beats: u64,
    /// When the newest proof from the keyspace was asked for.
    pub(super) proven: Duration,
    /// Until when the newest heartbeat in the keyspace makes authority.
    by_heartbeat: Duration,
    /// When the heartbeat under way was sent, if one is; and no other is written before.
    pub(super) writing: Option<Duration>,
    pub(super) write_at: Duration,
    /// The furthest that was ever published.
    pub(super) published: Duration,
    /// When authority of earlier terms is over.
    pub(super) inherited: Duration,
    pub(super) question: Option<Question>,
    /// A follower voted against this electorate.
    pub(super) challenged: bool,
    pub(super) pace: Pace,
}

const REMEMBERED: usize = 64;

impl Rule {
    /// A reign that was claimed by a transaction sent at `asked_at`, which also recorded the electorate. The claim by
    /// itself makes authority for `first` from then.
    pub(super) fn new(
        me: &str,
        term: u64,
        members: BTreeSet<String>,
        asked_at: Duration,
        first: Duration,
        inherited: Duration,
        pace: Pace,
    ) -> Self {
        Self {
            term,
            me: me.to_owned(),
            electorate: term,
            members,
            change: None,
            promised: BTreeMap::new(),
            sent: VecDeque::new(),
            beats: 0,
            proven: asked_at,
            by_heartbeat: Duration::ZERO,
            writing: None,
            write_at: Duration::ZERO,
            published: asked_at.saturating_add(first),
            inherited,
            question: None,
            challenged: false,
            pace,
        }
    }

    /// The campaign asks now. If it does so late, this machine is busy, and that is a delay too.
    pub(super) fn asked(&mut self, now: Duration) {
        if let Some((_, last, lasts)) = self.sent.back() {
            self.pace.saw(now, now.saturating_sub(*last + Timing::retry_of(*lasts)));
        }
    }

    /// The next beat, sent now.
    pub(super) fn beat(&mut self, now: Duration) -> (u64, Duration) {
        self.beats += 1;
        let promise = self.pace.authority();
        self.sent.push_back((self.beats, now, promise));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        (self.beats, promise)
    }

    /// A peer promised for a beat.
    pub(super) fn promised(&mut self, from: &str, beat: u64) {
        let Some(&(_, sent, promise)) = self.sent.iter().find(|(number, ..)| *number == beat) else { return };
        let promised =
            self.promised.entry(from.to_owned()).or_insert(Promised { beat: 0, until: Duration::ZERO });
        promised.beat = promised.beat.max(beat);
        promised.until = promised.until.max(sent.saturating_add(promise));
    }

    /// Whether a peer ever promised anything to this reign.
    pub(super) fn knows(&self, peer: &str) -> bool {
        self.promised.contains_key(peer)
    }

    /// A heartbeat that was sent at `sent` and lasts for `authority` was written under the claim.
    pub(super) fn heartbeat_written(&mut self, sent: Duration, authority: Duration) {
        self.by_heartbeat = self.by_heartbeat.max(sent.saturating_add(authority));
        self.prove(sent);
    }

    /// The claim was the newest at some moment after `asked_at`.
    pub(super) fn prove(&mut self, asked_at: Duration) {
        self.proven = self.proven.max(asked_at);
    }

    /// Until when promises of these members make authority, and which beat enough of them have answered.
    fn by_promises(&self, members: &BTreeSet<String>) -> (Duration, u64) {
        let others: Vec<&String> = members.iter().filter(|member| **member != self.me).collect();
        let needed = enough(others.len());
        if needed == 0 {
            return (Duration::MAX, u64::MAX);
        }
        let nth = |mut values: Vec<Duration>| {
            values.sort_unstable_by(|a, b| b.cmp(a));
            values.get(needed - 1).copied().unwrap_or_default()
        };
        let until = nth(others.iter().filter_map(|peer| self.promised.get(*peer)).map(|p| p.until).collect());
        let mut beats: Vec<u64> =
            others.iter().filter_map(|peer| self.promised.get(*peer)).map(|p| p.beat).collect();
        beats.sort_unstable_by(|a, b| b.cmp(a));
        (until, beats.get(needed - 1).copied().unwrap_or(0))
    }

    /// The same for what counts now: the recorded electorate, and the one that may be recorded.
    fn promises(&self) -> (Duration, u64) {
        let recorded = self.by_promises(&self.members);
        match &self.change {
            None => recorded,
            Some(change) => {
                let next = self.by_promises(&change.members);
                (recorded.0.min(next.0), recorded.1.min(next.1))
            }
        }
    }

    /// Whether so few of the electorate have a line to this replica that promises cannot be enough.
    pub(super) fn lacks(&self, linked: &BTreeSet<String>) -> bool {
        let too_few = |members: &BTreeSet<String>| {
            let others = members.iter().filter(|member| **member != self.me);
            let there = others.clone().filter(|member| linked.contains(*member)).count();
            there < enough(others.count())
        };
        self.challenged
            || too_few(&self.members)
            || self.change.as_ref().is_some_and(|next| too_few(&next.members))
    }

    /// The answer to the question, if there is one by now: how long, from its asking, the authority lasts.
    pub(super) fn answer(&mut self, hold: Duration) -> Option<Duration> {
        let question = self.question?;
        let (until, beat) = self.promises();
        let wanted = question.asked_at.saturating_add(question.lasts);
        let by_promises = if beat >= question.beat { until } else { Duration::ZERO };
        let until = by_promises.max(self.by_heartbeat).min(wanted).min(self.proven.saturating_add(hold));
        // A heartbeat for an earlier question does not answer this one.
        if beat < question.beat && self.by_heartbeat < wanted {
            return None;
        }
        self.question = None;
        self.published = self.published.max(until);
        Some(until.saturating_sub(question.asked_at))
    }

    /// Begins to change the electorate to `members`, if that is a change, or the present one was challenged.
    pub(super) fn aim_at(&mut self, members: BTreeSet<String>) {
        match &mut self.change {
            // What may be recorded already is seen through first.
            Some(change) if change.tried => {}
            change if members != self.members || self.challenged => {
                *change = Some(Change { members, sent: false, tried: false, at: Duration::ZERO });
            }
            change => *change = None,
        }
    }

    /// The change that can be written now: what was published is covered by it.
    pub(super) fn change_due(&mut self, now: Duration) -> Option<BTreeSet<String>> {
        let change = self.change.as_ref().filter(|change| !change.sent && now >= change.at)?;
        let members = change.members.clone();
        let covered = members == self.members
            || self.published <= now
            || self.published <= self.by_heartbeat
            || self.published <= self.by_promises(&members).0;
        if !covered {
            return None;
        }
        if let Some(change) = &mut self.change {
            (change.sent, change.tried) = (true, true);
        }
        Some(members)
    }

    /// How long after now authority lasts at most that no promise of these members covers.
    pub(super) fn settles(&self, now: Duration) -> Duration {
        self.inherited.saturating_sub(now)
    }

    /// The change was recorded, by a write sent at `sent`.
    pub(super) fn changed(&mut self, electorate: u64, members: BTreeSet<String>, sent: Duration) {
        self.electorate = electorate;
        self.members = members;
        self.change = None;
        self.challenged = false;
        self.prove(sent);
    }

    /// Whether the change was recorded is not known: it is tried again, at `at`.
    pub(super) fn change_unclear(&mut self, at: Duration) {
        if let Some(change) = &mut self.change {
            (change.sent, change.at) = (false, at);
        }
    }

    /// When a change that was not recorded is tried again.
    pub(super) fn change_retry(&self) -> Option<Duration> {
        self.change.as_ref().filter(|change| !change.sent && change.tried).map(|change| change.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_and_promises_always_share_a_follower() {
        for followers in 1..20 {
            assert!(enough(followers) + votes_needed(followers) > followers);
            assert!((1..=followers).contains(&votes_needed(followers)));
        }
        assert_eq!([1, 2, 3, 4].map(enough), [1, 1, 2, 2]);
        assert_eq!([1, 2, 3, 4].map(votes_needed), [1, 2, 2, 3]);
        assert_eq!((enough(0), votes_needed(0)), (0, 1), "of no followers, one vote is never had");
    }
}
