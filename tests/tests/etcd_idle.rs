//! No needless takeover while nothing fails; and whatever a machine that is too busy makes replicas believe, no harm.
//!
//! Alone in its file, so that nothing else makes the machine busy. `cargo xtask bench idle` looks for longer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use om_api::clock::since_boot;
use om_system_tests::{Bed, EtcdCluster, Group, Net, Pace, SOON, measured, part, record, wait_until};

const IDLE: Duration = Duration::from_secs(60);
const BUSY: Duration = Duration::from_secs(10);

#[test]
fn nobody_takes_over_while_nothing_fails_and_takeovers_of_a_busy_machine_do_no_harm() {
    if !part("network namespaces (root)", Net::possible())
        || !part("etcd and etcdctl", EtcdCluster::possible())
    {
        return;
    }
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::DEFAULT, &["--log", "3"]);
    group.steer_something();
    let (leader, term) = group.settle();
    let end = since_boot() + IDLE;
    while since_boot() < end {
        let seen = group.status(leader).expect("the leader's answer");
        assert_eq!(seen.term, term, "leadership moved though nothing failed");
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(group.settle(), (leader, term));

    let stop = &AtomicBool::new(false);
    let told = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let hammer = group.hammer(2);
        let end = since_boot() + BUSY;
        wait_until("the busy time to pass", BUSY + SOON, || since_boot() > end);
        stop.store(true, Ordering::Relaxed);
        hammer.stop()
    });
    group.check_told(&told);
    record::check_one_term_steers(&bed.steering_record());
    measured(&format!(
        "no takeover in {IDLE:?} idle, {} in {BUSY:?} under four busy loops, {} commits acknowledged meanwhile",
        group.reigns().range(term + 1..).count(),
        told.accepted.len()
    ));
}
