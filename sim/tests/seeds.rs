//! The simulation, and that it is one: the same seed is the same world.

use std::process::{Command, Output};

/// Seeds of every run; `cargo xtask sim` tries more.
const SEEDS: u64 = 60;
/// In so many a planted mistake has to be found.
const TRIES: u64 = 10_000;

fn sim(args: &[&str]) -> Output {
    let ran = Command::new(env!("CARGO_BIN_EXE_om-sim")).args(args).output();
    ran.unwrap_or_else(|error| panic!("om-sim does not run: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn no_promise_is_broken_whatever_happens_to_processes_hosts_networks_clocks_and_etcd() {
    let ran = sim(&["--seeds", &SEEDS.to_string(), "--jobs", "2"]);
    assert!(ran.status.success(), "{}", said(&ran));
    println!("MEASURED: {}", said(&ran).trim_end());
}

#[test]
fn the_same_seed_twice_is_the_same_world_byte_for_byte() {
    for seed in ["1", "2"] {
        let (one, other) = (sim(&["--seed", seed, "--trace"]), sim(&["--seed", seed, "--trace"]));
        assert!(one.stdout.len() > 10_000, "a trace tells what happened: {}", said(&one));
        assert!(one.stdout == other.stdout, "seed {seed} is not the same world twice");
    }
    assert!(sim(&["--seed", "1", "--trace"]).stdout != sim(&["--seed", "2", "--trace"]).stdout);
}

/// Each is found, by one of these invariants, within so many seeds.
#[test]
fn each_planted_mistake_is_found() {
    for (plant, invariants) in [
        ("no-fence", &["OneTermWrites", "AcknowledgedIsDurable", "Linearizable", "PersistThenForward"][..]),
        ("term-by-value", &["OneTermActs", "OneTermWrites", "Linearizable", "TakeoverIsComplete"]),
        ("no-deadline", &["OneTermActs", "TakeoverIsComplete"]),
        ("no-sync", &["AcknowledgedIsDurable", "Linearizable", "TakeoverIsComplete"]),
        ("error-is-empty", &["AcknowledgedIsDurable", "Linearizable", "WatchHasNoGaps", "OneTermWrites"]),
        ("found-at-tip", &["AcknowledgedIsDurable", "Linearizable", "TakeoverIsComplete"]),
    ] {
        // What is shown first may be a consequence, such as that nobody leads: then the next seed.
        let mut from = 0;
        loop {
            let seeds = TRIES - from;
            assert!(seeds > 0, "{plant} is not found");
            let (from_text, seeds) = (from.to_string(), seeds.to_string());
            let ran = sim(&["--plant", plant, "--seed", &from_text, "--seeds", &seeds, "--jobs", "2"]);
            let said = said(&ran);
            assert!(!ran.status.success(), "{plant} is not found:\n{said}");
            let names =
                |invariant: &&str| said.lines().any(|line| line.starts_with(&format!("{invariant}: ")));
            if invariants.iter().any(names) {
                break;
            }
            let shown = said.lines().filter_map(|line| line.strip_prefix("seed ")?.split(':').next());
            let last: Option<u64> = shown.filter_map(|seed| seed.parse().ok()).max();
            from = 1 + last.unwrap_or_else(|| panic!("{plant} shows otherwise than it should:\n{said}"));
        }
    }
}
