//! A changed spec reaches the members some at a time, and no further than it works.

use std::fs;

use om_api::v1::{Description, Phase};
use serde_json::{Value, json};

use crate::world::{World, kill, lines, pids, script, until};

/// Members that write down when they begin, and how many others have a file of life at that moment.
fn versioned(world: &World, members: u32, version: &str) -> Value {
    let dir = world.path("life");
    fs::create_dir_all(&dir).unwrap();
    let dir = dir.display();
    let code = format!(
        "touch {dir}/${{member}}; echo {version} ${{index}} $(ls {dir} | wc -l) >> {dir}.record; \
                        trap 'rm {dir}/${{member}}; exit 0' TERM; while :; do sleep 0.05; done"
    );
    script(members, &code)
}

/// A spec whose members never become healthy.
fn broken(mut spec: Value) -> Value {
    spec["health"] = json!({"command": ["sh", "-c", "echo no database >&2; exit 1"], "interval": "50ms"});
    spec["env"] = json!({"BROKEN": "1"});
    spec["update"] = json!({"health_timeout": "1s"});
    spec
}

#[tokio::test]
async fn members_are_replaced_one_after_the_other() {
    let mut world = World::new().await;
    world.commit("web", &versioned(&world, 3, "old")).await;
    let before = pids(&world.ready("web").await);
    let record = world.path("life.record");
    fs::remove_file(&record).unwrap();
    world.commit("web", &versioned(&world, 3, "new")).await;
    let found = world
        .until("updating", "web", |found| found.summary.as_ref().unwrap().message.starts_with("updating"))
        .await;
    assert_eq!(found.summary.unwrap().phase(), Phase::Pending);
    let after = pids(&world.ready("web").await);
    assert!(after.iter().all(|pid| !before.contains(pid)));
    // Each began with the two others alive, in order.
    assert_eq!(lines(&record), ["new 0 3", "new 1 3", "new 2 3"]);
}

#[tokio::test]
async fn as_many_as_allowed_are_replaced_at_a_time() {
    let mut world = World::new().await;
    let with = |version: &str| {
        let mut spec = versioned(&world, 4, version);
        spec["update"] = json!({"max_unavailable": 2});
        spec
    };
    let (old, new) = (with("old"), with("new"));
    world.commit("web", &old).await;
    world.ready("web").await;
    let record = world.path("life.record");
    fs::remove_file(&record).unwrap();
    world.commit("web", &new).await;
    world.ready("web").await;
    let indexes: Vec<_> =
        lines(&record).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    let (mut first, mut second) = (indexes[..2].to_vec(), indexes[2..].to_vec());
    first.sort();
    second.sort();
    assert_eq!((first, second), (vec!["0".into(), "1".into()], vec!["2".into(), "3".into()]));
}

fn stopped(found: &Description) -> bool {
    found.summary.as_ref().unwrap().message.starts_with("the update stopped at web-0: ")
}

#[tokio::test]
async fn a_rollout_stops_at_an_unhealthy_member_and_a_further_commit_goes_on() {
    let mut world = World::new().await;
    let mut good = script(3, "sleep 1000");
    good["health"] = json!({"command": ["true"], "interval": "50ms"});
    world.commit("web", &good).await;
    let before = pids(&world.ready("web").await);
    world.commit("web", &broken(good.clone())).await;
    let found = world.until("stopped at its first member", "web", stopped).await;
    let summary = found.summary.clone().unwrap();
    assert_eq!(summary.phase(), Phase::Degraded);
    assert!(
        summary.message.contains("no database") && summary.message.contains("2 of 3"),
        "{}",
        summary.message
    );
    let halted = pids(&found.members);
    assert_ne!(halted[0], before[0]);
    assert_eq!(halted[1..], before[1..], "the others are as before");
    // Back: only the broken one changes.
    world.commit("web", &good).await;
    let back = pids(&world.ready("web").await);
    assert_ne!(back[0], halted[0]);
    assert_eq!(back[1..], before[1..]);
    // Broken again, then repaired forward: all change.
    world.commit("web", &broken(good.clone())).await;
    world.until("stopped again", "web", stopped).await;
    let mut fixed = good.clone();
    fixed["env"] = json!({"FIXED": "1"});
    world.commit("web", &fixed).await;
    let after = pids(&world.ready("web").await);
    assert!(after.iter().all(|pid| !before.contains(pid)));
}

