//! Everything that can happen next.

use stateright::{Model, Property};

use crate::promises;
use crate::rules::{Constellation, HOSTS, REPLICAS};
use crate::state::{By, State, bit};

/// Something that happens, to replicas and plugins by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is explained at what does it, in this crate")]
pub enum Move {
    Tick,
    Learn { replica: usize },
    Vote { candidate: usize, voter: usize },
    Claim { replica: usize, by: By, electorate: u8 },
    Land { replica: usize },
    Won { replica: usize },
    Ask { leader: usize, follower: usize },
    Promise { leader: usize, follower: usize },
    Hear { leader: usize, follower: usize },
    Beat { leader: usize },
    Record { leader: usize },
    HandOver { leader: usize },
    Free { leader: usize },
    Quit { leader: usize },
    Attend { leader: usize },
    Grant { leader: usize },
    Break { plugin: usize },
    Stop { plugin: usize },
    Send { leader: usize },
    Write,
}

impl Constellation {
    /// Every move, whether or not it can happen.
    pub(crate) fn moves(&self, say: &mut impl FnMut(Move)) {
        say(Move::Tick);
        if self.writes {
            say(Move::Write);
        }
        for replica in 0..REPLICAS {
            for of in [
                Move::Learn { replica },
                Move::Beat { leader: replica },
                Move::Record { leader: replica },
                Move::HandOver { leader: replica },
                Move::Free { leader: replica },
                Move::Quit { leader: replica },
                Move::Attend { leader: replica },
                Move::Grant { leader: replica },
            ] {
                say(of);
            }
            if self.slow_claims {
                say(Move::Land { replica });
                say(Move::Won { replica });
            }
            if self.writes {
                say(Move::Send { leader: replica });
            }
            for by in [By::Nobody, By::Votes, By::Lease] {
                let everybody = bit(REPLICAS) - 1;
                let fewest = if self.any_electorate { 0 } else { everybody };
                for electorate in (fewest..=everybody).filter(|members| members & bit(replica) != 0) {
                    say(Move::Claim { replica, by, electorate });
                }
            }
            for other in 0..REPLICAS {
                say(Move::Vote { candidate: replica, voter: other });
                say(Move::Ask { leader: replica, follower: other });
                if self.slow_promises {
                    say(Move::Promise { leader: replica, follower: other });
                    say(Move::Hear { leader: replica, follower: other });
                }
            }
        }
        for plugin in 0..HOSTS {
            say(Move::Break { plugin });
            say(Move::Stop { plugin });
        }
    }

    /// The moment after a move, and after what follows from it; `None`: it cannot happen.
    pub(crate) fn after(&self, state: &State, step: Move) -> Option<State> {
        let mut after = self.at_once(state, step)?;
        after.hasten(self);
        Some(after.essence(self))
    }

    fn at_once(&self, state: &State, step: Move) -> Option<State> {
        match step {
            Move::Tick => Some(state.tick(self)),
            Move::Learn { replica } => state.learn(replica),
            Move::Vote { candidate, voter } => state.vote(self, candidate, voter),
            Move::Claim { replica, by, electorate } => state.claim(self, replica, by, electorate),
            Move::Land { replica } => state.land(self, replica),
            Move::Won { replica } => state.won(replica),
            Move::Ask { leader, follower } => state.ask(self, leader, follower),
            Move::Promise { leader, follower } => state.promise(self, leader, follower),
            Move::Hear { leader, follower } => state.hear(self, leader, follower),
            Move::Beat { leader } => state.beat(self, leader),
            Move::Record { leader } => state.record(leader),
            Move::HandOver { leader } => state.hand_over(leader),
            Move::Free { leader } => state.free(self, leader),
            Move::Quit { leader } => state.quit(leader),
            Move::Attend { leader } => state.attend(self, leader),
            Move::Grant { leader } => state.grant(leader),
            Move::Break { plugin } => state.break_off(plugin),
            Move::Stop { plugin } => state.stop(plugin),
            Move::Send { leader } => state.send(leader),
            Move::Write => state.write(self),
        }
    }
}

impl Model for Constellation {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        if self.from_nothing { vec![State::first()] } else { vec![State::led_by(0), State::led_by(1)] }
    }

    fn actions(&self, _: &State, actions: &mut Vec<Move>) {
        self.moves(&mut |step| actions.push(step));
    }

    fn next_state(&self, state: &State, step: Move) -> Option<State> {
        self.after(state, step).filter(|after| after != state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties()
    }
}
