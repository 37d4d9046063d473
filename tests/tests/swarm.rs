//! The harness for Docker engines and Swarms: what it would not do, no test could tell from what it does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use om_system_tests::{Engine, IMAGE, IMAGE_2, SOON, Swarm, left_of, part, wait_until};

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

fn running(engine: &Engine, service: &str) -> Vec<String> {
    let format = "{{.Node}} {{.CurrentState}}";
    let tasks =
        engine.lines(&["service", "ps", "--filter", "desired-state=running", "--format", format, service]);
    let mut nodes: Vec<String> = tasks
        .iter()
        .filter_map(|task| task.split_once(" Running").map(|(node, _)| node.to_owned()))
        .collect();
    nodes.sort();
    nodes
}

#[test]
fn three_managers_make_a_swarm_that_runs_services_on_all_of_them_and_leaves_nothing_behind() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let mut dirs = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let swarm = Swarm::new(3);
        dirs = swarm.engines().map(|engine| engine.dir().to_owned()).collect();
        assert_eq!(swarm.leader(), Some(0));
        let ask = swarm.engine(1);
        ask.docker(&[
            "service",
            "create",
            "--detach",
            "--name=web",
            "--replicas=3",
            "--stop-grace-period=0s",
            IMAGE,
            "sleep",
            "1000",
        ]);
        wait_until("a task on every node", SOON, || running(ask, "web") == ["node-0", "node-1", "node-2"]);
        assert!(
            dirs.iter().all(|dir| left_of(dir).len() > 3),
            "a daemon, a shim, a container, the directory"
        );
        swarm.engine(2).kill();
        panic!("as a test that fails");
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"as a test that fails"));
    assert_eq!(dirs.len(), 3);
    for dir in dirs {
        assert_eq!(left_of(&dir), [""; 0]);
    }
}

#[test]
fn managers_are_demoted_promoted_drained_and_leave() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    let ask = swarm.engine(1);
    swarm.demote(0);
    assert_ne!(swarm.wait_leader_but(0), 0);
    swarm.promote(0);
    swarm.wait_whole();
    ask.docker(&[
        "service",
        "create",
        "--detach",
        "--name=web",
        "--replicas=3",
        "--stop-grace-period=0s",
        IMAGE,
        "sleep",
        "1000",
    ]);
    wait_until("a task on every node", SOON, || running(ask, "web") == ["node-0", "node-1", "node-2"]);
    swarm.drain(2);
    wait_until("no task there", SOON, || {
        let nodes = running(ask, "web");
        nodes.len() == 3 && !nodes.contains(&"node-2".to_owned())
    });
    swarm.activate(2);
    swarm.demote(2);
    let state =
        |number: usize| swarm.engine(number).docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
    let role = || ask.docker(&["node", "inspect", "--format", "{{.Spec.Role}}", "node-2"]);
    wait_until("it to be a worker", SOON, || {
        role() == "worker"
            && swarm.engine(2).docker(&["info", "--format", "{{.Swarm.ControlAvailable}}"]) == "false"
    });
    swarm.leave(2);
    assert_eq!((state(2).as_str(), state(1).as_str()), ("inactive", "active"));
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    swarm.engine(0).kill();
    let new = swarm.wait_leader_but(0);
    swarm.engine(0).restart();
    swarm.wait_whole();
    assert_eq!(swarm.wait_leader(), new);
}

#[test]
fn a_follower_is_frozen_cut_off_and_locked_out_and_comes_back() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    let far = swarm.engine(2);
    far.freeze();
    assert_eq!(swarm.leader(), Some(0), "the others go on");
    far.thaw();
    far.wait_answering();
    swarm.cut_off(2);
    wait_until("nobody to reach it", SOON, || {
        let status = ["node", "inspect", "--format", "{{.ManagerStatus.Reachability}}", "node-2"];
        swarm.engine(0).docker(&status) == "unreachable"
    });
    swarm.heal();
    swarm.wait_whole();
    let key = swarm.lock();
    wait_until("all to have the key", SOON, || far.docker(&["swarm", "unlock-key", "--quiet"]) == key);
    far.kill();
    far.restart();
    let state = || far.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
    assert_eq!(state(), "locked");
    swarm.unlock(2, &key);
    wait_until("it to be active", SOON, || state() == "active");
    swarm.wait_whole();
}

#[test]
fn an_engine_alone_runs_containers_and_finds_them_again_when_it_was_killed() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let engine = Engine::alone();
    let dir = engine.dir().to_owned();
    engine.docker(&[
        "run",
        "--detach",
        "--name=web",
        "--stop-timeout=0",
        "--publish=8080:80",
        IMAGE_2,
        "httpd",
        "-f",
        "-h",
        "/etc",
    ]);
    let state = || engine.docker(&["inspect", "--format", "{{.State.Status}}", "web"]);
    assert_eq!(state(), "running");
    assert_eq!(
        engine.docker(&["info", "--format", "{{.Name}} {{.Swarm.LocalNodeState}}"]),
        "node-0 inactive"
    );
    engine.kill();
    assert_ne!(engine.ask(&["version"]).code, 0);
    engine.restart();
    assert_eq!(state(), "exited", "a daemon that comes back ends what it did not see running");
    engine.docker(&["start", "web"]);
    assert_eq!(state(), "running");
    drop(engine);
    assert_eq!(left_of(&dir), [""; 0]);
}
