//! `kill -9` at every call to the disk: real processes, a real directory.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{runtime, store_on};
use crate::file::disk::RealDisk;
use crate::testing::ledger::{Answer, Ledger, verify, workload};
use crate::testing::{Twist, TwistedDisk};

/// Says to the test's own program that it is to do the workload, where, and before which call it dies.
const ROLE: &str = "OM_STORE_TEST_KILL";
const NAME: &str = "file::tests::kill::a_kill_at_any_call_costs_no_acknowledged_write";

fn say(line: &str) {
    // One write, so that a kill leaves whole lines.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("om {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn die() -> std::io::Error {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

fn work_and_die(role: &str) {
    let (last, dir) = role.split_once(':').unwrap();
    let last: u64 = last.parse().unwrap();
    let disk = TwistedDisk::new(Arc::new(RealDisk), move |call| match call.number {
        number if number == last => Twist::Half(Box::new(die)),
        _ => Twist::Go,
    });
    let ledger = Ledger::told(|number, answer| match answer {
        Answer::None => say(&format!("{number} begun")),
        Answer::Acknowledged(revision) => say(&format!("{number} {revision}")),
        Answer::Refused | Answer::Unclear => say(&format!("{number} {answer:?}")),
    });
    runtime().block_on(workload(&store_on(dir, Arc::new(disk.clone())), &ledger, 0));
    say(&format!("all {}", disk.calls()));
}

/// Lets a process do the workload until before call `last`; says what it was told, and the calls if it came to the end.
fn run(dir: &Path, last: u64) -> (Ledger, Option<u64>) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{last}:{}", dir.display()))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ledger = Ledger::default();
    let mut calls = None;
    for line in text.lines().filter_map(|line| line.split_once("om ").map(|(_, said)| said)) {
        let (number, said) = line.split_once(' ').unwrap();
        if number == "all" {
            calls = Some(said.parse().unwrap());
            continue;
        }
        let answer = match said {
            "begun" => Answer::None,
            revision => Answer::Acknowledged(revision.parse().expect("nothing fails but by the kill")),
        };
        ledger.note(number.parse().unwrap(), answer);
    }
    (ledger, calls)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test's own program learns its role from its environment")]
fn a_kill_at_any_call_costs_no_acknowledged_write() {
    if let Ok(role) = std::env::var(ROLE) {
        return work_and_die(&role);
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let mut most = 0;
    for last in 1.. {
        let dir = folder.path().join(last.to_string());
        let (ledger, calls) = run(&dir, last);
        let outcome = runtime.block_on(verify(|| store_on(&dir, Arc::new(RealDisk)), &ledger));
        outcome.unwrap_or_else(|why| panic!("killed at call {last}: {why}"));
        most = ledger.now().len().max(most);
        if calls.is_some() {
            assert!(last > 100, "only {last} calls");
            break;
        }
        std::fs::remove_dir_all(&dir).ok();
    }
    assert!(most > 10, "the workload came only to {most} writes");
}
