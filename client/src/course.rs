//! Where a call goes next: decided from what was answered, without asking anybody.
//!
//! Who leads is said by others, and not all of them know at the same moment. Of two words the one of the higher term is
//! the newer one; a word that is not newer sends nobody anywhere, so there are no circles. During a handover the old
//! leader may name the new one before that has noticed, and the other way round: then it is asked again. What tells a
//! handover from a disagreement is that something moves: a higher term, or somebody who is just taking over.

use std::time::Duration;

use om_api::socket::Address;

/// How long nobody's being named at all is put up with: a leader file that is just being written, a replica that has
/// just started.
const NOBODY: Duration = Duration::from_secs(2);
/// How long nobody's being there is put up with: a program that is just being restarted.
const ABSENT: Duration = Duration::from_millis(600);
/// How long the one that is named denies it while nothing moves.
const DISPUTE: Duration = Duration::from_secs(3);
/// How long one endpoint is asked again and again before the others are asked what they know.
const LOOK_AROUND: Duration = Duration::from_millis(200);
/// A failover takes some milliseconds; whoever asks too seldom makes it longer.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const MOST_KNOWN: usize = 16;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The one that was asked names another.
    NotLeader {
        /// Whom.
        leader: Address,
        /// Since when.
        term: u64,
    },
    /// Nobody leads at the moment, or who leads has not said where.
    NoLeader {
        /// Nobody is even named.
        unnamed: bool,
    },
    /// There is nobody, or not any more.
    Lost,
    /// It cannot be talked to, and trying again does not help: rights, certificates.
    Unusable,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask [`Course::current`] after a pause.
    Ask(Duration),
    /// It does not get better.
    GiveUp,
}

/// How long something is put up with, from the first time on.
#[derive(Debug, Default)]
struct Patience(Option<Duration>);

impl Patience {
    fn is_over(&mut self, now: Duration, patience: Duration) -> bool {
        now.saturating_sub(*self.0.get_or_insert(now)) > patience
    }

    fn renew(&mut self) {
        self.0 = None;
    }
}

/// Where a client is, and where else it could go.
#[derive(Debug)]
pub(crate) struct Course {
    /// Given, then named.
    known: Vec<Address>,
    current: Address,
    call: Call,
}

/// What is known within one call.
#[derive(Debug)]
struct Call {
    /// Whom the newest word names that was followed.
    leader: Option<Address>,
    /// The highest term of all words.
    term: Option<u64>,
    pause: Duration,
    /// Since when the current endpoint is asked.
    arrived: Option<Duration>,
    absent: Patience,
    /// Where nobody was, since the last answer.
    lost: Vec<Address>,
    dispute: Patience,
    nobody: Patience,
    unusable: Vec<Address>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            leader: None,
            term: None,
            pause: FIRST_PAUSE,
            arrived: None,
            absent: Patience::default(),
            lost: Vec::new(),
            dispute: Patience::default(),
            nobody: Patience::default(),
            unusable: Vec::new(),
        }
    }
}

impl Course {
    /// Begins at the first; the others may be down just as well.
    pub(crate) fn new(first: Address, others: impl IntoIterator<Item = Address>) -> Self {
        let mut known = vec![first.clone()];
        for other in others {
            if !known.contains(&other) {
                known.push(other);
            }
        }
        Self { known, current: first, call: Call::default() }
    }

    /// Whom to ask.
    pub(crate) fn current(&self) -> &Address {
        &self.current
    }

    /// Whether the current endpoint was named as the leader within this call.
    pub(crate) fn is_named(&self) -> bool {
        self.call.leader.as_ref() == Some(&self.current)
    }

    /// The highest term that was heard of within this call.
    pub(crate) fn term(&self) -> Option<u64> {
        self.call.term
    }

    /// Everybody else who could be asked.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Address> {
        self.known.iter().filter(|known| **known != self.current)
    }

    /// A new call begins.
    pub(crate) fn begin(&mut self) {
        self.call = Call::default();
    }

    /// Goes on at the next of all endpoints.
    pub(crate) fn try_next(&mut self) {
        let at = self.known.iter().position(|known| *known == self.current).map_or(0, |at| at + 1);
        if let Some(next) = self.known.get(at % self.known.len()) {
            self.current = next.clone();
        }
        self.call.arrived = None;
    }

    fn go_to(&mut self, address: Address) {
        if !self.known.contains(&address) && self.known.len() < MOST_KNOWN {
            self.known.push(address.clone());
        }
        if self.current != address {
            self.call.arrived = None;
        }
        self.current = address;
    }

    /// What to do after an attempt.
    pub(crate) fn next(&mut self, now: Duration, event: Event) -> Step {
        let arrived = *self.call.arrived.get_or_insert(now);
        if event != Event::Lost && event != Event::Unusable {
            self.call.absent.renew();
            self.call.lost.clear();
        }
        match event {
            Event::NoLeader { unnamed } => {
                if unnamed && self.call.nobody.is_over(now, NOBODY) {
                    return Step::GiveUp;
                }
                if !unnamed {
                    self.call.nobody.renew();
                    self.call.dispute.renew();
                }
                self.look_around(now, arrived);
                self.wait()
            }
            Event::NotLeader { leader, term } => self.named(now, arrived, leader, term),
            Event::Lost => {
                if !self.call.lost.contains(&self.current) {
                    self.call.lost.push(self.current.clone());
                }
                let everybody = self.known.iter().all(|known| self.call.lost.contains(known));
                if self.call.absent.is_over(now, ABSENT) && everybody {
                    return Step::GiveUp;
                }
                self.call.dispute.renew();
                if self.is_named() {
                    // Whoever is named next is worth a try, were it the same one, just restarted.
                    self.call.leader = None;
                }
                self.try_next();
                self.wait()
            }
            Event::Unusable => {
                let current = self.current.clone();
                let is_leader = self.is_named();
                self.call.unusable.push(current);
                self.try_next();
                if is_leader || self.call.unusable.contains(&self.current) {
                    Step::GiveUp
                } else {
                    self.wait()
                }
            }
        }
    }

    fn named(&mut self, now: Duration, arrived: Duration, leader: Address, term: u64) -> Step {
        self.call.nobody.renew();
        let is_self = leader == self.current;
        if !is_self && self.call.term.is_none_or(|known| term > known) {
            self.call.term = Some(term);
            self.call.leader = Some(leader.clone());
            self.call.dispute.renew();
            self.call.pause = FIRST_PAUSE;
            self.go_to(leader);
            return Step::Ask(Duration::ZERO);
        }
        let is_as_heard = self.call.leader.as_ref().is_none_or(|known| *known == leader);
        if !is_self && is_as_heard {
            self.call.leader = Some(leader.clone());
            self.go_to(leader);
            return self.wait();
        }
        // It denies what others say, and knows nothing newer.
        if self.call.dispute.is_over(now, DISPUTE) {
            return Step::GiveUp;
        }
        self.look_around(now, arrived);
        self.wait()
    }

    fn look_around(&mut self, now: Duration, arrived: Duration) {
        if now.saturating_sub(arrived) >= LOOK_AROUND {
            self.try_next();
        }
    }

    fn wait(&mut self) -> Step {
        let pause = self.call.pause;
        self.call.pause = (pause * 2).min(LONGEST_PAUSE);
        Step::Ask(pause)
    }
}

#[cfg(test)]
mod tests;
