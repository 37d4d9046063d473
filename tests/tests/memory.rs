//! What is remembered across failovers: answers to repeated requests, events, what was destroyed, what a plugin saved.

use om_api::v1;
use om_system_tests::{Bed, Reason, SOON, free_ports, process, record, recorded, wait_for, wait_until};

/// Managers `a` (leading) and `b` before the recording plugin.
fn bed_of_two() -> Bed {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.manager("a", &[]);
    bed.manager("b", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed
}

#[test]
fn a_repeated_request_takes_effect_once_and_gets_the_same_answer_also_after_a_failover() {
    let bed = bed_of_two();
    let mut request = recorded(&bed, "once").commit();
    request.if_revision = Some(0);
    let first = bed.client("a").commit(request.clone()).expect("a commit");
    assert!(first.changed);
    let same = |answer: &v1::CommitResponse| {
        assert_eq!((answer.revision, answer.changed), (first.revision, first.changed), "{answer:?}");
    };
    same(&bed.client("a").commit(request.clone()).expect("the same"));
    // Another intent of the same wording is a conflict: it exists by now.
    let mut other = request.clone();
    other.request_id = uuid::Uuid::new_v4().to_string();
    let conflict = bed.client("a").commit(other).expect_err("a conflict");
    assert_eq!(conflict.reason, Some(Reason::RevisionConflict));

    bed.program("a").kill();
    bed.name_leader("b");
    bed.wait_leading("b");
    same(&bed.client("b").commit(request.clone()).expect("the same, of another leader"));
    assert_eq!(bed.client("b").commits_of("once"), 1);

    // Destroyed since: the request is still the one that was answered, and does not bring it back.
    bed.om("b", &["destroy", "--yes", "once"]).done();
    wait_until("it to be gone", SOON, || bed.om("b", &["get", "once"]).code == 4);
    let _ = bed.client("b").commit(request);
    assert_eq!(bed.om("b", &["get", "once"]).code, 4, "a late repetition brings nothing back");
}

#[test]
fn one_request_sent_many_times_at_once_takes_effect_once() {
    let bed = bed_of_two();
    let mut request = recorded(&bed, "once").commit();
    request.if_revision = Some(0);
    let answers = bed.client("a").commit_all(vec![request; 50], 50);
    let mut revisions: Vec<u64> =
        answers.into_iter().map(|answer| answer.unwrap_or_else(|f| panic!("{f:?}")).revision).collect();
    revisions.dedup();
    assert_eq!(revisions.len(), 1, "{revisions:?}");
    assert_eq!(bed.client("a").commits_of("once"), 1);
}

#[test]
fn of_many_who_demand_the_same_revision_one_wins() {
    let bed = bed_of_two();
    let revision = bed.client("a").commit(recorded(&bed, "wanted").commit()).expect("a commit").revision;
    let requests = (0..20)
        .map(|number| {
            let mut request = recorded(&bed, "wanted").label("number", number).commit();
            request.if_revision = Some(revision);
            request
        })
        .collect();
    let answers = bed.client("a").commit_all(requests, 20);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for failure in answers.into_iter().filter_map(Result::err) {
        assert_eq!(failure.reason, Some(Reason::RevisionConflict), "{failure:?}");
    }
}

#[test]
fn a_watch_that_is_resumed_sees_every_event_once_across_a_failover() {
    let bed = bed_of_two();
    let (a, b) = (bed.client("a"), bed.client("b"));
    let stored = |event: &v1::Event| {
        matches!(event.r#type(), v1::EventType::Committed | v1::EventType::Freed | v1::EventType::Destroyed)
    };
    let commit = |number: u64| {
        let leader = if number < 30 { "a" } else { "b" };
        let spec = recorded(&bed, &format!("s-{}", number % 5)).with("every_ms", 0).label("number", number);
        bed.client(leader).commit(spec.commit()).expect("a commit").revision
    };
    let mut revisions = Vec::new();
    let mut seen = Vec::new();
    let mut watch = a.watch(Some(0)).expect("a watch");
    for number in 0..30 {
        revisions.push(commit(number));
        if number % 10 == 9 {
            // Half of what is there; then the connection is dropped, and resumed after the last one seen.
            for _ in 0..5 {
                let event = wait_for("an event", SOON, || watch.next(SOON)).expect("no error");
                if stored(&event) {
                    seen.push(event.revision);
                }
            }
            drop(watch);
            watch = a.watch(Some(seen.last().copied().unwrap_or(0))).expect("a watch");
        }
    }
    drop(watch);
    bed.program("a").kill();
    bed.name_leader("b");
    bed.wait_leading("b");
    revisions.extend((30..40).map(commit));
    bed.om("b", &["destroy", "--yes", "s-1"]).done();

    let mut watch = b.watch(Some(seen.last().copied().unwrap_or(0))).expect("a watch");
    let destroyed = loop {
        let event = watch.next(SOON).expect("more events").expect("no error");
        if stored(&event) {
            seen.push(event.revision);
        }
        if event.r#type() == v1::EventType::Destroyed {
            break event;
        }
    };
    assert_eq!(destroyed.service, "s-1");
    assert!(seen.is_sorted_by(|x, y| x < y), "each once, in order: {seen:?}");
    for revision in &revisions {
        assert!(seen.contains(revision), "no event for revision {revision}: {seen:?}");
    }
    let told: Vec<u64> = b
        .history("")
        .expect("the history")
        .iter()
        .filter(|event| stored(event))
        .map(|e| e.revision)
        .collect();
    assert_eq!(told, seen, "the history tells the same");
}

#[test]
fn what_was_destroyed_stays_destroyed_and_what_was_freed_stays_free() {
    let bed = bed_of_two();
    bed.process_plugin("process");
    let port = free_ports(2);
    wait_until("a to find the plugin", SOON, || bed.om("a", &["plugins"]).stdout.contains("process"));
    bed.commit("a", &process(&bed, "gone", 1, port), &["--wait"]).done();
    bed.commit("a", &process(&bed, "free", 1, port + 1), &["--wait"]).done();
    bed.om("a", &["destroy", "--yes", "gone"]).done();
    bed.om("a", &["free", "free"]).done();
    wait_until("it to be torn down", SOON, || bed.others().len() == 1);

    bed.program("a").kill();
    bed.name_leader("b");
    bed.wait_leading("b");
    bed.commit("b", &recorded(&bed, "steered"), &["--wait"]).done();
    assert_eq!(bed.om("b", &["get", "gone"]).code, 4);
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    assert_eq!(bed.om("a", &["get", "gone"]).code, 4);
    assert_eq!(bed.others().len(), 1, "neither started again nor taken down");
    assert_eq!(record::processes(&bed.member_record()), 2);
}

#[test]
fn a_destroy_that_was_decided_is_finished_by_the_next_leader() {
    let bed = bed_of_two();
    let knob = bed.write("broken", "");
    let slow = recorded(&bed, "slow").with("destroy", "hang").with("only_while", knob.to_str().unwrap());
    bed.commit("a", &slow, &["--wait"]).done();
    // Decided, not done: the plugin hangs with it.
    let _ = bed.om("a", &["--timeout", "3s", "destroy", "--yes", "slow"]);
    wait_until("it to be shown as being torn down", SOON, || {
        bed.om("a", &["describe", "slow"]).json()["phase"] == "destroying"
    });
    bed.program("a").kill();
    std::fs::remove_file(knob).unwrap();
    bed.name_leader("b");
    bed.wait_leading("b");
    wait_until("the next leader to finish it", SOON, || bed.om("b", &["get", "slow"]).code == 4);
    let lines = record::lines::<record::SteeringLine>(&bed.steering_record());
    assert!(lines.iter().any(|line| line.what == "destroy"));
}

#[test]
fn a_snapshot_brings_everything_back_into_an_empty_state() {
    let bed = bed_of_two();
    for name in ["one", "two"] {
        bed.commit("a", &recorded(&bed, name).label("x", name), &["--wait"]).done();
    }
    let file = bed.path("saved");
    let file = file.to_str().unwrap();
    bed.om("a", &["snapshot", "save", file]).done();
    let refusal = bed.om("a", &["snapshot", "restore", file]).refused(1);
    assert_eq!(refusal.reason, "REFUSED", "services exist: {refusal:?}");
    bed.om("a", &["destroy", "--yes", "one"]).done();
    bed.commit("a", &recorded(&bed, "three"), &["--wait"]).done();
    bed.om("a", &["snapshot", "restore", "--replace", file]).done();
    let names = || bed.client("a").names();
    assert_eq!(names(), ["one", "two"]);
    wait_until("both to be looked after", SOON, || {
        let services = bed.client("a").list().expect("a list");
        services.iter().all(|service| service.phase() == v1::Phase::Ready)
    });
    assert_eq!(bed.om("a", &["describe", "one"]).json()["labels"]["x"], "one");

    // A file with a flipped bit, or half of one, is no snapshot, and changes nothing.
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [bytes.clone(), bytes[..middle].to_vec(), b"words".to_vec(), Vec::new()] {
        let file = bed.write("damaged", damaged);
        let output = bed.om("a", &["snapshot", "restore", "--replace", file.to_str().unwrap()]);
        output.refused(1);
        assert_ne!(bed.om("a", &["snapshot", "show", file.to_str().unwrap()]).code, 0);
    }
    assert_eq!(names(), ["one", "two"]);
}

#[test]
fn a_changing_action_is_recorded_as_an_operation_and_a_reading_one_is_not() {
    let bed = bed_of_two();
    bed.commit("a", &recorded(&bed, "steered"), &["--wait"]).done();
    let said = bed.om_text("a", &["run", "steered", "say", "--arg", "text=hello"], "");
    assert_eq!(said.done().stdout, "hello\n");
    assert!(bed.om("a", &["operations"]).json().as_array().is_some_and(Vec::is_empty));
    bed.om_text("a", &["run", "steered", "poke", "--arg", "text=now"], "").done();
    let lines = record::lines::<record::SteeringLine>(&bed.steering_record());
    assert_eq!(lines.iter().filter(|line| line.what == "poke now").count(), 1);
    bed.program("a").kill();
    bed.name_leader("b");
    bed.wait_leading("b");
    let operations = bed.om("b", &["operations", "steered"]).json();
    assert_eq!(operations[0]["action"], "poke", "{operations}");
    assert_eq!(operations[0]["state"], "succeeded", "{operations}");
}
