//! What the predecessor was found to do wrong, where no other test would have caught it: `docs/reliability.md` has the rest of
//! its record.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeSet;
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1;
use om_system_tests::record::{self, SteeringLine};
use om_system_tests::{Bed, Hammer, Random, SOON, recorded, wait_until};

// Whatever is done with all services at once may take this long before a test gives up; no claim about speed.
const PATIENCE: Duration = Duration::from_secs(120);

fn commit(bed: &Bed, leader: &str, numbers: std::ops::Range<usize>, every_ms: u32) {
    let service = |number| recorded(bed, &format!("s-{number}")).with("every_ms", every_ms).commit();
    for answer in bed.client(leader).commit_all(numbers.map(service).collect(), 64) {
        answer.unwrap_or_else(|failure| panic!("{failure:?}"));
    }
}

/// The services that were steered under this term at or after this moment.
fn steered(bed: &Bed, term: u64, since: Duration) -> BTreeSet<String> {
    let lines: Vec<SteeringLine> = record::lines(&bed.steering_record());
    let later = lines.into_iter().filter(|line| line.term == term && Duration::from_micros(line.at) >= since);
    later.map(|line| line.service).collect()
}

// Its queue of 100 took two entries for each service and was read by whoever filled it: with 51 it stood still for ever.
#[test]
fn takeovers_of_51_and_of_101_services_look_after_every_one_of_them() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    let mut leader = bed.manager("m0", &[]);
    bed.name_leader("m0");
    let mut term = bed.wait_leading("m0");
    let mut before = 0;
    for (round, count) in [51, 101].into_iter().enumerate() {
        commit(&bed, &format!("m{round}"), before..count, 100);
        before = count;
        let next = format!("m{}", round + 1);
        let successor = bed.manager(&next, &[]);
        let killed = leader.kill();
        bed.name_leader(&next);
        let newer = bed.wait_leading(&next);
        assert!(newer > term);
        wait_until("each of them to be steered by the next leader", PATIENCE, || {
            steered(&bed, newer, killed).len() == count
        });
        let listed = bed.client(&next).list().expect("a list");
        assert_eq!(listed.len(), count);
        (leader, term) = (successor, newer);
    }
    assert!(leader.is_alive());
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn losing_the_leadership_with_2000_services_frees_all_of_them() {
    const MANY: usize = 2000;
    let bed = Bed::new();
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    let old = bed.wait_leading("a");
    let begun = since_boot();
    commit(&bed, "a", 0..MANY, 1000);
    wait_until("all of them to be steered", PATIENCE, || steered(&bed, old, begun).len() == MANY);

    // Nobody follows: so nobody else makes the plugin stop.
    bed.name_leader("nobody-who-runs");
    // It says so when the plugin has said that everything stopped, and not before.
    a.wait_log(0, &["freed; the claim is released"], PATIENCE);
    let freed = since_boot();
    // sleeps: each that was not freed would write a line within a second
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(steered(&bed, old, freed), BTreeSet::new(), "steered after they were freed");

    // Freed is not forgotten.
    bed.name_leader("a");
    let new = bed.wait_leading("a");
    wait_until("all of them to be steered again", PATIENCE, || steered(&bed, new, freed).len() == MANY);
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn when_the_leadership_flaps_in_mid_commit_the_loser_steers_nothing_and_no_commit_is_lost() {
    let here = Bed::new();
    let there = here.another_host();
    here.recording_plugin("record");
    there.recording_plugin("record");
    here.manager("a", &[]);
    there.manager("b", &[]);
    here.name_leader("a");
    here.wait_leading("a");
    let sockets = vec![here.socket("a"), there.socket("b")];
    let hammer = Hammer::start(sockets, &recorded(&here, "flap").with("every_ms", 20), 8, SOON);
    wait_until("commits to be under way", SOON, || hammer.accepted() > 20);

    let mut random = Random::seeded(7);
    for _ in 0..12 {
        // To the other and back, before the first has taken over, or just when it has.
        here.name_leader("b");
        let told = hammer.accepted();
        // sleeps: a flap is that the file changes again before all is settled; how long before is the point
        std::thread::sleep(Duration::from_millis(random.below(60)));
        here.name_leader("a");
        wait_until("commits to go on", PATIENCE, || hammer.accepted() > told);
    }
    here.name_leader("b");
    let last = there.wait_leading("b");
    let settled = since_boot();
    let told = hammer.stop();
    assert!(told.failed.is_empty(), "calls failed: {:#?}", told.failed);

    let expected: BTreeSet<String> = told.last().keys().map(|&name| name.to_owned()).collect();
    wait_until("the winner to steer all that was acknowledged", PATIENCE, || {
        steered(&here, last, settled) == expected
    });
    let stored = there.client("b").list().expect("a list");
    for (name, accepted) in told.last() {
        let found = stored.iter().find(|service| service.name == name).expect("what was acknowledged");
        assert_eq!(found.labels.get("number"), Some(&accepted.number.to_string()), "{name}");
        assert_ne!(found.phase(), v1::Phase::Failed, "{name}");
    }
    record::check_one_term_steers(&here.steering_record());
}
