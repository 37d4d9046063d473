//! Kind `container` at a real engine without a Swarm.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::fs;

use om_api::testing::Ca;
use om_system_tests::{Bed, Engine, IMAGE, IMAGE_2, SOON, container, part, wait_until};
use serde_json::{Value, json};

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

/// Running containers: `NAME IDENTITY IMAGE`, by name.
fn running(engine: &Engine) -> Vec<String> {
    let mut lines = engine.lines(&["ps", "--format", "{{.Names}} {{.ID}} {{.Image}}"]);
    lines.sort();
    lines
}

fn describe(bed: &Bed, service: &str) -> Value {
    bed.om("a", &["describe", service]).json()
}

#[track_caller]
fn wait_phase(bed: &Bed, service: &str, phase: &str) -> Value {
    let mut seen = Value::Null;
    wait_until(&format!("{service} to be {phase}"), SOON, || {
        seen = describe(bed, service);
        seen["phase"] == phase
    });
    seen
}

fn one() -> (Bed, Engine) {
    let (bed, engine) = (Bed::new(), Engine::alone());
    bed.docker_plugin(&engine.url());
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    (bed, engine)
}

#[test]
fn containers_are_made_scaled_updated_freed_adopted_and_destroyed() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, engine) = one();
    bed.commit("a", &container("web", 3), &["--wait"]).done();
    let three = running(&engine);
    assert!(three.len() == 3 && three[2].starts_with("web-2 "), "{three:?}");
    bed.commit("a", &container("web", 2), &["--wait"]).done();
    assert_eq!(running(&engine), three[..2]);

    bed.commit("a", &container("web", 2).with("image", IMAGE_2), &["--wait"]).done();
    let updated = running(&engine);
    assert!(updated.len() == 2 && updated.iter().all(|one| one.ends_with(IMAGE_2)), "{updated:?}");
    let broken = container("web", 2).with("command", json!(["no-such-program"]));
    bed.commit("a", &broken, &[]).done();
    let seen = wait_phase(&bed, "web", "degraded");
    assert!(seen["message"].as_str().unwrap().contains("no-such-program"), "{seen}");
    assert_eq!(running(&engine), updated[1..], "the other one goes on");
    bed.commit("a", &container("web", 2).with("image", IMAGE_2), &["--wait"]).done();
    let repaired = running(&engine);
    assert_eq!(repaired[1], updated[1]);

    bed.om("a", &["free", "web"]).done();
    bed.program("docker").kill();
    bed.docker_plugin(&engine.url());
    bed.commit("a", &container("web", 2).with("image", IMAGE_2), &["--wait"]).done();
    assert_eq!(running(&engine), repaired, "adopted by another plugin process");
    bed.program("a").kill();
    bed.manager("b", &[]);
    bed.name_leader("b");
    bed.wait_leading("b");
    wait_until("it to be ready", SOON, || bed.om("b", &["describe", "web"]).json()["phase"] == "ready");
    assert_eq!(running(&engine), repaired, "adopted in another term");
    bed.om("b", &["destroy", "web", "--yes"]).done();
    assert_eq!(engine.docker(&["ps", "--all", "--quiet"]), "");
}

#[test]
fn containers_of_others_are_left_alone_and_removed_ones_come_back() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, engine) = one();
    engine.docker(&["run", "--detach", "--name=taken-0", "--stop-timeout=0", IMAGE, "sleep", "100000"]);
    let foreign = running(&engine);
    let refused = bed.commit("a", &container("taken", 1), &[]).refused(7);
    assert!(refused.message.contains("was not made by OpenManage"), "{refused:?}");

    let spec = container("web", 2)
        .with("command", json!(["httpd", "-f", "-h", "/etc"]))
        .with("ports", json!([{"target": 80}]))
        .with("env", json!({"A": 1}))
        .with(
            "health",
            json!({"command": ["wget", "-qO", "/dev/null", "http://127.0.0.1/passwd"], "interval": "1s"}),
        )
        .with("mounts", json!([{"type": "tmpfs", "target": "/x", "size": "1MiB"}]))
        .with("resources", json!({"limits": {"memory": "32MiB", "pids": 20}}));
    bed.commit("a", &spec, &[]).done();
    // Its check fails: /etc/passwd is not there yet.
    wait_until("both to run", SOON, || running(&engine).len() == 3);
    for name in ["web-0", "web-1"] {
        engine.docker(&["exec", name, "sh", "-c", "echo root > /etc/passwd"]);
    }
    let seen = wait_phase(&bed, "web", "ready");
    assert!(seen["members"][0]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{seen}");
    let config = engine.docker(&["inspect", "--format", "{{.Config.Env}} {{.HostConfig.Memory}}", "web-0"]);
    assert!(config.starts_with("[A=1") && config.ends_with("33554432"), "{config}");
    engine.docker(&["rm", "--force", "web-1"]);
    wait_until("it to be made again", SOON, || running(&engine).len() == 3);
    engine.docker(&["stop", "--time=0", "web-0"]);
    wait_until("it to be started again", SOON, || running(&engine).len() == 3);

    let before = engine.docker(&["inspect", "--format", "{{.State.StartedAt}}", "web-0"]);
    bed.om_text("a", &["run", "web", "restart", "--arg", "member=web-0"], "").done();
    assert_ne!(engine.docker(&["inspect", "--format", "{{.State.StartedAt}}", "web-0"]), before);
    bed.om("a", &["destroy", "web", "--yes"]).done();
    assert_eq!(running(&engine), foreign);
}

