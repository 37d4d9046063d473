//! Kind `container` in a real Swarm: what the engine itself says must agree at each step.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use om_system_tests::{
    Bed, Engine, Group, IMAGE, IMAGE_2, NAMES, SOON, Swarm, container, part, wait_for, wait_until,
};
use serde_json::{Value, json};

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

/// Running tasks, as `docker service ps` has them: `IDENTITY IMAGE NODE`, in the order of their names.
fn tasks(engine: &Engine, service: &str) -> Vec<String> {
    let format = "{{.Name}} {{.ID}} {{.Image}} {{.Node}} {{.CurrentState}}";
    let args = ["service", "ps", "--filter", "desired-state=running", "--format", format, service];
    let answer = engine.ask(&args).stdout;
    let mut tasks: Vec<&str> = answer.lines().filter(|task| task.contains(" Running ")).collect();
    tasks.sort_unstable();
    tasks
        .iter()
        .filter_map(|task| Some(task.split(" Running ").next()?.split_once(' ')?.1.to_owned()))
        .collect()
}

fn inspect(engine: &Engine, service: &str) -> Value {
    let text = engine.docker(&["service", "inspect", service]);
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

fn label(engine: &Engine, service: &str, name: &str) -> String {
    inspect(engine, service)["Spec"]["Labels"][name].as_str().unwrap_or_default().to_owned()
}

fn describe(bed: &Bed, manager: &str, service: &str) -> Value {
    bed.om(manager, &["describe", service]).json()
}

#[track_caller]
fn wait_phase(bed: &Bed, manager: &str, service: &str, phase: &str) -> Value {
    let mut seen = Value::Null;
    wait_until(&format!("{service} to be {phase}"), SOON, || {
        seen = describe(bed, manager, service);
        seen["phase"] == phase
    });
    seen
}

/// A manager that leads and its plugin, for a Swarm of one.
fn one() -> (Bed, Swarm) {
    let (bed, swarm) = (Bed::new(), Swarm::new(1));
    bed.docker_plugin(&swarm.engine(0).url());
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    (bed, swarm)
}

#[test]
fn a_service_is_made_scaled_updated_freed_adopted_after_a_failover_and_destroyed() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let base = Bed::new();
    let group = Group::beside_swarm(&base, &[]);
    let swarm = group.swarm();
    for number in 0..NAMES.len() {
        group.bed(number).docker_plugin(&swarm.engine(number).url());
    }
    let (leader, first) = group.settle();
    let (bed, name) = (group.bed(leader), NAMES[leader]);
    // The engine of another node is asked.
    let ask = swarm.engine((leader + 1) % NAMES.len());

    let plan = || {
        let pretended = bed.commit(name, &container("web", 2), &["--pretend"]);
        (pretended.code == 0).then(|| pretended.json()[0]["plan"].clone())
    };
    let plan = wait_for("the plugin to be attended", SOON, plan);
    assert_eq!(plan, json!(["create the Swarm service web: 2 replicas of om-test:1"]));
    assert_eq!(ask.docker(&["service", "ls", "--quiet"]), "", "only pretended");
    bed.commit(name, &container("web", 2), &["--wait"]).done();
    let two = tasks(ask, "web");
    assert_eq!(two.len(), 2, "{two:?}");
    assert_eq!(label(ask, "web", "openmanage.term"), first.to_string());
    let members = describe(bed, name, "web")["members"].clone();
    assert_eq!((members[0]["name"].as_str(), members[0]["phase"].as_str()), (Some("web.1"), Some("running")));
    assert!(two[0].ends_with(members[0]["host"].as_str().unwrap()), "{two:?} {members}");

    bed.commit(name, &container("web", 4), &["--wait"]).done();
    let four = tasks(ask, "web");
    assert!(four.len() == 4 && two.iter().all(|task| four.contains(task)), "{two:?} {four:?}");

    bed.commit(name, &container("web", 4).with("image", IMAGE_2), &["--wait"]).done();
    let updated = tasks(ask, "web");
    assert!(updated.len() == 4 && updated.iter().all(|task| task.contains(IMAGE_2)), "{updated:?}");

    bed.om(name, &["free", "web"]).done();
    assert_eq!(tasks(ask, "web"), updated, "freed, they go on");
    bed.commit(name, &container("web", 4).with("image", IMAGE_2), &["--wait"]).done();
    assert_eq!(tasks(ask, "web"), updated, "adopted");

    group.manager(leader).kill();
    let (next, second) = group.wait_leader_after(first);
    assert_ne!(next, leader);
    let (other, name) = (group.bed(next), NAMES[next]);
    wait_phase(other, name, "web", "ready");
    wait_until("the new term to be written", SOON, || {
        label(ask, "web", "openmanage.term") == second.to_string()
    });
    assert_eq!(tasks(ask, "web"), updated, "adopted by the other host's plugin");
    other.commit(name, &container("web", 1).with("image", IMAGE_2), &["--wait"]).done();
    assert_eq!(tasks(ask, "web").len(), 1);

    other.om(name, &["destroy", "web", "--yes"]).done();
    assert_eq!(ask.docker(&["service", "ls", "--quiet"]), "");
    for engine in swarm.engines() {
        assert_eq!(engine.docker(&["ps", "--quiet"]), "", "{}", engine.name());
    }
}

