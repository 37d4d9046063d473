//! What comes next, by the seed alone.

use std::time::Duration;

use om_system_tests::Random;

use crate::fault::Fault;

/// Faults, each with how often it comes beside the others.
pub(crate) type Menu = &'static [(Fault, u64)];

/// All rounds of a run.
pub(crate) struct Plan {
    pub(crate) menu: Menu,
    pub(crate) seed: u64,
}

/// Some faults at about the same time, and what is mended after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) strikes: Vec<Strike>,
    /// How long everything stays as the last one left it.
    pub(crate) hold: Duration,
    /// How long nothing is done once all is mended.
    pub(crate) rest: Duration,
    /// Whether to wait until all replicas are of one mind.
    pub(crate) settle: bool,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
    pub(crate) whom: Whom,
}

/// Which host; the faults are about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Where the leader is.
    Leader,
    /// Where it is not: the next host, or the one after.
    Other(usize),
}

impl Plan {
    /// One round; the same each time.
    pub(crate) fn round(&self, number: u64) -> Round {
        let mut random = Random::seeded(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number << 17));
        // The first numbers of neighbouring seeds are alike.
        (0..8).for_each(|_| _ = random.below(2));
        let count = [1, 1, 1, 2, 2, 3][at(&mut random, 6)];
        let mut strikes: Vec<Strike> = Vec::new();
        for _ in 0..count {
            let fault = self.fault(&mut random);
            let whom = [Whom::Leader, Whom::Leader, Whom::Other(1), Whom::Other(2)][at(&mut random, 4)];
            let strike = Strike { after: ms(&mut random, 700), fault, whom };
            if fault.is_alone() {
                strikes = vec![strike];
                break;
            }
            strikes.push(strike);
        }
        let longest = [100, 400, 1500, 4000][at(&mut random, 4)];
        let hold = ms(&mut random, longest);
        let rest = [Duration::ZERO, ms(&mut random, 1500)][at(&mut random, 2)];
        Round { strikes, hold, rest, settle: random.below(3) == 0 }
    }

    fn fault(&self, random: &mut Random) -> Fault {
        let mut left = random.below(self.menu.iter().map(|(_, weight)| weight).sum());
        for (fault, weight) in self.menu {
            match left.checked_sub(*weight) {
                Some(less) => left = less,
                None => return *fault,
            }
        }
        self.menu[0].0
    }
}

/// Less than so many milliseconds.
pub(crate) fn ms(random: &mut Random, below: u64) -> Duration {
    Duration::from_millis(random.below(below))
}

/// A place among so many.
pub(crate) fn at(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MENU: Menu = &[(Fault::KillManager, 1), (Fault::CutOff, 3), (Fault::FillDisk, 1)];

    #[test]
    fn a_seed_is_the_same_plan_each_time_and_another_one_another() {
        let rounds = |seed| (0..50).map(|number| Plan { menu: MENU, seed }.round(number)).collect::<Vec<_>>();
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }

    #[test]
    fn everything_on_the_menu_comes_and_what_must_be_alone_is() {
        let plan = Plan { menu: MENU, seed: 3 };
        let rounds: Vec<Round> = (0..200).map(|number| plan.round(number)).collect();
        let came: BTreeSet<Fault> =
            rounds.iter().flat_map(|round| round.strikes.iter().map(|strike| strike.fault)).collect();
        assert_eq!(came.len(), MENU.len());
        for round in rounds {
            let alone = round.strikes.iter().any(|strike| strike.fault.is_alone());
            assert!(!alone || round.strikes.len() == 1, "{round:?}");
        }
    }
}
