//! When a leader hands over to the replica beside the Swarm's leader. Pure.
//!
//! What must hold: it does not flap. The Swarm's leader must have been elsewhere for a while, and one handover after
//! another waits longer and longer. Who was made the leader by name stays it, until the Swarm's leader moves or another
//! replica comes to stand beside it: one that stopped, and named who was to follow, is followed when it is back.

use std::collections::BTreeSet;
use std::time::Duration;

/// The Swarm's leader has to be elsewhere for so long.
const SETTLED: Duration = Duration::from_millis(250);
/// The pause after a handover; it doubles with each that follows within twice the pause.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Follow {
    /// Where the Swarm's leader is, if not here, and since when.
    away: Option<(String, Duration)>,
    /// Not before, and how long the pause was.
    rest: Duration,
    pause: Duration,
    /// While the Swarm's leader is there, this replica leads because somebody said so.
    chosen: Option<Choice>,
    led: bool,
}

/// A choice against the replicas that stood beside the Swarm's leader when it was made.
#[derive(Debug)]
struct Choice {
    place: String,
    beside: BTreeSet<String>,
}

impl Follow {
    /// `leads`: this replica leads; `named`: it began to because the leader before named it; `beside`: the replicas, as
    /// processes, that stand where the Swarm's leader is. Where to hand over to.
    pub(super) fn step(
        &mut self,
        now: Duration,
        leads: bool,
        named: bool,
        here: Option<&String>,
        preferred: Option<&String>,
        beside: &BTreeSet<String>,
    ) -> Option<String> {
        let begins = leads && !std::mem::replace(&mut self.led, leads);
        let there = preferred.filter(|place| Some(*place) != here);
        if !leads {
            self.away = None;
            return None;
        }
        if begins {
            let choice = |place: &String| Choice { place: place.clone(), beside: beside.clone() };
            self.chosen = there.filter(|_| named).map(choice);
        }
        let over = |choice: &Choice| {
            preferred.is_some_and(|place| *place != choice.place || !beside.is_subset(&choice.beside))
        };
        if self.chosen.as_ref().is_some_and(over) {
            self.chosen = None;
        }
        let Some(there) = there else {
            self.away = None;
            return None;
        };
        let since = match &self.away {
            Some((place, since)) if place == there => *since,
            _ => now,
        };
        self.away = Some((there.clone(), since));
        (self.chosen.is_none() && now >= since + SETTLED && now >= self.rest).then(|| there.clone())
    }

    /// A handover was tried, or took place.
    pub(super) fn tried(&mut self, now: Duration) {
        let calm = now >= self.rest + self.pause;
        self.pause = if calm || self.pause.is_zero() { PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.rest = now + self.pause;
    }

    /// Whether the pause after the last handover is over.
    pub(super) fn may_try(&self, now: Duration) -> bool {
        now >= self.rest
    }

    /// Whether time alone may lead to a handover.
    pub(super) fn waits(&self) -> bool {
        self.away.is_some() && self.chosen.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Case {
        follow: Follow,
        here: String,
        beside: BTreeSet<String>,
    }

    impl Case {
        fn new() -> Self {
            Self { follow: Follow::default(), here: "a".to_owned(), beside: BTreeSet::new() }
        }

        fn at(&mut self, ms: u32, leads: bool, named: bool, preferred: &str) -> Option<String> {
            let preferred = (!preferred.is_empty()).then(|| preferred.to_owned());
            let here = Some(&self.here);
            self.follow.step(MS * ms, leads, named, here, preferred.as_ref(), &self.beside)
        }
    }

    #[test]
    fn the_swarms_leader_is_followed_once_it_has_been_elsewhere_for_a_while() {
        let mut case = Case::new();
        assert_eq!(case.at(1000, true, false, "a"), None);
        assert_eq!(case.at(2000, true, false, "b"), None);
        assert_eq!(case.at(2200, true, false, "b"), None);
        assert_eq!(case.at(2250, true, false, "b").as_deref(), Some("b"));
        let mut case = Case::new();
        assert_eq!(case.at(1000, true, false, "b"), None);
        assert_eq!(case.at(1200, true, false, "c"), None, "it moves on");
        assert_eq!(case.at(1300, true, false, ""), None, "nobody leads the Swarm");
        assert_eq!(case.at(1400, true, false, "c"), None);
        assert_eq!(case.at(1640, true, false, "c"), None);
        assert_eq!(case.at(1650, true, false, "c").as_deref(), Some("c"));
        assert_eq!(case.at(1651, false, false, "c"), None, "a follower has nothing to hand over");
    }

    #[test]
    fn one_handover_after_another_waits_longer_and_longer() {
        let mut case = Case::new();
        let mut now = 1000;
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let from = now;
            while case.at(now, true, false, "b").is_none() {
                now += 50;
            }
            pauses.push(now - from);
            case.follow.tried(MS * now);
        }
        assert_eq!(pauses, [250, 5000, 10_000, 20_000]);
        let calm = now + 400_000;
        assert!(case.at(calm, true, false, "b").is_some());
        case.follow.tried(MS * calm);
        assert_eq!(case.at(calm + 4950, true, false, "b"), None);
        assert!(case.at(calm + 5000, true, false, "b").is_some());
    }

    #[test]
    fn who_was_named_leads_on_until_the_swarms_leader_moves() {
        let mut case = Case::new();
        assert_eq!(case.at(1000, true, true, "b"), None);
        assert_eq!(case.at(9000, true, true, "b"), None);
        assert_eq!(case.at(9100, true, true, ""), None, "an election of the Swarm is no move yet");
        assert_eq!(case.at(9200, true, true, "b"), None);
        assert_eq!(case.at(9300, true, true, "c"), None);
        assert_eq!(case.at(9550, true, true, "c").as_deref(), Some("c"));
        // Named, and beside the Swarm's leader: nothing is to be remembered.
        let mut case = Case::new();
        assert_eq!(case.at(1000, true, true, "a"), None);
        assert_eq!(case.at(2000, true, true, "b"), None);
        assert!(case.at(2250, true, true, "b").is_some());
    }

    #[test]
    fn who_was_named_by_one_that_stopped_hands_over_when_that_is_back() {
        let mut case = Case::new();
        let stands = |each: &[&str]| each.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        case.beside = stands(&["first life"]);
        assert_eq!(case.at(1000, true, true, "b"), None);
        case.beside = stands(&[]);
        assert_eq!(case.at(5000, true, true, "b"), None, "it stopped");
        case.beside = stands(&["first life"]);
        assert_eq!(case.at(6000, true, true, "b"), None, "it was not seen for a moment");
        case.beside = stands(&["first life", "second life"]);
        assert_eq!(case.at(7000, true, true, "b").as_deref(), Some("b"));
    }
}
