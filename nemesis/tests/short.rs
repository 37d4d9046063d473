//! Short runs of the nemesis, each in a mode of its own: no promise is broken, and what is planted into the history of
//! the same run is found, so that "nothing was found" means something.
#![allow(clippy::expect_used, reason = "a panic is a test's verdict")]

mod planted;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::wall_unix_ms;
use om_nemesis::{Mode, Orders, Outcome, run};
use om_system_tests::{measured, part};

// Each run has the machine for itself: it is made to fail, and not to be slow.
static ALONE: Mutex<()> = Mutex::new(());

/// So many runs at most, until one is eventful: where a Swarm elects for a minute, its leader may never have changed.
const RUNS: usize = 5;

fn short(mode: Mode, seconds: u64, least_rounds: u64) {
    let (what, possible) = mode.needs();
    if !part(what, possible) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What never happened would prove nothing.
    let eventful = |outcome: &Outcome| {
        let summary = &outcome.summary;
        let faults = summary.rounds >= least_rounds && summary.terms > 2;
        faults && summary.acknowledged > 50 && summary.effects > 100
    };
    let outcome =
        (0..RUNS).map(|_| good(mode, seconds)).find(eventful).expect("a run in which something happens");
    planted::all_are_found(&outcome.history, &outcome.rules);
}

/// A run that breaks no promise.
fn good(mode: Mode, seconds: u64) -> Outcome {
    let seed = wall_unix_ms().unsigned_abs();
    let evidence = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{seed}", mode.name()));
    let (time, log) = (Duration::from_secs(seconds), "4".to_owned());
    let outcome = run(&Orders { mode, time, seed, log, evidence: evidence.clone() });
    measured(&outcome.summary.to_string());
    let found: Vec<String> = outcome.violations.iter().take(5).map(ToString::to_string).collect();
    assert!(
        outcome.is_good(),
        "{:?} {found:#?}\nevidence: {}\nagain: {}",
        outcome.failure,
        evidence.display(),
        outcome.again
    );
    outcome
}

#[test]
fn a_minute_of_faults_beside_etcd_breaks_no_promise() {
    short(Mode::Etcd, 45, 5);
}

#[test]
fn a_minute_of_faults_with_a_leader_file_breaks_no_promise() {
    short(Mode::Os, 45, 5);
}

#[test]
fn a_minute_of_faults_beside_a_swarm_breaks_no_promise() {
    short(Mode::Swarm, 45, 1);
}
