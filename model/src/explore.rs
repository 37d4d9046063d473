//! Goes through every state that a constellation can come to.

use std::fmt;

use stateright::{Checker, HasDiscoveries, Model};

use crate::moves::Move;
use crate::promises::{SEEN, SHOULD_HOLD};
use crate::rules::Constellation;

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// States that differ.
    pub states: usize,
    /// The most moves that a state is away from the first.
    pub depth: usize,
    /// Nothing is left to be looked at.
    pub complete: bool,
    /// What does not hold, with the moves that lead there.
    pub broken: Vec<(&'static str, Vec<Move>)>,
    /// What was seen of what should be.
    pub seen: Vec<&'static str>,
}

impl Found {
    /// Everything was looked at, and holds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.complete && self.broken.is_empty()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, depth, complete, broken, seen } = self;
        let all = if *complete { "all of them" } else { "not all" };
        writeln!(f, "{states} states, {all}, up to {depth} moves away")?;
        for what in seen {
            writeln!(f, "seen: {what}")?;
        }
        for (what, moves) in broken {
            writeln!(f, "BROKEN: {what}, by")?;
            for step in moves {
                writeln!(f, "    {step:?}")?;
            }
        }
        Ok(())
    }
}

/// Explores a constellation on so many threads, until everything was looked at or something does not hold.
#[must_use]
pub fn explore(bounds: Constellation, threads: usize) -> Found {
    let checker =
        bounds.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let seen = SEEN.into_iter().filter(|what| discoveries.contains_key(what)).collect();
    let broken: Vec<_> = SHOULD_HOLD
        .into_iter()
        .filter_map(|what| Some((what, discoveries.remove(what)?.into_actions())))
        .collect();
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        complete: checker.is_done() && broken.is_empty(),
        broken,
        seen,
    }
}