#[test]
fn what_others_made_is_left_alone_and_what_they_changed_of_ours_is_put_right() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let (bed, swarm) = one();
    let engine = swarm.engine(0);
    engine.docker(&["service", "create", "--detach", "--name=foreign", IMAGE, "sleep", "100000"]);
    wait_until("it to run", SOON, || tasks(engine, "foreign").len() == 1);
    let before = inspect(engine, "foreign");
    let refused = bed.commit("a", &container("foreign", 3), &[]).refused(7);
    assert!(refused.message.contains("was not made by OpenManage"), "{refused:?}");
    assert_eq!(inspect(engine, "foreign"), before);

    bed.commit("a", &container("web", 2), &["--wait"]).done();
    let two = tasks(engine, "web");
    // What cannot be declared survives; what can be is put right.
    engine.docker(&["service", "update", "--detach", "--label-add=theirs=1", "web"]);
    engine.docker(&["service", "scale", "--detach", "web=5"]);
    wait_until("the scale to be put right", SOON, || {
        inspect(engine, "web")["Spec"]["Mode"]["Replicated"]["Replicas"] == 2
    });
    wait_phase(&bed, "a", "web", "ready");
    assert_eq!((tasks(engine, "web"), label(engine, "web", "theirs").as_str()), (two, "1"));
    engine.docker(&["service", "update", "--detach", "--env-add=BY=hand", "web"]);
    wait_until("the environment to be put right", SOON, || {
        inspect(engine, "web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"].is_null()
    });
    bed.commit("a", &container("web", 1), &["--wait"]).done();
    assert_eq!(label(engine, "web", "theirs"), "1");

    // Both at once, many times: neither loses anything of the other's.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..30 {
                let label = format!("--label-add=at-once-{number}=1");
                // The other may have been faster, which only we are asked to put up with.
                wait_until("a label", SOON, || {
                    engine.ask(&["service", "update", "--detach", &label, "web"]).code == 0
                });
            }
        });
        for replicas in [2, 1, 2, 1, 2, 1] {
            bed.commit("a", &container("web", replicas), &["--wait"]).done();
        }
    });
    let spec = inspect(engine, "web")["Spec"].take();
    assert_eq!(spec["Mode"]["Replicated"]["Replicas"], 1);
    assert!((0..30).all(|number| spec["Labels"][format!("at-once-{number}")] == "1"), "{spec}");

    engine.docker(&["service", "rm", "web"]);
    wait_until("it to be made again", SOON, || tasks(engine, "web").len() == 1);
    wait_phase(&bed, "a", "web", "ready");
    // A newer leader's mark.
    engine.docker(&["service", "update", "--detach", "--label-add=openmanage.term=99999999", "web"]);
    let fenced = wait_phase(&bed, "a", "web", "degraded");
    assert!(fenced["message"].as_str().unwrap().contains("a newer leader is at work"), "{fenced}");
    engine.docker(&["service", "scale", "--detach", "web=0"]);
    bed.commit("a", &container("web", 3), &[]).done();
    wait_until("the refusal as of that revision", SOON, || {
        let seen = describe(&bed, "a", "web");
        seen["message"].as_str().unwrap().contains("a newer leader is at work")
    });
    assert_eq!(inspect(engine, "web")["Spec"]["Mode"]["Replicated"]["Replicas"], 0, "it was not touched");
    assert_eq!(inspect(engine, "foreign"), before);
}

