//! Describe and watch, of replicas on the managers of a real Swarm.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::sync::Arc;

use om_system_tests::{Bed, Group, NAMES, Output, Program, SOON, Swarm, container, part, wait_until};
use serde_json::Value;

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

/// What a run of `om watch` has printed by now: `TYPE SERVICE` and the revision, of what is stored.
fn stored(watch: &Program) -> Vec<(String, u64)> {
    let text = watch.log();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let kept = ["committed", "destroyed"];
    let events = events.filter(|event| event["type"].as_str().is_some_and(|what| kept.contains(&what)));
    let line = |event: Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        (format!("{} {}", text("type"), text("service")), event["revision"].as_u64().unwrap_or_default())
    };
    events.map(line).collect()
}

/// `om`, in a replica's host. Between the hosts it speaks in the clear, as the replicas do.
fn om(group: &Group<'_>, at: usize, args: &[&str], input: &str) -> Output {
    let bed = group.bed(at);
    bed.run(bed.command("om", &[&["--name", NAMES[at], "-o", "json", "--insecure"], args].concat()), input)
}

#[test]
fn every_replica_describes_the_same_and_no_watch_misses_or_repeats_an_event_when_the_leader_is_lost() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let base = Bed::new();
    let group = Group::beside_swarm(&base, &[]);
    for number in 0..NAMES.len() {
        group.bed(number).docker_plugin(&group.swarm().engine(number).url());
    }
    let (leader, term) = group.settle();
    let watches: Vec<Arc<Program>> = (0..NAMES.len())
        .map(|number| {
            let args = ["--name", NAMES[number], "-o", "json", "--insecure", "watch", "--from", "0"];
            let bed = group.bed(number);
            bed.start("watch", bed.command("om", &args))
        })
        .collect();
    let commit = |at: usize, name: &str, replicas: u32| {
        let document = container(name, replicas).document();
        let answer = om(&group, at, &["commit", "-", "--wait"], &document).json();
        (format!("committed {name}"), answer[0]["revision"].as_u64().expect("a revision"))
    };
    wait_until("the leader to attend the plugin", SOON, || {
        om(&group, leader, &["commit", "-", "--pretend"], &container("web", 1).document()).code == 0
    });
    // By any replica: `om` goes where it is sent.
    let follower = (leader + 1) % NAMES.len();
    let mut told = vec![commit(leader, "web", 1), commit(follower, "web", 2), commit(follower, "db", 1)];

    let describe = |at: usize| om(&group, at, &["describe", "web"], "").json();
    let seen = describe(leader);
    assert_eq!(
        (seen["phase"].as_str(), seen["revision"].as_u64()),
        (Some("ready"), Some(told[1].1)),
        "{seen}"
    );
    assert_eq!(seen["members"].as_array().map(Vec::len), Some(2), "{seen}");
    for (number, name) in NAMES.iter().enumerate() {
        let again = describe(number);
        for key in ["name", "kind", "revision", "phase", "spec", "members"] {
            assert_eq!(again[key], seen[key], "{key}, by {name}");
        }
    }

    group.manager(leader).kill();
    let (next, _) = group.wait_leader_after(term);
    told.push(commit(next, "web", 3));
    om(&group, next, &["destroy", "db", "--yes"], "").done();
    for number in (0..NAMES.len()).filter(|number| *number != leader) {
        let what = format!("{}'s watch to have seen the last event", NAMES[number]);
        wait_until(&what, SOON, || stored(&watches[number]).iter().any(|(event, _)| event == "destroyed db"));
        let seen = stored(&watches[number]);
        let committed: Vec<_> =
            seen.iter().filter(|(event, _)| event.starts_with("committed")).cloned().collect();
        assert_eq!(committed, told, "by {}", NAMES[number]);
        assert!(seen.is_sorted_by(|one, next| one.1 <= next.1), "{seen:?}");
    }
    let seen = describe(next);
    assert_eq!(
        (seen["phase"].as_str(), seen["revision"].as_u64()),
        (Some("ready"), Some(told[3].1)),
        "{seen}"
    );
}
