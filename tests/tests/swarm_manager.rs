//! Replicas on the managers of a real Swarm. Whatever happens to managers and engines: what was acknowledged stands, and
//! never do two terms steer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use om_system_tests::{
    Bed, ELECTION, Engine, Group, NAMES, SOON, Swarm, Told, measured, part, record, wait_for, wait_until,
};

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

// Each group has the machine for itself: it is made to fail, and not to be slow.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> Option<MutexGuard<'static, ()>> {
    part(PARTS, Swarm::possible()).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Until all managers are there, and everything is as it should be; who leads, and the term.
fn settle(group: &Group<'_>) -> (usize, u64) {
    group.swarm().wait_whole();
    group.settle()
}

/// Waits until a replica says this of itself.
fn wait_says(group: &Group<'_>, number: usize, words: &str) {
    let mut said = String::new();
    wait_until(&format!("{} to say {words:?}", NAMES[number]), ELECTION, || {
        said = group.status(number).map_or(String::new(), |status| status.message);
        said.contains(words)
    });
}

/// Makes a fault while callers hammer, who wait as long as an election may take; who leads then, and the term. No call fails, nothing
/// acknowledged is lost.
fn under_load(group: &Group<'_>, bed: &Bed, what: &str, fault: impl FnOnce(usize)) -> (usize, u64) {
    let (leader, old) = settle(group);
    let hammer = group.hammer(2);
    wait_until("commits before", SOON, || hammer.accepted() > 20);
    let before = om_api::clock::since_boot();
    fault(leader);
    let (next, new) = group.wait_leader_after(old);
    let already = hammer.accepted();
    wait_until("commits after", ELECTION, || hammer.accepted() > already + 20);
    wait_until("the new term to steer", SOON, || {
        record::steering_since(&bed.steering_record(), "steered", before).is_some_and(|term| term >= new)
    });
    let told = hammer.stop();
    let gap = told.longest_gap(before, told.accepted.last().expect("commits").at);
    measured(&format!("{what}: longest gap between acknowledged commits {} ms", gap.as_millis()));
    assert!(told.failed.is_empty(), "calls failed: {:#?}", told.failed);
    mended(group, &told);
    record::check_one_term_steers(&bed.steering_record());
    (next, new)
}

/// What was acknowledged is there, once there is a leader.
fn mended(group: &Group<'_>, told: &Told) {
    let stored = wait_for("a list", ELECTION, || {
        let (leader, _) = group.leader()?;
        group.bed(leader).client(NAMES[leader]).list().ok()
    });
    for (name, last) in told.last() {
        let found = stored.iter().find(|service| service.name == name);
        let found = found.unwrap_or_else(|| panic!("{last:?} was acknowledged and is lost"));
        assert_eq!(found.revision, last.revision, "{name}");
    }
}

#[test]
fn replicas_on_the_managers_of_a_swarm_lead_beside_its_leader_and_survive_what_happens_to_them() {
    let Some(_alone) = alone() else { return };
    let bed = Bed::new();
    let group = Group::beside_swarm(&bed, &[]);
    let swarm = group.swarm();
    group.steer_something();
    let (leader, _) = settle(&group);
    let status = group.status(leader).expect("it answers");
    assert_eq!(status.mode, "swarm");

    let (_, _) = under_load(&group, &bed, "the manager killed, its engine alive", |leader| {
        group.manager(leader).kill();
    });
    let killed = (0..NAMES.len()).find(|number| !group.manager(*number).is_alive()).expect("one is dead");
    group.restart(killed);

    // Back beside the Swarm's leader, by a clean handover.
    let (leader, _) = settle(&group);

    // Another's labels and settings survive, and disturb nothing.
    let engine = swarm.engine((leader + 1) % NAMES.len());
    engine.docker(&["swarm", "update", "--task-history-limit=7"]);

    let demoted = std::cell::Cell::new(0);
    under_load(&group, &bed, "docker node demote", |leader| {
        demoted.set(leader);
        swarm.demote(leader);
    });
    wait_says(&group, demoted.get(), "docker node promote");
    // Who cannot ask its engine any more hears all the same that another leads.
    let manager = group.manager(demoted.get());
    wait_until("the handover, if there was the time for one, to be over", ELECTION, || {
        let begun = manager.find(0, &["handing over", "being made a worker"]);
        let ended = |at| ["handed over", "the handover failed"].map(|end| manager.find(at, &[end]).is_some());
        begun.is_none_or(|(_, at)| ended(at).contains(&true))
    });
    assert_eq!(manager.find(0, &["nobody has taken over"]), None);
    swarm.promote(demoted.get());
    settle(&group);

    let killed = std::cell::Cell::new(0);
    under_load(&group, &bed, "dockerd of the Swarm's leader killed", |leader| {
        killed.set(leader);
        let logs = swarm.logs();
        let before = swarm.engine(leader).kill();
        let elected = swarm.wait_elected(&logs);
        wait_until("a leader on another node", ELECTION, || {
            group.leader().is_some_and(|(now, _)| now != leader)
        });
        let after = om_api::clock::since_boot().saturating_sub(elected);
        measured(&format!(
            "the Swarm's own election {} ms; another leads after {} ms more",
            elected.saturating_sub(before).as_millis(),
            after.as_millis()
        ));
    });
    wait_says(&group, killed.get(), "docker info");
    wait_until("the leader to be beside the Swarm's", ELECTION, || {
        group.leader().is_some_and(|(now, _)| swarm.leader() == Some(now))
    });
    swarm.engine(killed.get()).restart();
    settle(&group);
    let limit = engine.docker(&[
        "info",
        "--format",
        "{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}",
    ]);
    assert_eq!(limit, "7");
    let (_, term) = settle(&group);
    // sleeps: nothing is to happen; whoever flapped would do so within seconds
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(settle(&group).1, term);
}