#[test]
fn an_update_that_does_not_work_stops_and_the_next_commit_repairs_it() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let (bed, swarm) = one();
    let engine = swarm.engine(0);
    bed.commit("a", &container("web", 3), &["--wait"]).done();
    let three = tasks(engine, "web");
    let broken = container("web", 3).with("command", json!(["no-such-program"]));
    bed.commit("a", &broken, &[]).done();
    let seen = wait_phase(&bed, "a", "web", "degraded");
    assert!(seen["message"].as_str().unwrap().contains("no-such-program"), "{seen}");
    // How many tasks the Swarm has tried by then is its own affair.
    let told = wait_for("the update to stop", SOON, || {
        let seen = describe(&bed, "a", "web");
        let message = seen["message"].as_str().unwrap().to_owned();
        message.strip_prefix("the update stopped; ").map(str::to_owned)
    });
    let kept = tasks(engine, "web").iter().filter(|task| three.contains(task)).count();
    assert!(kept > 0 && told.starts_with(&format!("{kept} of 3")), "{kept}: {told}");
    bed.commit("a", &container("web", 3), &["--wait"]).done();
    assert_eq!(tasks(engine, "web").len(), 3);
}

#[test]
fn an_engine_that_is_frozen_or_killed_is_told_and_nothing_hangs() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let (bed, swarm) = one();
    let engine = swarm.engine(0);
    let logging = container("web", 2).with("command", json!(["sh", "-c", "echo hello; exec sleep 100000"]));
    bed.commit("a", &logging, &["--wait"]).done();
    let logs = bed.om_text("a", &["run", "web", "logs"], "");
    assert_eq!(logs.done().stdout, "web.1 | hello\nweb.2 | hello\n");
    let before = tasks(engine, "web");
    bed.om_text("a", &["run", "web", "restart"], "").done();
    let after = tasks(engine, "web");
    assert!(after.len() == 2 && before.iter().all(|task| !after.contains(task)), "{before:?} {after:?}");
    wait_phase(&bed, "a", "web", "ready");
    let declared = inspect(engine, "web")["Spec"].clone();

    engine.freeze();
    let frozen = wait_phase(&bed, "a", "web", "degraded");
    assert!(frozen["message"].as_str().unwrap().contains("does not answer"), "{frozen}");
    assert_eq!(frozen["members"].as_array().map(Vec::len), Some(2), "as seen last");
    bed.commit("a", &container("other", 1), &["--pretend"]).done();
    engine.thaw();
    wait_phase(&bed, "a", "web", "ready");
    // The Swarm may have taken its own node for dead meanwhile, and begun tasks anew: nobody told it to.
    assert_eq!(inspect(engine, "web")["Spec"], declared);
    assert_eq!(tasks(engine, "web").len(), 2);

    engine.kill();
    let killed = wait_phase(&bed, "a", "web", "degraded");
    assert!(killed["message"].as_str().unwrap().contains("cannot be asked"), "{killed}");
    engine.restart();
    wait_phase(&bed, "a", "web", "ready");
    bed.om("a", &["destroy", "web", "--yes"]).done();
    assert_eq!(engine.docker(&["ps", "--quiet"]), "");
    let left = || engine.docker(&["ps", "--all", "--format", "{{.Names}} {{.Status}}"]);
    wait_until("the Swarm to have swept", SOON, || left().is_empty());
}
