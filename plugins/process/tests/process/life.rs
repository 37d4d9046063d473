//! Members are started, looked at, and started again.

use std::fs;
use std::net::TcpListener;

use om_api::v1::Phase;
use serde_json::json;

use crate::world::{World, alive, free_ports, kill, lines, phases, pid, pids, script, until};

const SERVER: &str = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), \
                      http.server.SimpleHTTPRequestHandler).serve_forever()";

#[tokio::test]
async fn members_serve_on_their_ports_and_are_told_with_all_details() {
    let mut world = World::new().await;
    let from = free_ports(2);
    let spec = json!({
        "members": 2, "command": ["/usr/bin/python3", "-c", SERVER, "${port}"], "port": {"from": from},
        "env": {"GREETING": "${member} of ${service}"}, "health": {"http": {"port": "${port}"}},
    });
    world.commit("web", &spec).await;
    let members = world.ready("web").await;
    let names: Vec<_> = members.iter().map(|member| (member.name.clone(), member.address.clone())).collect();
    let wanted = |index: u16| (format!("web-{index}"), format!("127.0.0.1:{}", from + index));
    assert_eq!(names, [wanted(0), wanted(1)]);
    assert_eq!(phases(&members), ["running", "running"]);
    assert_eq!((members[0].host.as_str(), members[0].details["restarts"].as_str()), ("here", "0"));
    assert!(members[0].details["since"].ends_with('Z'), "{members:?}");
    let environ = fs::read_to_string(format!("/proc/{}/environ", pid(&members[1]))).unwrap();
    let has = |entry: &str| environ.split('\0').any(|found| found == entry);
    assert!(has("GREETING=web-1 of web") && has("OM_MEMBER=web-1") && has("OM_SERVICE=web"), "{environ}");
    assert!(!environ.contains("OM_GATE") && !environ.contains("OM_LOG_FORMAT"), "{environ}");
    let cwd = fs::read_link(format!("/proc/{}/cwd", pid(&members[1]))).unwrap();
    assert_eq!(cwd, fs::canonicalize(world.root().join("web/web-1/work")).unwrap());
}

#[tokio::test]
async fn a_crashed_member_comes_back_and_tells_why_it_fell() {
    let mut world = World::new().await;
    world.commit("web", &script(2, "sleep 1000")).await;
    let before = world.ready("web").await;
    kill(pid(&before[0]));
    let found =
        world.until("one that came back", "web", |found| found.members[0].details["restarts"] == "1").await;
    assert!(["backoff", "starting", "running"].contains(&found.members[0].phase.as_str()), "{found:?}");
    let after = world.ready("web").await;
    assert_ne!(pid(&before[0]), pid(&after[0]));
    assert_eq!(pid(&before[1]), pid(&after[1]), "the other one was left alone");
}