#[test]
fn containers_belong_to_their_host_and_an_engine_that_was_killed_brings_them_back() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, engine) = one();
    let there = Engine::alone();
    let other = bed.another_host();
    other.docker_plugin(&there.url());
    other.manager("b", &[]);
    let documented = include_str!("../../docs/container.md");
    let documented = documented.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    for document in [documented, include_str!("../../examples/quickstart/container.yaml")] {
        bed.om_text("a", &["-o", "json", "commit", "-", "--pretend"], document).done();
    }
    let logging = container("web", 2).with("command", json!(["sh", "-c", "echo hello; exec sleep 100000"]));
    bed.commit("a", &logging, &["--wait"]).done();
    let logs = bed.om_text("a", &["run", "web", "logs", "--arg", "member=web-1"], "");
    assert_eq!(logs.done().stdout, "hello\n");

    engine.kill();
    let killed = wait_phase(&bed, "web", "degraded");
    assert!(killed["message"].as_str().unwrap().contains("cannot be asked"), "{killed}");
    engine.restart();
    wait_phase(&bed, "web", "ready");
    let before = running(&engine);

    bed.name_leader("b");
    other.wait_leading("b");
    wait_until("the other host to say where they are", SOON, || {
        let seen = other.om("b", &["describe", "web"]).json();
        seen["message"].as_str().unwrap().contains("its containers are at the engine of")
    });
    assert_eq!((running(&there), running(&engine)), (Vec::new(), before.clone()));
    bed.name_leader("a");
    bed.wait_leading("a");
    wait_phase(&bed, "web", "ready");
    assert_eq!(running(&engine), before);
}

#[test]
fn an_engine_is_reached_by_tls_with_certificates_both_ways() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, ca) = (Bed::new(), Ca::new());
    let server = ca.issue(&["127.0.0.1"]).write(&bed.path("server"));
    ca.issue(&["client"]).write(&bed.path("client"));
    // One that does not trust the engine; and one that the engine does not trust.
    Ca::new().issue(&["client"]).write(&bed.path("wary"));
    Ca::new().issue(&["client"]).write(&bed.path("unknown"));
    fs::copy(&server.ca, bed.path("unknown/ca.pem")).unwrap();
    let file = |flag: &str, path: &std::path::Path| format!("--{flag}={}", path.display());
    let engine = Engine::alone_with(&[
        "--host=tcp://127.0.0.1:2376",
        "--tlsverify",
        &file("tlscacert", &server.ca),
        &file("tlscert", &server.cert),
        &file("tlskey", &server.key),
    ]);
    let plugin = |certificates: &str| {
        // In the engine's host, by the variables that docker itself has.
        let mut command = bed.placed(Some(engine.host()), &bed.binary("om-plugin-docker"));
        command.arg("--plugins-dir").arg(bed.plugins()).env("DOCKER_HOST", "tcp://127.0.0.1:2376");
        command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", bed.path(certificates));
        let program = bed.start("docker", command);
        bed.wait_serving(&program);
        program
    };
    let wary = plugin("wary");
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed.commit("a", &container("web", 1), &[]).done();
    let says = |words: &str| {
        let mut said = String::new();
        wait_until(&format!("{words:?} to be said"), SOON, || {
            said = describe(&bed, "web")["message"].as_str().unwrap().to_owned();
            said.contains(words)
        });
        assert!(said.contains("cannot be asked"), "{said}");
    };
    says("invalid peer certificate");
    wary.kill();
    let unknown = plugin("unknown");
    says("received fatal alert");
    assert_eq!(running(&engine), [""; 0]);
    unknown.kill();
    let mut none = bed.placed(None, &bed.binary("om-plugin-docker"));
    none.args(["--docker-host", "tcp://127.0.0.1:2376", "--docker-tls-verify"]);
    let none = bed.run(none, "");
    assert!(none.code == 1 && none.stderr.contains(".docker/ca.pem is missing"), "{none:?}");
    plugin("client");
    wait_phase(&bed, "web", "ready");
    assert_eq!(running(&engine).len(), 1);
}
