//! What must hold in every state, and what must be seen in some, for a model in which nothing happens proves nothing.

use stateright::Property;

use crate::moves::Move;
use crate::rules::{Constellation, HOSTS, REPLICAS, SERVICES, host};
use crate::state::{By, Session, State, Way, bit};

const ONE_ACTS: &str = "one term acts";
const ONE_WRITES: &str = "one term writes";
const TERMS_GROW: &str = "terms only grow";
const SOMEBODY_LEADS: &str = "after the faults somebody leads";

const BY_VOTES: &str = "a leader is taken over from by votes";
const BY_LEASE: &str = "a leader is taken over from by its lease";
const BY_WORD: &str = "a plugin's last word shortens the wait";
const BY_HANDOVER: &str = "a claim is released";

/// What must hold in every state.
pub const SHOULD_HOLD: [&str; 4] = [ONE_ACTS, ONE_WRITES, TERMS_GROW, SOMEBODY_LEADS];
/// What must be seen in some state, if the constellation allows for it.
pub const SEEN: [&str; 4] = [BY_VOTES, BY_LEASE, BY_WORD, BY_HANDOVER];

pub(crate) fn properties() -> Vec<Property<Constellation>> {
    vec![
        Property::always(ONE_ACTS, |bounds: &Constellation, state: &State| state.one_acts(bounds)),
        Property::always(ONE_WRITES, |_, state: &State| !state.broken.fence),
        Property::always(TERMS_GROW, |_, state: &State| !state.broken.term && state.terms_are_known()),
        Property::always(SOMEBODY_LEADS, |bounds: &Constellation, state: &State| state.recovers(bounds)),
        Property::sometimes(BY_VOTES, |bounds: &Constellation, state: &State| {
            state.by == By::Votes && state.all_steered(bounds)
        }),
        Property::sometimes(BY_LEASE, |bounds: &Constellation, state: &State| {
            state.by == By::Lease && state.all_steered(bounds)
        }),
        Property::sometimes(BY_WORD, |_, state: &State| state.cleared_early()),
        Property::sometimes(BY_HANDOVER, |_, state: &State| state.claim.released),
    ]
}

impl State {
    /// At most one term, and one plugin, acts.
    fn one_acts(&self, bounds: &Constellation) -> bool {
        (0..HOSTS).filter(|plugin| self.acts(bounds, *plugin)).count() <= 1
    }

    /// Nobody knows of a term that the keyspace does not.
    fn terms_are_known(&self) -> bool {
        let newest = self.claim.term;
        self.replicas.iter().all(|replica| replica.known <= newest && replica.rule <= newest)
            && self.plugins.iter().all(|plugin| plugin.term <= newest)
    }

    /// A leader that took over commits, while the leaders before could still act if nobody had said otherwise.
    fn cleared_early(&self) -> bool {
        (0..REPLICAS).any(|replica| {
            let (it, plugin) = (&self.replicas[replica], &self.plugins[host(replica)]);
            let commits = it.rule != 0 && plugin.term == it.rule && plugin.session == Session::Cleared;
            commits && it.until > 0 && self.by == By::Votes
        })
    }

    /// From here on nothing more goes wrong, but that one replica may be dead, and everybody does what is to be done: are all
    /// services steered in the end?
    fn recovers(&self, bounds: &Constellation) -> bool {
        // Claims enough: how many there were so far is not the point.
        let bounds = Constellation { terms: u8::MAX, ..*bounds };
        [None, Some(0), Some(1), Some(2)]
            .into_iter()
            .all(|dead| Recovery { bounds, dead, now: *self }.succeeds())
    }
}

/// A run in which all goes well.
struct Recovery {
    bounds: Constellation,
    dead: Option<usize>,
    now: State,
}

/// More than the longest waits together.
const ROUNDS: usize = 32;

impl Recovery {
    fn succeeds(&mut self) -> bool {
        for _ in 0..ROUNDS {
            if self.now.all_steered(&self.bounds) && self.led_by_the_living() {
                return true;
            }
            self.round();
            self.take(Move::Tick);
        }
        false
    }

    fn led_by_the_living(&self) -> bool {
        let leader = usize::from(self.now.claim.holder);
        self.lives(leader) && self.now.leads(leader)
    }

    fn lives(&self, replica: usize) -> bool {
        self.dead != Some(replica)
    }

    fn take(&mut self, step: Move) {
        if let Some(after) = self.bounds.after(&self.now, step) {
            self.now = after;
        }
    }

    /// What is done between two ticks, in an order in which it can succeed.
    fn round(&mut self) {
        let living = (0..REPLICAS).filter(|replica| self.dead != Some(*replica));
        let living: [Option<usize>; REPLICAS] = std::array::from_fn(|index| living.clone().nth(index));
        let living = || living.into_iter().flatten();
        for replica in 0..REPLICAS {
            // Also what a dead one has sent.
            self.take(Move::Land { replica });
        }
        for replica in living() {
            self.take(Move::Learn { replica });
            self.take(Move::Won { replica });
        }
        for leader in living() {
            self.take(Move::Record { leader });
            for follower in living() {
                self.take(Move::Ask { leader, follower });
                self.take(Move::Promise { leader, follower });
                self.take(Move::Hear { leader, follower });
            }
            self.take(Move::Beat { leader });
        }
        for plugin in 0..HOSTS {
            if !self.now.leader_of(plugin).is_some_and(|leader| self.lives(leader)) {
                self.take(Move::Break { plugin });
            }
            for _ in 0..SERVICES {
                self.take(Move::Stop { plugin });
            }
        }
        for leader in living() {
            self.take(Move::Free { leader });
            self.take(Move::Quit { leader });
        }
        for leader in living() {
            self.rule(leader);
        }
        for candidate in living() {
            for voter in [candidate, (candidate + 1) % REPLICAS, (candidate + 2) % REPLICAS] {
                if self.lives(voter) && self.is_lost() {
                    self.take(Move::Vote { candidate, voter });
                }
            }
            let electorate = living().fold(0, |members, replica| members | bit(replica));
            self.take(Move::Claim { replica: candidate, by: By::Nobody, electorate });
            self.take(Move::Claim { replica: candidate, by: By::Votes, electorate });
            if self.is_lost() && !self.lives(usize::from(self.now.claim.holder)) {
                self.take(Move::Claim { replica: candidate, by: By::Lease, electorate });
            }
        }
    }

    /// What a leader does with plugins.
    fn rule(&mut self, leader: usize) {
        let plugin = host(leader);
        self.take(Move::Grant { leader });
        self.take(Move::Attend { leader });
        for _ in 0..SERVICES {
            self.take(Move::Stop { plugin });
        }
        self.take(Move::Attend { leader });
    }

    /// Whether nobody leads under the newest claim, nor is about to.
    fn is_lost(&self) -> bool {
        let holder = usize::from(self.now.claim.holder);
        let it = &self.now.replicas[holder];
        !self.lives(holder) || (it.rule != self.now.claim.term && !matches!(it.way, Way::Won { .. }))
    }
}