#[tokio::test]
async fn a_member_that_crashes_again_and_again_backs_off_and_the_service_says_why() {
    let mut world = World::new().await;
    let starts = world.path("starts");
    let mut spec = script(1, &format!("echo x >> {}; exit 7", starts.display()));
    spec["restart"] = json!({"min": "10ms", "max": "1h"});
    world.commit("web", &spec).await;
    let seen = world.until_phase("web", Phase::Failed).await;
    assert!(seen.summary.unwrap().message.contains("web-0"), "names the member");
    let found =
        world.until("in its back-off", "web", |found| found.members[0].details["restarts"] == "5").await;
    assert_eq!(found.members[0].message, "exited with code 7");
    // Each wait is at least the one before, doubled: ten ms become an hour after some twenty, not thousands.
    let many = lines(&starts).len();
    assert!((5..20).contains(&many), "{many} starts");
    spec["command"] = json!(["sh", "-c", "kill -SEGV $$$$"]);
    world.commit("web", &spec).await;
    let told =
        |found: &om_api::v1::Description| found.members.iter().any(|one| one.message == "killed by SIGSEGV");
    world.until("killed by its own signal", "web", told).await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_a_clear_error_of_the_member_and_in_its_log() {
    let mut world = World::new().await;
    let reason = "cannot run \"/no/such/program\": no such program";
    world.commit("web", &json!({"command": ["/no/such/program"]})).await;
    let told = |found: &om_api::v1::Description| {
        found.members.iter().any(|one| one.phase == "failed" && one.message == reason)
    };
    world.until("failed for that reason", "web", told).await;
    let log = lines(&world.root().join("web/web-0/log"));
    assert_eq!(log[0], format!("om: {reason}"));
    world.commit("web", &json!({"command": ["true"], "dir": "/no/such/dir"})).await;
    let told = |found: &om_api::v1::Description| {
        found.members.iter().any(|one| one.message.contains("/no/such/dir"))
    };
    world.until("failed for its directory", "web", told).await;
    world.commit("web", &json!({"command": ["/etc/passwd"]})).await;
    let told = |found: &om_api::v1::Description| {
        found.members.iter().any(|one| one.message.contains("Permission denied"))
    };
    world.until("failed for its permissions", "web", told).await;
}

#[tokio::test]
async fn a_member_is_starting_until_it_is_healthy_and_unhealthy_when_it_no_longer_is() {
    let mut world = World::new().await;
    let sign = world.path("healthy");
    let mut spec = script(1, "sleep 1000");
    spec["health"] = json!({"command": ["cat", sign.to_str().unwrap()], "interval": "50ms", "failures": 2});
    world.commit("web", &spec).await;
    let found = world
        .until("looked at", "web", |found| {
            // Until the first report its saved state is shown.
            found.members.first().is_some_and(|one| one.message.contains("No such file"))
        })
        .await;
    assert_eq!(
        (found.members[0].phase.as_str(), found.summary.unwrap().phase()),
        ("starting", Phase::Pending)
    );
    fs::write(&sign, "").unwrap();
    let members = world.ready("web").await;
    fs::remove_file(&sign).unwrap();
    let found = world.until_phase("web", Phase::Failed).await;
    assert_eq!((found.members[0].phase.as_str(), pid(&found.members[0])), ("unhealthy", pid(&members[0])));
    fs::write(&sign, "").unwrap();
    assert_eq!(pids(&world.ready("web").await), pids(&members), "an unhealthy member is told, not killed");
}

#[tokio::test]
async fn a_member_whose_port_is_taken_by_a_foreign_program_says_so() {
    let mut world = World::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut spec = json!({"command": ["/usr/bin/python3", "-c", SERVER, "${port}"], "port": {"from": port}});
    spec["restart"] = json!({"min": "50ms", "max": "50ms"});
    world.commit("web", &spec).await;
    let told = |found: &om_api::v1::Description| {
        found
            .members
            .iter()
            .any(|one| one.message.contains(&format!("another program listens on its port {port}")))
    };
    world.until("told of the other program", "web", told).await;
    drop(taken);
    spec["health"] = json!({"tcp": "${port}"});
    world.commit("web", &spec).await;
    world.ready("web").await;
}

#[tokio::test]
async fn no_member_runs_that_the_manager_did_not_remember() {
    let mut world = World::new().await;
    let ran = world.path("ran");
    let spec = script(3, &format!("echo ran >> {}; sleep 1000", ran.display()));
    world.attendance().refuse_saves(Some("the disk is full"));
    world.commit("web", &spec).await;
    let found = world.until_phase("web", Phase::Failed).await;
    assert!(found.summary.unwrap().message.contains("the disk is full"), "says why");
    until("the gates are gone", async || world.strays().is_empty()).await;
    assert_eq!(lines(&ran), Vec::<String>::new());
    world.attendance().refuse_saves(None);
    let members = world.ready("web").await;
    assert_eq!(lines(&ran).len(), 3);
    assert!(pids(&members).into_iter().all(alive));
}