#[tokio::test]
async fn a_new_member_that_crashes_holds_the_rollout() {
    let mut world = World::new().await;
    world.commit("web", &script(3, "sleep 1000")).await;
    let before = pids(&world.ready("web").await);
    let mut bad = script(3, "sleep 0.7; exit 9");
    bad["restart"] = json!({"min": "10ms", "max": "50ms"});
    world.commit("web", &bad).await;
    // It works for a moment each time, which must be taken for success no more than once.
    let crashed = |found: &Description| found.members[0].details["restarts"].parse::<u32>().unwrap() >= 3;
    let found = world.until("crashing", "web", crashed).await;
    assert_eq!(found.summary.unwrap().phase(), Phase::Degraded);
    assert_eq!(pids(&found.members[2..]), before[2..]);
}

#[tokio::test]
async fn a_stopped_rollout_stays_stopped_after_a_takeover_and_old_members_come_back_as_they_were() {
    let mut world = World::new().await;
    let mut good = script(3, "sleep 1000");
    good["health"] = json!({"command": ["true"], "interval": "50ms"});
    world.commit("web", &good).await;
    let before = pids(&world.ready("web").await);
    let bad = broken(good.clone());
    world.commit("web", &bad).await;
    let halted = pids(&world.until("stopped at its first member", "web", stopped).await.members);
    world.kill_plugin();
    world.start_plugin();
    world.attend().await;
    world.commit("web", &bad).await;
    let found = world.until("stopped, as the next one finds", "web", stopped).await;
    assert_eq!(pids(&found.members), halted);
    // An old member that crashes now runs by its own spec again, not by the broken one.
    kill(before[2]);
    let back = |found: &Description| {
        found.members[2].details["restarts"] == "1" && found.members[2].details.contains_key("pid")
    };
    let found = world.until("whole again", "web", back).await;
    let environ = fs::read_to_string(format!("/proc/{}/environ", pids(&found.members)[2])).unwrap();
    assert!(!environ.contains("BROKEN"), "{environ}");
}

#[tokio::test]
async fn a_rollout_goes_on_where_a_dead_plugin_left_it() {
    let mut world = World::new().await;
    world.commit("web", &versioned(&world, 4, "old")).await;
    world.ready("web").await;
    let record = world.path("life.record");
    fs::remove_file(&record).unwrap();
    let new = versioned(&world, 4, "new");
    world.commit("web", &new).await;
    until("a first member was replaced", async || !lines(&record).is_empty()).await;
    world.kill_plugin();
    world.start_plugin();
    world.attend().await;
    world.commit("web", &new).await;
    world.ready("web").await;
    let mut indexes: Vec<_> =
        lines(&record).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    indexes.dedup();
    assert_eq!(indexes, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn settings_that_members_are_not_started_with_change_under_them() {
    let mut world = World::new().await;
    let mut spec = script(2, "sleep 1000");
    world.commit("web", &spec).await;
    let before = pids(&world.ready("web").await);
    spec["stop"] = json!({"signal": "INT", "timeout": "1s"});
    spec["restart"] = json!({"min": "1s"});
    spec["health"] = json!({"command": ["true"]});
    world.commit("web", &spec).await;
    assert_eq!(pids(&world.ready("web").await), before);
}

#[tokio::test]
async fn scaling_starts_the_next_and_stops_the_highest() {
    let mut world = World::new().await;
    world.commit("web", &script(2, "sleep 1000")).await;
    let two = pids(&world.ready("web").await);
    world.commit("web", &script(4, "sleep 1000")).await;
    let four = pids(&world.ready("web").await);
    assert_eq!(four[..2], two);
    world.commit("web", &script(1, "sleep 1000")).await;
    let one = world.ready("web").await;
    assert_eq!(pids(&one), two[..1]);
    until("only one is left", async || world.strays().len() <= 2).await;
    world.commit("web", &script(0, "sleep 1000")).await;
    assert_eq!(world.ready("web").await, []);
    assert_eq!(world.strays(), Vec::<i32>::new());
}

#[tokio::test]
async fn restart_replaces_the_members_it_is_asked_to() {
    let mut world = World::new().await;
    world.commit("web", &script(3, "sleep 1000")).await;
    let before = pids(&world.ready("web").await);
    world.manager().run("web", "restart", &[("member", "web-1")]).await.unwrap();
    let one = pids(&world.ready("web").await);
    assert_eq!((one[0], one[2]), (before[0], before[2]));
    assert_ne!(one[1], before[1]);
    world.manager().run("web", "restart", &[]).await.unwrap();
    let all = pids(&world.ready("web").await);
    assert!(all.iter().all(|pid| !one.contains(pid)));
    let refused = world.manager().run("web", "restart", &[("member", "web-9")]).await.unwrap_err();
    assert!(refused.message().contains("web-9 does not run"), "{refused}");
    let refused = world.manager().run("web", "restart", &[("member", "api-0")]).await.unwrap_err();
    assert!(refused.message().contains("no member of web"), "{refused}");
}
