//! The files of `examples/swarm`, as a user runs them: the image and the stack on a real Swarm, and the unit for systemd.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use om_api::testing::Ca;
use om_system_tests::{
    Bed, ELECTION, Engine, Output, Swarm, container, environment, free_ports, moved, part, wait_for,
    wait_until,
};
use serde_json::Value;

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("examples/swarm").join(file)
}

/// The script with the programs that there are: to build static ones would build all dependencies again.
fn image(bed: &Bed, engine: &Engine, args: &[&str]) -> Output {
    let mut command = bed.placed(None, &example("image"));
    command.env("DOCKER_HOST", engine.url()).args(args);
    bed.run(command, "")
}

/// `om` in the manager's container of a node, as the README runs it.
fn om(bed: &Bed, engine: &Engine, args: &[&str], input: &str) -> Output {
    let manager = engine.docker(&["ps", "--quiet", "--filter", "name=openmanage_manager"]);
    let om = ["exec", "--interactive", &manager, "om", "--name", engine.name(), "-o", "json"];
    bed.run(engine.command(60, &[&om, args].concat()), input)
}

/// What a node's manager says of itself: the name of the leader that it knows, and the term.
fn leader(bed: &Bed, engine: &Engine) -> Option<(String, u64)> {
    let status = om(bed, engine, &["status"], "");
    let status: Value = serde_json::from_str(&status.stdout).ok()?;
    let known = matches!(status["leadership"].as_str(), Some("leading" | "following"));
    let leader = status["leader"]["name"].as_str().filter(|_| known)?;
    Some((leader.to_owned(), status["term"].as_u64()?))
}

/// Waits until a manager on every node knows the same leader, which is beside the Swarm's; its node, and its term.
fn settle(bed: &Bed, swarm: &Swarm) -> (usize, u64) {
    wait_for("managers on all nodes to be of one mind", ELECTION, || {
        let number = swarm.leader()?;
        let seen: Vec<_> = swarm.engines().map(|engine| leader(bed, engine)).collect();
        let (name, term) = seen[0].clone()?;
        let agree = seen.iter().all(|it| *it == seen[0]) && name == swarm.engine(number).name();
        agree.then_some((number, term))
    })
}

/// The terms that managers of a node have led, by their logs.
fn led(engine: &Engine) -> Vec<u64> {
    let managers = engine.lines(&["ps", "--all", "--quiet", "--filter", "name=openmanage_manager"]);
    let logs = managers.iter().map(|manager| engine.ask(&["logs", manager]).stderr);
    let lines: Vec<String> =
        logs.flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let leading = lines.iter().filter(|line| line.contains("leading"));
    leading.filter_map(|line| line.split("term=").nth(1)?.split_whitespace().next()?.parse().ok()).collect()
}

/// The tasks of a service that run, as the engine has them.
fn tasks(engine: &Engine, service: &str) -> Vec<String> {
    let format = "{{.ID}} {{.Node}} {{.CurrentState}}";
    let all =
        engine.lines(&["service", "ps", "--filter", "desired-state=running", "--format", format, service]);
    let mut running: Vec<String> =
        all.iter().filter_map(|task| Some(task.split_once(" Running")?.0.to_owned())).collect();
    running.sort();
    running
}

