//! A real Swarm that others have filled up to what its log takes at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::cell::Cell;

use om_system_tests::{Bed, Engine, SOON, Spec, Swarm, measured, part, recorded, wait_until};

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";
/// More than any change of the Swarm's labels may be.
const MUCH: usize = 2_000_000;
/// What is left free: enough for the leader's proofs, and too little for a commit that is still not so large that it goes
/// into a config object of its own.
const LEFT: usize = 800;

/// A service that does not pack.
fn service(bed: &Bed, name: &str, size: usize) -> Spec {
    let noise: String = (0..size / 32 + 1).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    recorded(bed, name).with("ballast", noise)
}

/// A label of others of this size; whether there was room.
fn fill(engine: &Engine, size: usize) -> bool {
    let value = "x".repeat(size);
    let fits = Cell::new(false);
    wait_until("an answer that does not depend on others", SOON, || {
        match engine.label_swarm("theirs", Some(&value)) {
            Ok(()) => fits.set(true),
            Err(why) if why.contains("too large") => fits.set(false),
            Err(why) => {
                assert!(why.contains("out of sequence"), "{why}");
                return false;
            }
        }
        true
    });
    fits.get()
}

#[test]
fn a_commit_for_which_there_is_no_room_is_refused_and_everything_else_goes_on() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let (bed, swarm) = (Bed::new(), Swarm::new(1));
    let engine = swarm.engine(0);
    bed.recording_plugin("record");
    let program = bed.start("a", bed.swarm_manager_command("a", engine, &[]));
    bed.wait_serving(&program);
    let term = bed.wait_leading("a");
    bed.commit("a", &service(&bed, "first", 100), &["--wait"]).done();

    let (mut fits, mut much) = (0, MUCH);
    while much - fits > 100 {
        let middle = fits.midpoint(much);
        if fill(engine, middle) { fits = middle } else { much = middle }
    }
    measured(&format!("others' label can have {fits} bytes"));
    assert!(fits > 1_000_000 && fill(engine, fits - LEFT));

    let refused = bed.commit("a", &service(&bed, "second", 2000), &[]).refused(1);
    assert_eq!(refused.reason, "STATE_TOO_LARGE", "{refused:?}");
    assert!(refused.message.contains("what was there is untouched"), "{refused:?}");
    assert_eq!(bed.client("a").names(), ["first"]);
    assert_eq!(bed.client("a").status().unwrap().term, term, "it leads on");
    bed.commit("a", &service(&bed, "first", 120), &["--wait"]).done();

    engine.label_swarm("theirs", None).unwrap();
    bed.commit("a", &service(&bed, "second", 2000), &["--wait"]).done();
    assert_eq!(bed.client("a").names(), ["first", "second"]);
}
