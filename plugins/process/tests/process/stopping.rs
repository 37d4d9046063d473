//! After a stop nothing of a member is left, and nothing else was hit.

use std::fs;

use om_api::v1::Phase;
use serde_json::json;

use crate::world::{World, alive, kill, lines, pids, script, until};

#[tokio::test]
async fn a_stop_takes_children_daemons_and_those_who_ignore_it() {
    let mut world = World::new().await;
    let code = "sleep 1000 & setsid sleep 1001 & (trap '' TERM; sleep 1002; sleep 1003) & sleep 1004";
    let mut spec = script(2, code);
    spec["stop"] = json!({"timeout": "300ms"});
    world.commit("web", &spec).await;
    world.ready("web").await;
    until("all processes", async || world.strays().len() >= 12).await;
    spec["members"] = json!(0);
    world.commit("web", &spec).await;
    world.ready("web").await;
    assert_eq!(world.strays(), Vec::<i32>::new());
}

#[tokio::test]
async fn the_declared_signal_is_sent_first_and_kill_only_after_its_time() {
    let mut world = World::new().await;
    let said = world.path("said");
    let code = format!(
        "trap 'echo got INT >> {0}; exit 0' INT; trap 'echo got TERM >> {0}' TERM; while :; do sleep 0.05; done",
        said.display()
    );
    let mut spec = script(1, &code);
    spec["stop"] = json!({"signal": "SIGINT", "timeout": "20s"});
    world.commit("web", &spec).await;
    world.ready("web").await;
    spec["members"] = json!(0);
    world.commit("web", &spec).await;
    world.ready("web").await;
    assert_eq!(lines(&said), ["got INT"]);
}

#[tokio::test]
async fn a_crash_of_the_leader_is_followed_by_no_second_copy_of_its_children() {
    let mut world = World::new().await;
    world.commit("web", &script(1, "sleep 1000 & setsid sleep 1001 & sleep 1002")).await;
    let before = pids(&world.ready("web").await);
    until("all processes", async || world.strays().len() == 4).await;
    let old = world.strays();
    kill(before[0]);
    world.until("one that came back", "web", |found| found.members[0].details["restarts"] == "1").await;
    world.ready("web").await;
    assert!(old.iter().all(|pid| !alive(*pid)));
}

#[tokio::test]
async fn a_stop_under_way_is_finished_by_whoever_looks_next() {
    let mut world = World::new().await;
    let code = "trap 'echo asked >> ${dir}/asked' TERM; while :; do sleep 0.05; done";
    let mut spec = script(1, code);
    spec["stop"] = json!({"timeout": "2s"});
    world.commit("web", &spec).await;
    let stubborn = pids(&world.ready("web").await)[0];
    let changed = json!({"members": 1, "command": ["sleep", "1000"], "stop": {"timeout": "2s"}});
    world.commit("web", &changed).await;
    let asked = world.root().join("web/web-0/work/asked");
    until("the member was asked to stop", async || !lines(&asked).is_empty()).await;
    assert!(
        world.state("web")["members"]["0"]["stopping"].as_bool().unwrap(),
        "remembered before it was asked"
    );
    world.kill_plugin();
    assert!(alive(stubborn));
    world.start_plugin();
    world.attend().await;
    world.commit("web", &changed).await;
    let after = pids(&world.ready("web").await);
    assert!(!alive(stubborn));
    assert_eq!(world.strays(), after);
}

#[tokio::test]
async fn destroying_leaves_no_process_and_no_file_but_the_users_own() {
    let mut world = World::new().await;
    let own = world.path("own");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("precious"), "").unwrap();
    let mut spec = script(2, "setsid sleep 1000 & sleep 1001");
    spec["dir"] = json!(own.to_str().unwrap());
    world.commit("web", &spec).await;
    world.commit("api", &script(1, "sleep 1000")).await;
    world.ready("api").await;
    until("all processes", async || world.strays().len() >= 7).await;
    world.destroy("web").await;
    assert!(!world.root().join("web").exists());
    assert!(own.join("precious").exists());
    assert_eq!(world.strays().len(), 2, "the other service goes on");
    // Again, as after a crash before the answer was heard.
    world.destroy("web").await;
    world.destroy("api").await;
    assert_eq!(world.strays(), Vec::<i32>::new());
}

#[tokio::test]
async fn signal_reaches_the_members_it_is_meant_for() {
    let mut world = World::new().await;
    world
        .commit(
            "web",
            &script(2, "trap 'echo ${member} >> ${dir}/../../said' USR1; while :; do sleep 0.05; done"),
        )
        .await;
    world.ready("web").await;
    world.manager().run("web", "signal", &[("signal", "USR1"), ("member", "web-1")]).await.unwrap();
    let said = world.root().join("web/said");
    until("the signal came", async || !lines(&said).is_empty()).await;
    assert_eq!(lines(&said), ["web-1"]);
    let refused = world.manager().run("web", "signal", &[("signal", "SEGV")]).await.unwrap_err();
    assert!(refused.message().contains("SEGV"), "{refused}");
    world.until_phase("web", Phase::Ready).await;
}
