//! What runs is found again, by whoever looks next; and nothing else is taken for it.

use std::fs;
use std::process::{Command, Stdio};

use bytes::Bytes;
use om_api::v1::Phase;
use serde_json::json;

use crate::world::{World, alive, kill, lines, phases, pids, script, until};

#[tokio::test]
async fn freed_members_go_on_and_are_adopted_by_the_next_commit() {
    let mut world = World::new().await;
    let spec = script(3, "sleep 1000");
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await);
    world.manager().free("web").await.unwrap();
    assert!(before.iter().all(|pid| alive(*pid)));
    world.commit("web", &spec).await;
    assert_eq!(pids(&world.ready("web").await), before);
    world.abandon();
    world.attend().await;
    world.commit("web", &spec).await;
    assert_eq!(pids(&world.ready("web").await), before, "after a session that broke");
}

#[tokio::test]
async fn another_plugin_process_adopts_and_looks_after_what_it_never_started() {
    let mut world = World::new().await;
    let spec = script(2, "sleep 1000");
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await);
    world.kill_plugin();
    assert!(before.iter().all(|pid| alive(*pid)), "members outlive their plugin");
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    assert_eq!(pids(&world.ready("web").await), before);
    kill(before[1]);
    world.until("one that came back", "web", |found| found.members[1].details["restarts"] == "1").await;
    let after = pids(&world.ready("web").await);
    assert_eq!((after[0], after.len()), (before[0], 2));
    world.destroy("web").await;
    assert_eq!(world.strays(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_member_that_died_while_nobody_looked_is_started_again_without_its_leftovers() {
    let mut world = World::new().await;
    let spec = script(1, "sleep 1000 & setsid sleep 1001 & exec sleep 1002");
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await);
    until("three processes", async || world.strays().len() == 3).await;
    let old = world.strays();
    world.kill_plugin();
    kill(before[0]);
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    let after = world.ready("web").await;
    assert_eq!(after[0].details["restarts"], "1");
    assert!(old.iter().all(|pid| !alive(*pid)), "leftovers of the former copy");
}

#[tokio::test]
async fn a_pid_that_means_another_process_now_is_neither_adopted_nor_killed() {
    let mut world = World::new().await;
    let spec = script(1, "sleep 1000");
    world.commit("web", &spec).await;
    let member = pids(&world.ready("web").await)[0];
    world.kill_plugin();
    kill(member);
    // A foreigner, leader of a session of its own, at the remembered pid: only the start time differs.
    let mut foreign = Command::new("setsid").args(["sleep", "1000"]).stdin(Stdio::null()).spawn().unwrap();
    let mut state = world.state("web");
    state["members"]["0"]["pid"] = json!(foreign.id());
    world.states.insert("web".to_owned(), Bytes::from(state.to_string()));
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    let after = pids(&world.ready("web").await);
    assert_ne!(u32::try_from(after[0]).unwrap(), foreign.id());
    assert!(alive(after[0]));
    world.destroy("web").await;
    assert_eq!(foreign.try_wait().unwrap(), None, "a foreign process was hit");
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

#[tokio::test]
async fn members_of_another_host_are_shown_elsewhere_and_not_started_twice() {
    let mut world = World::new().await;
    let spec = script(2, "sleep 1000");
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await);
    world.kill_plugin();
    let all = world.strays();
    world.host = "there".to_owned();
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    let found = world.until_phase("web", Phase::Degraded).await;
    assert_eq!(phases(&found.members), ["elsewhere", "elsewhere"]);
    assert_eq!(found.members[0].host, "here");
    assert!(found.summary.unwrap().message.contains("the host here"), "says where");
    assert_eq!(world.strays(), all, "nothing was started");
    let refused = world.manager().run("web", "logs", &[]).await.unwrap_err();
    assert!(refused.message().contains("on the host here"), "{refused}");
    world.kill_plugin();
    world.host = "here".to_owned();
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    assert_eq!(pids(&world.ready("web").await), before, "back on their host");
}

#[tokio::test]
async fn after_another_boot_remembered_pids_mean_nothing() {
    let mut world = World::new().await;
    let spec = script(1, "sleep 1000");
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await)[0];
    world.kill_plugin();
    let mut state = world.state("web");
    // As if this boot's process of the same pid and start time were a foreigner.
    state["boot"] = json!("another/boot");
    state["members"]["0"]["run"] = json!("0000000000000000");
    world.states.insert("web".to_owned(), Bytes::from(state.to_string()));
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    let after = pids(&world.ready("web").await)[0];
    assert_ne!(after, before);
    assert!(alive(before), "a process of this boot is none of the former one's");
}

#[tokio::test]
async fn a_gate_that_was_never_let_through_is_no_member() {
    let mut world = World::new().await;
    let ran = world.path("ran");
    let spec = script(1, &format!("echo ran >> {}; exec sleep 1000", ran.display()));
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await)[0];
    world.kill_plugin();
    kill(before);
    until("the member is gone", async || world.strays().is_empty()).await;
    // The gate of a plugin that was stopped right before it let it through: alive, remembered, and not a member.
    let mut gate = Command::new(env!("CARGO_BIN_EXE_om-plugin-process"))
        .args(["__member", "web-0"])
        .env("OM_GATE", "1")
        .env("OM_INSTANCE", "feedfeedfeedfeed")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", gate.id())).unwrap();
    let start: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let mut state = world.state("web");
    state["members"]["0"]["pid"] = json!(gate.id());
    state["members"]["0"]["start"] = json!(start);
    state["members"]["0"]["run"] = json!("feedfeedfeedfeed");
    world.states.insert("web".to_owned(), Bytes::from(state.to_string()));
    world.start_plugin();
    world.attend().await;
    world.commit("web", &spec).await;
    let after = pids(&world.ready("web").await);
    assert_ne!(u32::try_from(after[0]).unwrap(), gate.id());
    assert!(
        !gate.wait().unwrap().success(),
        "the gate was killed, so that nobody can let it through any more"
    );
    assert_eq!(lines(&ran).len(), 2, "the first member, and the one that took its place");
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_left_alone() {
    let mut world = World::new().await;
    world.states.insert("web".to_owned(), Bytes::from_static(br#"{"version": 99, "pods": []}"#));
    world.commit("web", &script(1, "sleep 1000")).await;
    let found = world.until_phase("web", Phase::Failed).await;
    assert!(found.summary.unwrap().message.contains("format 99"), "says why");
    assert_eq!((world.strays(), world.attendance().saved("web")), (Vec::new(), None));
}
