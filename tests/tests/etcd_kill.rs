//! Leaders that end: killed, or asked to, on one host and on three. What was acknowledged stands, no call is lost, and
//! never do two terms steer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use om_system_tests::{
    Bed, EtcdCluster, Group, NAMES, Net, Pace, SOON, measured, part, record, recorded, wait_until,
};

// Each group has the machine for itself: it is made to fail, and not to be slow.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn etcd() -> bool {
    part("etcd and etcdctl", EtcdCluster::possible())
}

fn hosts() -> bool {
    part("network namespaces (root)", Net::possible())
}

// Ends the leader so, again and again, while callers hammer; gives what they were told of the worst gap.
fn rounds(group: &Group<'_>, bed: &Bed, count: usize, end: impl Fn(usize)) {
    group.steer_something();
    for _ in 0..count {
        let (leader, old) = group.settle();
        let hammer = group.hammer(2);
        wait_until("commits before", SOON, || hammer.accepted() > 20);
        let before = om_api::clock::since_boot();
        end(leader);
        let (_, new) = group.wait_leader_after(old);
        let already = hammer.accepted();
        wait_until("commits after", SOON, || hammer.accepted() > already + 20);
        wait_until("the new term to steer", SOON, || {
            record::steering_since(&bed.steering_record(), "steered", before).is_some_and(|term| term >= new)
        });
        let told = hammer.stop();
        if !group.manager(leader).is_alive() {
            group.restart(leader);
        }
        group.check_told(&told);
        let gap = told.longest_gap(before, told.accepted.last().expect("commits").at);
        measured(&format!("longest gap between acknowledged commits {} ms", gap.as_millis()));
        record::check_one_term_steers(&bed.steering_record());
    }
}

#[test]
fn a_leader_killed_on_one_host_is_followed_at_once_and_nothing_acknowledged_is_lost() {
    if !etcd() {
        return;
    }
    let _alone = alone();
    let bed = Bed::new();
    let group = Group::on_one_host(&bed, Pace::FAST, &[]);
    rounds(&group, &bed, 4, |leader| {
        group.manager(leader).kill();
    });
}

#[test]
fn a_leader_killed_on_its_host_is_followed_from_another_and_its_plugin_has_stopped() {
    if !etcd() || !hosts() {
        return;
    }
    let _alone = alone();
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::FAST, &[]);
    rounds(&group, &bed, 4, |leader| {
        group.manager(leader).kill();
    });
}

#[test]
fn a_leader_killed_together_with_its_plugin_is_followed_from_another_host() {
    if !etcd() || !hosts() {
        return;
    }
    let _alone = alone();
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::FAST, &[]);
    rounds(&group, &bed, 2, |leader| {
        group.bed(leader).program("record").kill();
        group.manager(leader).kill();
        group.bed(leader).recording_plugin("record");
    });
}

#[test]
fn a_clean_handover_loses_no_call_whoever_asks_for_it_and_however() {
    if !etcd() || !hosts() {
        return;
    }
    let _alone = alone();
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::FAST, &[]);
    rounds(&group, &bed, 2, |leader| {
        group.manager(leader).terminate();
        assert_eq!(group.manager(leader).wait_exit(SOON).code(), Some(0));
    });
    rounds(&group, &bed, 1, |leader| {
        group.bed(leader).om(NAMES[leader], &["handover"]).done();
    });
    rounds(&group, &bed, 1, |_| {
        let next = |leader: usize| NAMES[(leader + 1) % NAMES.len()];
        let asked = RefCell::new("");
        let answer = group.hand_over(|leader| {
            *asked.borrow_mut() = next(leader);
            next(leader)
        });
        assert_eq!(answer.leader.expect("a leader").name, *asked.borrow(), "who was named leads");
    });
}

#[test]
fn users_of_the_client_library_see_a_pause_and_no_error_during_a_handover() {
    if !etcd() {
        return;
    }
    let _alone = alone();
    let bed = Bed::new();
    let group = Group::on_one_host(&bed, Pace::FAST, &[]);
    group.steer_something();
    let users = group.users(4);
    for round in 0..4 {
        let (leader, old) = group.settle();
        let before = users.done();
        wait_until("users to commit", SOON, || users.done() > before + 20);
        if round % 2 == 0 {
            group.hand_over(|_| "");
        } else {
            group.manager(leader).terminate();
            assert_eq!(group.manager(leader).wait_exit(SOON).code(), Some(0));
        }
        group.wait_leader_after(old);
        let after = users.done();
        wait_until("users to commit again", SOON, || users.done() > after + 20);
        if round % 2 == 1 {
            group.restart(leader);
        }
    }
    let met = users.stop();
    assert!(met.failed.is_empty(), "{:#?}", met.failed);
    measured(&format!("{} calls, the longest {} ms", met.done.len(), met.longest().as_millis()));
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn who_commits_by_om_during_a_handover_sees_a_pause_and_no_error() {
    if !etcd() {
        return;
    }
    let _alone = alone();
    let bed = &Bed::new();
    let group = &Group::on_one_host(bed, Pace::FAST, &[]);
    group.steer_something();
    let (done, stop) = (&AtomicUsize::new(0), &AtomicBool::new(false));
    thread::scope(|scope| {
        for (number, name) in NAMES.iter().enumerate() {
            scope.spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let spec =
                        recorded(bed, &format!("user-{number}")).with("every_ms", 0).label("turn", turn);
                    bed.commit(name, &spec, &[]).done();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let ending = Ending(stop);
        for _ in 0..3 {
            let (_, old) = group.settle();
            let before = done.load(Ordering::SeqCst);
            wait_until("users to commit", SOON, || done.load(Ordering::SeqCst) > before + 3);
            group.hand_over(|_| "");
            group.wait_leader_after(old);
            let after = done.load(Ordering::SeqCst);
            wait_until("users to commit again", SOON, || done.load(Ordering::SeqCst) > after + 6);
        }
        drop(ending);
    });
}

// The users end with the rounds, also if one of them panics.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