#[test]
fn the_stack_puts_a_manager_on_every_node_that_makes_services_and_outlives_the_leader() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let (bed, swarm) = (Bed::new(), Swarm::new(3));
    let programs = bed.binary("om").parent().expect("a directory").display().to_string();
    let saved = bed.path("openmanage.tar").display().to_string();
    image(&bed, swarm.engine(0), &["--bin", &programs, "--save", &saved]).done();
    for number in 1..3 {
        bed.run(swarm.engine(number).command(60, &["load", "--input", &saved]), "").done();
    }
    fs::remove_file(saved).unwrap();
    let stack = example("stack.yaml").display().to_string();
    let deploy = ["stack", "deploy", "--resolve-image", "never", "--compose-file", &stack, "openmanage"];
    swarm.engine(0).docker(&deploy);
    let (first, term) = settle(&bed, &swarm);
    assert_eq!(tasks(swarm.engine(0), "openmanage_manager").len(), 3);
    assert_eq!(tasks(swarm.engine(0), "openmanage_plugin").len(), 3);

    // By a follower: what it says of the leader can be reached from there.
    let other = swarm.engine((first + 1) % 3);
    let web = container("web", 2).document();
    let committed = wait_for("the plugin to be attended", ELECTION, || {
        let committed = om(&bed, other, &["commit", "-", "--wait"], &web);
        (committed.code == 0).then(|| committed.json())
    });
    assert_eq!(committed[0]["phase"], "ready", "{committed}");
    let two = tasks(other, "web");
    assert_eq!(two.len(), 2, "{two:?}");

    let leading = swarm.engine(first);
    leading.docker(&["kill", &leading.docker(&["ps", "--quiet", "--filter", "name=openmanage_manager"])]);
    wait_until("another node's manager to have led", ELECTION, || {
        swarm.engines().filter(|engine| engine.name() != leading.name()).flat_map(led).any(|led| led > term)
    });
    // The Swarm starts it again, and gets the leadership back.
    let (_, term) = settle(&bed, &swarm);
    let written = ["service", "inspect", "--format", r#"{{index .Spec.Labels "openmanage.term"}}"#, "web"];
    wait_until("the service to be adopted", ELECTION, || other.docker(&written) == term.to_string());
    let seen = om(&bed, other, &["describe", "web"], "").json();
    assert_eq!((seen["phase"].as_str(), tasks(other, "web")), (Some("ready"), two.clone()), "{seen}");

    other.docker(&["stack", "rm", "openmanage"]);
    wait_until("managers and plugins to be gone", ELECTION, || {
        swarm
            .engines()
            .all(|engine| engine.docker(&["ps", "--quiet", "--filter", "name=openmanage"]).is_empty())
    });
    assert_eq!(tasks(other, "web"), two, "what they made goes on");
}

#[test]
fn programs_that_are_not_there_are_named_and_no_image_is_made() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, engine) = (Bed::new(), Engine::alone());
    let images = engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    let refused = image(&bed, &engine, &["--bin", "/does/not/exist"]);
    assert!(refused.code == 1 && refused.stderr.contains("/does/not/exist/om is missing"), "{refused:?}");
    let refused = image(&bed, &engine, &["--push"]);
    assert!(refused.code == 2 && refused.stderr.contains("usage:"), "{refused:?}");
    assert_eq!(engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]), images);
}

#[test]
fn the_unit_is_what_systemd_takes_and_its_command_runs_by_its_settings() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, engine) = (Bed::new(), Engine::alone());
    engine.docker(&["swarm", "init", "--advertise-addr", &engine.host().address().to_string()]);
    let certs = bed.path("tls");
    Ca::new().issue(&["a.example", "127.0.0.1"]).write(&certs);
    let written = moved(environment(&example("systemd/manager.env")), "/etc/openmanage/tls", &certs);
    bed.check_settings("swarm", &written);

    let unit = example("systemd/om-manager.service");
    let text = fs::read_to_string(&unit).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let mut settings = written;
    let listen = format!("tcp://127.0.0.1:{}", free_ports(1));
    let plugins = bed.plugins().display().to_string();
    for (name, value) in [
        ("DOCKER_HOST", engine.url()),
        ("OM_PLUGINS_DIR", plugins),
        ("OM_LISTEN", listen.clone()),
        ("OM_ADVERTISE", listen),
    ] {
        assert!(settings.insert(name.to_owned(), value).is_some(), "{name} is set");
    }
    let mut command = bed.command(words[0], &words[1..]);
    command.envs(&settings);
    let program = bed.start(&settings["OM_NAME"], command);
    bed.wait_serving(&program);
    bed.wait_leading(&settings["OM_NAME"]);

    if part("systemd-analyze", Command::new("systemd-analyze").arg("--version").output().is_ok()) {
        bed.check_unit(&unit);
    }
}