/// The place of a replica that is neither this one nor the leader.
fn another(group: &Group<'_>, but: usize) -> usize {
    let leader = group.leader().map(|(leader, _)| leader);
    (0..NAMES.len()).find(|number| *number != but && Some(*number) != leader).expect("three replicas")
}

#[test]
fn each_state_in_which_a_node_cannot_lead_is_told_and_got_over() {
    let Some(_alone) = alone() else { return };
    let bed = Bed::new();
    let group = Group::beside_swarm(&bed, &[]);
    let swarm = group.swarm();
    group.steer_something();

    // Drained: another leads, in order, though the Swarm's leader stays where it is.
    let (drained, old) = settle(&group);
    let hammer = group.hammer(2);
    wait_until("commits before", SOON, || hammer.accepted() > 20);
    swarm.drain(drained);
    let (now, _) = group.wait_leader_after(old);
    assert_ne!(now, drained);
    wait_says(&group, drained, "docker node update --availability active");
    let told = hammer.stop();
    assert!(told.failed.is_empty(), "calls failed: {:#?}", told.failed);
    mended(&group, &told);
    swarm.activate(drained);
    settle(&group);

    // Frozen: its leader gives up once the engine has not answered for a while.
    let (frozen, old) = settle(&group);
    swarm.engine(frozen).freeze();
    let (now, _) = group.wait_leader_after(old);
    assert_ne!(now, frozen);
    wait_says(&group, frozen, "docker info");
    swarm.engine(frozen).thaw();
    settle(&group);
    record::check_one_term_steers(&bed.steering_record());

    // Locked.
    let key = swarm.lock();
    let (leader, _) = settle(&group);
    let locked = another(&group, leader);
    swarm.engine(locked).kill();
    swarm.engine(locked).restart();
    wait_says(&group, locked, "docker swarm unlock");
    swarm.unlock(locked, &key);
    settle(&group);

    // Without quorum nobody leads for longer than the lease; with it somebody does.
    let (leader, old) = settle(&group);
    let others: Vec<usize> = (0..NAMES.len()).filter(|number| *number != leader).collect();
    others.iter().for_each(|number| _ = swarm.engine(*number).kill());
    wait_until("nobody to lead", ELECTION, || group.leader().is_none());
    wait_says(&group, leader, "has no leader");
    record::check_one_term_steers(&bed.steering_record());
    for number in &others {
        swarm.engine(*number).restart();
        swarm.unlock(*number, &key);
    }
    group.wait_leader_after(old);
    settle(&group);

    // Left.
    let (leader, old) = settle(&group);
    swarm.leave(leader);
    let (now, _) = group.wait_leader_after(old);
    assert_ne!(now, leader);
    wait_says(&group, leader, "docker swarm init");
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn an_engine_that_is_no_manager_is_named_with_the_command_to_run() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let engine = Engine::alone();
    let bed = Bed::new();
    let program = bed.start("a", bed.swarm_manager_command("a", &engine, &[]));
    bed.wait_serving(&program);
    let says = |words: &str| {
        wait_until(words, SOON, || {
            bed.client("a").status().is_ok_and(|status| status.message.contains(words))
        });
    };
    says("docker swarm init");
    let refused = bed.om("a", &["ls"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    engine.docker(&["swarm", "init", "--advertise-addr", &engine.host().address().to_string()]);
    bed.wait_leading("a");
    assert_eq!(bed.om("a", &["ls"]).code, 0);
}
