//! Writes of which it is not known what became, within a reign: a first attempt at etcd was not answered, a second one was
//! refused for want of space. They take effect once there is space, long after their callers were told; then they are
//! what was asked for, to the plugin and to the next caller.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::fs;
use std::thread;
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1;
use om_system_tests::record::SteeringLine;
use om_system_tests::{
    Bed, EtcdCluster, Group, NAMES, Pace, Reason, SOON, part, record, recorded, wait_until,
};

const SMALL: &[&str] = &["--quota-backend-bytes", "16777216"];

/// Replicas upon a small etcd that steer a service; who leads them, and the term. `None`: there is no etcd.
fn settled(bed: &Bed) -> Option<(Group<'_>, usize, u64)> {
    if !part("etcd and etcdctl", EtcdCluster::possible()) {
        return None;
    }
    let group = Group::on_one_host_with(bed, Pace::FAST, SMALL, &[]);
    group.steer_something();
    let (leader, term) = group.settle();
    Some((group, leader, term))
}

/// Does something of which it is not known what becomes of it until there is space in etcd again: by then it is done.
fn unclear<T: Send>(group: &Group<'_>, deed: impl FnOnce() -> T + Send) -> T {
    let members: Vec<_> = (0..group.etcd().size()).map(|number| group.etcd().member(number)).collect();
    group.etcd().fill();
    members.iter().for_each(|member| _ = member.freeze());
    thread::scope(|scope| {
        let told = scope.spawn(deed);
        // sleeps: an attempt has to go without an answer; its time is 100 ms
        thread::sleep(Duration::from_millis(400));
        members.iter().for_each(|member| member.thaw());
        told.join().expect("a client")
    })
}

#[test]
fn a_write_that_takes_effect_after_its_caller_was_told_is_brought_to_the_plugin() {
    let bed = Bed::new();
    let Some((group, leader, term)) = settled(&bed) else { return };
    let client = bed.client(NAMES[leader]);

    let failure = unclear(&group, || client.commit(recorded(&bed, "late").commit()));
    let failure = failure.expect_err("there was no space");
    assert_eq!(failure.reason, Some(Reason::Unclear), "{failure:?}");
    group.etcd().make_space();
    // Nobody asks again.
    wait_until("what was written to be steered", SOON, || {
        record::steering_since(&bed.steering_record(), "late", Duration::ZERO).is_some()
    });
    wait_until("it to be said so", SOON, || {
        client.list().is_ok_and(|all| all.len() == 2 && all.iter().all(|it| it.phase() == v1::Phase::Ready))
    });

    let freed = unclear(&group, || bed.om(NAMES[leader], &["free", "late", "--timeout", "2s"]));
    assert_ne!(freed.code, 0, "there was no space: {freed:?}");
    group.etcd().make_space();
    wait_until("it to be freed", SOON, || client.names() == ["steered"]);
    wait_until("it to be steered no more", SOON, || {
        let now = since_boot();
        // sleeps: who steers writes many lines meanwhile
        thread::sleep(Duration::from_millis(300));
        record::steering_since(&bed.steering_record(), "late", now).is_none()
    });
    assert_eq!(group.settle(), (leader, term), "another reign would have brought everything to the plugin");
}

#[test]
fn a_commit_that_demands_nothing_is_not_told_of_a_conflict_with_an_unclear_one_before_it() {
    let bed = Bed::new();
    let Some((group, leader, term)) = settled(&bed) else { return };
    let client = bed.client(NAMES[leader]);
    let numbered = |number: u32| recorded(&bed, "wanted").with("every_ms", 0).label("number", number);
    client.commit(numbered(0).commit()).expect("a commit");
    let first = unclear(&group, || client.commit(numbered(1).commit()));
    assert_eq!(first.expect_err("there was no space").reason, Some(Reason::Unclear));
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            let (client, request) = (bed.client(NAMES[leader]), numbered(2).commit());
            wait_until("a commit to be acknowledged", SOON, || match client.commit(request.clone()) {
                Ok(answer) => answer.changed,
                Err(failure) => {
                    assert_ne!(failure.reason, Some(Reason::RevisionConflict), "{failure:?}");
                    false
                }
            });
        });
        group.etcd().make_space();
        second.join().expect("a client");
    });
    let listed = client.list().expect("a list");
    let wanted = listed.iter().find(|service| service.name == "wanted").expect("it");
    assert_eq!(wanted.labels["number"], "2");
    assert_eq!(group.settle(), (leader, term));
}

#[test]
fn a_destruction_whose_end_is_unclear_is_not_asked_for_again() {
    let bed = Bed::new();
    let Some((group, leader, term)) = settled(&bed) else { return };
    let client = bed.client(NAMES[leader]);
    let hold = bed.write("hold", "");
    let doomed = recorded(&bed, "doomed").with("destroy", "wait").with("only_while", hold.to_str().unwrap());
    client.commit(doomed.commit()).expect("a commit");
    let torn_down = || {
        let lines: Vec<SteeringLine> = record::lines(&bed.steering_record());
        lines.iter().filter(|line| line.service == "doomed" && line.what == "destroy").count()
    };
    let decided = bed.om(NAMES[leader], &["--timeout", "1s", "destroy", "--yes", "doomed"]);
    assert_ne!(decided.code, 0, "it cannot be done yet: {decided:?}");
    assert_eq!(torn_down(), 0);
    unclear(&group, || {
        fs::remove_file(&hold).expect("a file");
        wait_until("it to be torn down", SOON, || torn_down() == 1);
    });
    // sleeps: whoever took it for not done would ask the plugin again after a tenth of a second
    thread::sleep(Duration::from_secs(1));
    assert_eq!(torn_down(), 1, "it was not known yet whether it is gone");
    group.etcd().make_space();
    wait_until("it to be gone", SOON, || client.names() == ["steered"]);
    assert_eq!(torn_down(), 1);
    assert_eq!(group.settle(), (leader, term), "another reign would have asked the plugin");
}

#[test]
fn a_leader_that_can_write_no_more_is_followed_by_one_that_can() {
    if !part("etcd and etcdctl", EtcdCluster::possible()) {
        return;
    }
    let bed = Bed::new();
    let group = Group::on_one_host_with(&bed, Pace::FAST, &[], &[]);
    group.steer_something();
    let (leader, term) = group.settle();
    // What stands there is as it was, but not by the leader.
    group.etcd().touch("/openmanage/", "/tip");
    let failure =
        bed.client(NAMES[leader]).commit(recorded(&bed, "late").commit()).expect_err("it did not write that");
    assert!(failure.message.contains("went back"), "{failure:?}");
    wait_until("another term", SOON, || group.settle().1 > term);
    let (next, _) = group.settle();
    bed.client(NAMES[next]).commit(recorded(&bed, "late").commit()).expect("a commit");
}
