//! A leader that stands still in the middle of commits, and wakes when another one leads: by the election, as
//! `freeze.rs` has it by the leader file.
//!
//! What it wakes with is also a jump of its clock: CLOCK_BOOTTIME, by which authority is counted, has gone on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use om_api::{Reason, v1};
use om_system_tests::{
    Bed, EtcdCluster, Failure, Group, NAMES, Pace, SOON, measured, part, record, recorded, wait_until,
};

type Answer = (v1::CommitRequest, Result<v1::CommitResponse, Failure>);

// Commits, each of a service of its own that must not exist yet, until it is told that the leader is deposed.
fn client(
    bed: &Bed,
    leader: &str,
    number: usize,
    stop: &AtomicBool,
    answers: &Mutex<BTreeMap<String, Answer>>,
) {
    let client = bed.client(leader);
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut request = recorded(bed, &format!("c-{number}-{turn}")).with("every_ms", 0).commit();
        request.if_revision = Some(0);
        let name = request.service.clone().unwrap_or_default().name;
        let answer = client.commit(request.clone());
        let deposed = answer.is_err();
        answers.lock().unwrap().insert(name, (request, answer));
        if deposed {
            return;
        }
    }
}

// What was not done, because whoever was asked does not lead; NO_LEADER: it has not yet read who does.
fn refused_as_deposed(failure: &Failure) -> bool {
    matches!(failure.reason, Some(Reason::NotLeader | Reason::NoLeader | Reason::Fenced))
}

#[test]
fn a_leader_frozen_in_the_middle_of_commits_and_deposed_answers_each_once_and_truly() {
    if !part("etcd and etcdctl", EtcdCluster::possible()) {
        return;
    }
    let bed = &Bed::new();
    let group = &Group::on_one_host(bed, Pace::FAST, &[]);
    group.steer_something();
    let (old_leader, old) = group.settle();
    let answers = Mutex::new(BTreeMap::new());
    let stop = AtomicBool::new(false);
    let (leader, new) = thread::scope(|scope| {
        for number in 0..16 {
            let (answers, stop) = (&answers, &stop);
            scope.spawn(move || client(bed, NAMES[old_leader], number, stop, answers));
        }
        wait_until("some commits to be acknowledged", SOON, || answers.lock().unwrap().len() > 100);
        let frozen = group.manager(old_leader).freeze();
        let (leader, new) = group.wait_leader_after(old);
        wait_until("the new leader's plugin to steer", SOON, || {
            record::steering_since(&bed.steering_record(), "steered", frozen) == Some(new)
        });
        group.manager(old_leader).thaw();
        wait_until("the deposed leader to follow", SOON, || {
            group.status(old_leader).is_some_and(|status| {
                status.leadership() == v1::Leadership::Following
                    && status.leader.is_some_and(|named| named.name == NAMES[leader])
            })
        });
        stop.store(true, Ordering::SeqCst);
        (leader, new)
    });
    assert_eq!(group.settle(), (leader, new), "who woke takes nothing over");

    let client = bed.client(NAMES[leader]);
    let mut counts = BTreeMap::<String, u32>::new();
    for event in client.history("").expect("the history") {
        if event.r#type() == v1::EventType::Committed {
            *counts.entry(event.service).or_default() += 1;
        }
    }
    let (mut done, mut refused, mut unclear) = (0, 0, 0);
    for (name, (request, answer)) in answers.into_inner().expect("the answers") {
        let count = counts.get(&name).copied().unwrap_or_default();
        match answer {
            Ok(_) => {
                assert_eq!(count, 1, "{name} was acknowledged");
                done += 1;
            }
            Err(failure) if failure.is_unclear() => {
                assert_ne!(failure.code, tonic::Code::DeadlineExceeded, "{name} was never answered");
                assert!(count <= 1, "{name} took effect {count} times");
                let again =
                    client.commit(request).unwrap_or_else(|failure| panic!("{name} again: {failure:?}"));
                assert_eq!(again.name, name);
                assert_eq!(client.commits_of(&name), 1, "{name}, asked again");
                unclear += 1;
            }
            Err(failure) => {
                assert!(refused_as_deposed(&failure), "{name}: {failure:?}");
                assert_eq!(count, 0, "{name} was refused: {failure:?}");
                refused += 1;
            }
        }
    }
    measured(&format!("{done} acknowledged, {refused} refused, {unclear} unclear and asked again"));
    assert!(refused + unclear > 0, "nobody asked while the leader stood still");
    record::check_one_term_steers(&bed.steering_record());
}
