//! SIGTERM: what is under way is finished, what is looked after is freed and goes on running, and the program ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use om_system_tests::{Bed, Failure, SOON, free_ports, process, record, recorded, wait_until};

// As pinned: a drain takes no longer.
const DRAIN: Duration = Duration::from_secs(10);

#[test]
fn sigterm_drains_frees_and_leaves_the_members_running() {
    let bed = Bed::new();
    let port = free_ports(2);
    let plugin = bed.process_plugin("process");
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    let term = bed.wait_leading("a");
    bed.commit("a", &process(&bed, "web", 2, port), &["--wait"]).done();
    bed.commit("a", &recorded(&bed, "steered"), &["--wait"]).done();

    a.terminate();
    assert_eq!(a.wait_exit(DRAIN).code(), Some(0));
    let ended = om_api::clock::since_boot();
    assert!(!bed.socket("a").exists(), "its socket is gone");
    // A clean end is proof: the next leader has nothing to wait for, and nothing was steered after the end.
    bed.name_leader("b");
    bed.manager("b", &[]);
    let next = bed.wait_leading("b");
    wait_until("b's term to steer", SOON, || record::reigns(&bed.steering_record()).contains_key(&next));
    assert!(record::reigns(&bed.steering_record())[&term].1 < ended);
    record::check_one_term_steers(&bed.steering_record());

    plugin.terminate();
    assert_eq!(plugin.wait_exit(DRAIN).code(), Some(0));
    assert_eq!(bed.others().len(), 2, "the members run on without plugin and manager: {:?}", bed.others());
    bed.process_plugin("process");
    wait_until("web to be ready again", SOON, || {
        bed.om("b", &["describe", "web"]).json()["phase"] == "ready"
    });
    assert_eq!(record::processes(&bed.member_record()), 2, "they were adopted");
    record::check_no_second_copy(&bed.member_record());
}

#[test]
fn commits_under_way_at_sigterm_are_answered_truly() {
    let bed = &Bed::new();
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    let done = &AtomicU32::new(0);
    let answers: Vec<(String, Option<Failure>)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    let client = bed.client("a");
                    let mut answers = Vec::new();
                    for turn in 0.. {
                        let spec = recorded(bed, &format!("c-{number}-{turn}")).with("every_ms", 0);
                        let failure = client.commit(spec.commit()).err();
                        done.fetch_add(1, Ordering::SeqCst);
                        answers.push((spec.name, failure.clone()));
                        if failure.is_some() {
                            break;
                        }
                    }
                    answers
                })
            })
            .collect();
        wait_until("some commits", SOON, || done.load(Ordering::SeqCst) > 50);
        a.terminate();
        assert_eq!(a.wait_exit(DRAIN).code(), Some(0));
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    bed.name_leader("b");
    bed.manager("b", &[]);
    bed.wait_leading("b");
    let stored = bed.client("b").list().expect("a list");
    for (name, failure) in answers {
        let is_there = stored.iter().any(|service| service.name == name);
        match failure {
            None => assert!(is_there, "{name} was acknowledged"),
            Some(failure) if failure.is_unclear() => {}
            Some(failure) => assert!(!is_there, "{name} was refused: {failure:?}"),
        }
    }
}

#[test]
fn a_second_sigterm_does_not_wait_for_what_is_under_way() {
    let bed = &Bed::new();
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    thread::scope(|scope| {
        // A dry run that never ends holds the drain up.
        let waiting =
            scope.spawn(|| bed.client("a").commit(recorded(bed, "hung").with("plan", "hang").commit()));
        wait_until("the plugin to be asked", SOON, || {
            bed.program("record").find(0, &["asked", "hung"]).is_some()
        });
        a.terminate();
        a.wait_log(0, &["drain"], SOON);
        a.terminate();
        a.wait_exit(Duration::from_secs(5));
        assert!(waiting.join().expect("a client").is_err());
    });
}

#[test]
fn sigterm_ends_a_manager_whose_plugin_hangs_within_ten_seconds_with_exit_0() {
    let bed = &Bed::new();
    let recorder = bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed.commit("a", &recorded(bed, "steered"), &["--wait"]).done();
    recorder.freeze();
    a.terminate();
    assert_eq!(a.wait_exit(DRAIN + Duration::from_secs(1)).code(), Some(0));
    recorder.thaw();
    recorder.terminate();
    assert_eq!(recorder.wait_exit(DRAIN).code(), Some(0));
}
