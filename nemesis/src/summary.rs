//! What a run did, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use om_checker::{Answer, Event, Intent, Kind, Stored, What};

use crate::{Mode, Orders};

/// The figures of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    mode: Mode,
    seed: u64,
    time: Duration,
    /// Rounds of faults.
    pub rounds: u64,
    /// How often each fault was made.
    pub faults: BTreeMap<&'static str, u64>,
    /// Commits, frees and destroys that were acknowledged.
    pub acknowledged: usize,
    /// Calls that were given up without an answer for certain.
    pub unclear: usize,
    /// Attempts at one replica.
    pub attempts: usize,
    /// Looks at one service.
    pub reads: usize,
    /// Terms that began.
    pub terms: usize,
    /// Effects that plugins wrote down.
    pub effects: usize,
    /// Stored events that watchers saw.
    pub watched: usize,
    /// What contradicts a promise.
    pub violations: usize,
}

impl Summary {
    pub(crate) fn new(orders: &Orders) -> Self {
        Self {
            mode: orders.mode,
            seed: orders.seed,
            time: orders.time,
            rounds: 0,
            faults: BTreeMap::new(),
            acknowledged: 0,
            unclear: 0,
            attempts: 0,
            reads: 0,
            terms: 0,
            effects: 0,
            watched: 0,
            violations: 0,
        }
    }

    pub(crate) fn count(&mut self, history: &[Event], attempts: usize) {
        self.attempts = attempts;
        let mut terms = BTreeSet::new();
        let (mut asked, mut answered) = (0, 0);
        for event in history {
            match &event.what {
                What::Acted { .. } => self.effects += 1,
                What::Watched { stored: Stored { term, kind, .. }, .. } => {
                    self.watched += 1;
                    if matches!(kind, Kind::Leadership(_)) {
                        terms.insert(*term);
                    }
                }
                What::Called { intent: Intent::Read, .. } => self.reads += 1,
                What::Called { .. } => asked += 1,
                What::Answered {
                    answer: Answer::Committed { .. } | Answer::Freed { .. } | Answer::Destroyed { .. },
                    ..
                } => {
                    self.acknowledged += 1;
                    answered += 1;
                }
                What::Answered { answer: Answer::Stands(_), .. } => {}
                What::Answered { answer, .. } => {
                    let sent_elsewhere = matches!(answer, Answer::Refused { leader: Some(_), .. });
                    answered += usize::from(!sent_elsewhere);
                }
                _ => {}
            }
        }
        self.unclear = asked - answered;
        self.terms = terms.len();
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, seed, time, rounds, acknowledged, unclear, attempts, reads, .. } = self;
        writeln!(f, "nemesis {}: {:.1} minutes, seed {seed}: {rounds} rounds", mode.name(), minutes(*time))?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {count:4} x {fault}")?;
        }
        writeln!(
            f,
            "  {acknowledged} calls acknowledged, {unclear} unclear, by {attempts} attempts; {reads} reads"
        )?;
        let Self { terms, effects, watched, violations, .. } = self;
        writeln!(f, "  {terms} terms; {effects} effects; {watched} events watched")?;
        write!(f, "  violations: {violations}")
    }
}

pub(crate) fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}
