//! What one replica promises to leaders, and when it votes against one. Pure.
//!
//! What must hold:
//!
//! * Having voted against a term under an electorate, it promises nothing more to that term under that electorate or an
//!   older one. A leader that lives writes its electorate anew; by that a takeover that was prepared under the old one
//!   fails in the keyspace, however late it arrives.
//! * A vote tells how long promises given before may still count. Nothing shortens a promise.

use std::time::Duration;

use super::line::Answer;

/// A duration and an eighth: clocks of two machines do not run at the same rate.
pub(super) fn with_drift(duration: Duration) -> Duration {
    duration.saturating_add(duration / 8)
}

#[derive(Debug, Default)]
pub(super) struct Voter {
    /// The newest term known, from the keyspace or from a beat.
    newest: u64,
    /// Until when something was promised, to whichever term.
    until: Duration,
    /// The term that the last promise was given to, and until when that one lasts.
    last: (u64, Duration),
    /// The term and the electorate that were voted against.
    abjured: Option<(u64, u64)>,
    /// A term whose leader said that it is over.
    over: u64,
    /// The leader that was last promised something: its term and its process.
    heard: Option<(u64, String)>,
}

impl Voter {
    /// A term was seen in the keyspace.
    pub(super) fn learn(&mut self, term: u64) {
        self.newest = self.newest.max(term);
    }

    /// The newest term known.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The leader that was last promised something: its term and its process.
    pub(super) fn heard(&self) -> Option<&(u64, String)> {
        self.heard.as_ref()
    }

    /// The leader of this term said that it leads no more.
    pub(super) fn farewell(&mut self, term: u64) {
        self.over = self.over.max(term);
    }

    /// Until when the last promise to the leader of this term lasts; `None`: nothing was promised to it.
    pub(super) fn promised(&self, term: u64) -> Option<Duration> {
        (self.last.0 == term).then_some(self.last.1)
    }

    /// Whether the leader of this term said that it leads no more.
    pub(super) fn is_over(&self, term: u64) -> bool {
        self.over >= term
    }

    /// Whether this replica voted against the term under this electorate.
    pub(super) fn abjured(&self, term: u64, electorate: u64) -> bool {
        self.abjured.is_some_and(|(against, under)| against == term && electorate <= under)
    }

    /// Votes against a term: for another candidate, or for itself. Gives until when promises may count.
    pub(super) fn abjure(&mut self, term: u64, electorate: u64) -> Duration {
        if !self.abjured(term, electorate) {
            self.abjured = Some((term, electorate));
        }
        self.until
    }

    /// A leader asks for a promise. `leading`: this replica's own term, if it leads.
    pub(super) fn beat(
        &mut self,
        now: Duration,
        leading: Option<u64>,
        from: &str,
        (term, electorate, beat, promise): (u64, u64, u64, Duration),
    ) -> Answer {
        let refused = |newest, electorate| Answer::Refused { beat, term: newest, electorate };
        if leading.is_some_and(|own| own >= term) || term < self.newest || self.over >= term {
            return refused(self.newest.max(leading.unwrap_or(0)), 0);
        }
        self.newest = term;
        if let Some((_, under)) = self.abjured.filter(|_| self.abjured(term, electorate)) {
            return refused(term, under);
        }
        if self.heard.as_ref().is_none_or(|(known, by)| *known != term || by != from) {
            self.heard = Some((term, from.to_owned()));
        }
        let until = now.saturating_add(with_drift(promise));
        self.last = (term, self.promised(term).unwrap_or_default().max(until));
        self.until = self.until.max(until);
        Answer::Promised { beat }
    }

    /// A candidate asks for a vote. `lost`: whether this replica has lost the leader, too.
    pub(super) fn vote(
        &mut self,
        now: Duration,
        leading: Option<u64>,
        lost: bool,
        (term, electorate, vote): (u64, u64, u64),
    ) -> Answer {
        let no = |why: String| Answer::Ballot { vote, granted: false, remaining: Duration::ZERO, why };
        if self.newest > term {
            return no(format!("term {} is known", self.newest));
        }
        if leading == Some(term) {
            return no("this replica is the leader".to_owned());
        }
        if !lost {
            return no("the leader is heard".to_owned());
        }
        self.newest = term;
        let remaining = self.abjure(term, electorate).saturating_sub(now);
        Answer::Ballot { vote, granted: true, remaining, why: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn promised(answer: &Answer) -> bool {
        matches!(answer, Answer::Promised { .. })
    }

    fn granted(answer: Answer) -> Option<Duration> {
        match answer {
            Answer::Ballot { granted: true, remaining, .. } => Some(remaining),
            _ => None,
        }
    }

    #[test]
    fn who_hears_the_leader_votes_for_nobody_and_who_lost_it_tells_how_long_its_promise_lasts() {
        let mut voter = Voter::default();
        assert!(promised(&voter.beat(100 * MS, None, "a", (5, 5, 1, 80 * MS))));
        assert_eq!(granted(voter.vote(110 * MS, None, false, (5, 5, 1))), None);
        // 80 ms and an eighth from 100.
        assert_eq!(granted(voter.vote(110 * MS, None, true, (5, 5, 2))), Some(80 * MS));
        assert_eq!(granted(voter.vote(300 * MS, None, true, (5, 5, 3))), Some(Duration::ZERO));
    }

    #[test]
    fn after_a_vote_nothing_is_promised_but_under_a_newer_electorate() {
        let mut voter = Voter::default();
        voter.beat(100 * MS, None, "a", (5, 5, 1, 80 * MS));
        voter.vote(110 * MS, None, true, (5, 7, 1));
        assert_eq!(
            voter.beat(111 * MS, None, "a", (5, 7, 2, 80 * MS)),
            Answer::Refused { beat: 2, term: 5, electorate: 7 }
        );
        assert!(promised(&voter.beat(112 * MS, None, "a", (5, 8, 3, 80 * MS))));
        assert!(
            promised(&voter.beat(113 * MS, None, "a", (6, 6, 1, 80 * MS))),
            "another term is another matter"
        );
    }

    #[test]
    fn an_older_term_gets_neither_promise_nor_vote() {
        let mut voter = Voter::default();
        voter.learn(6);
        assert!(!promised(&voter.beat(MS, None, "a", (5, 5, 1, 80 * MS))));
        assert_eq!(granted(voter.vote(MS, None, true, (5, 5, 1))), None);
    }

    #[test]
    fn a_promise_to_an_older_term_outlives_the_newer_one() {
        let mut voter = Voter::default();
        voter.beat(100 * MS, None, "a", (5, 5, 1, 800 * MS));
        voter.beat(101 * MS, None, "a", (6, 6, 1, 80 * MS));
        assert_eq!(granted(voter.vote(200 * MS, None, true, (6, 6, 1))), Some(800 * MS));
    }
}
