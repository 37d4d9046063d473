//! Promise 3 across a partition: the leader's host is cut off, and its plugin, which nobody can reach, stops by itself
//! before the new leader's plugin begins.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::time::Duration;

use om_api::clock::since_boot;
use om_system_tests::record::{self, Reigns, SteeringLine, Tail};
use om_system_tests::{
    Bed, ETCD_AUTHORITY, EtcdCluster, Group, NAMES, Net, Pace, SOON, measured, part, wait_for,
};

const ROUNDS: usize = 50;

fn cut(net: &Net, leader: usize, round: usize) {
    if round.is_multiple_of(3) {
        net.cut_off(leader);
        return;
    }
    for other in (0..NAMES.len()).filter(|other| *other != leader) {
        // By turns it hears the others and is not heard, or is heard and hears nobody.
        let (from, to) = if round % 3 == 1 { (leader, other) } else { (other, leader) };
        net.cut_one_way(from, to);
    }
}

#[test]
fn a_plugin_cut_off_with_its_leader_stops_before_the_new_leaders_begins_fifty_times() {
    if !part("network namespaces (root)", Net::possible())
        || !part("etcd and etcdctl", EtcdCluster::possible())
    {
        return;
    }
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::FAST, &[]);
    group.steer_something();
    let mut tail = Tail::of(bed.steering_record());
    let mut reigns = Reigns::new();
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let (leader, old) = group.settle();
        wait_for("the leader's plugin to steer", SOON, || {
            record::add_reigns(&mut reigns, &tail.read::<SteeringLine>());
            reigns.get(&old).copied()
        });
        let before = since_boot();
        cut(group.net(), leader, round);
        let cut = since_boot();
        let (next, new) = group.wait_leader_after(old);
        assert_ne!(next, leader, "round {round}: who is cut off cannot lead");
        let begun = wait_for("the new leader's plugin to steer", SOON, || {
            record::add_reigns(&mut reigns, &tail.read::<SteeringLine>());
            reigns.range(old + 1..).next().map(|(_, reign)| reign.0)
        });
        let last = reigns[&old].1;
        assert!(
            last < begun,
            "round {round}: term {old} steered until {last:?}, the next from {begun:?} on (term {new})"
        );
        assert!(last <= cut + ETCD_AUTHORITY, "round {round}: cut off by {cut:?}, it steered until {last:?}");
        took.push(begun.saturating_sub(before));
        group.net().heal();
    }
    record::check_one_term_steers(&bed.steering_record());
    took.sort_unstable();
    let shown = |at: usize| Duration::as_millis(&took[at]);
    measured(&format!(
        "leader's host cut off to the next leader's first effect: median {} ms, worst of {ROUNDS} {} ms",
        shown(ROUNDS / 2),
        shown(ROUNDS - 1)
    ));
}
