//! What a user does with real processes, in the manager as it is embedded: `om-manager dev`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use om_system_tests::{
    Bed, Program, SOON, Spec, free_ports, http, part, process, record, wait_for, wait_until,
};
use serde_json::Value;

/// Commits and waits until the service is as declared.
#[track_caller]
fn commit(bed: &Bed, spec: &Spec) -> Value {
    let answer = bed.commit("service", spec, &["--wait"]).json();
    assert_eq!(answer[0]["phase"], "ready", "{answer}");
    answer[0].clone()
}

/// What answers on the ports from `port` on: member, version and pid of each.
fn answers(port: u16, count: u16) -> Vec<Option<String>> {
    (port..port + count).map(http).collect()
}

/// The pids by the HTTP answers of `count` members, each of this version.
#[track_caller]
fn pids(port: u16, count: u16, version: &str) -> Vec<String> {
    let pid = |answer: Option<String>| {
        let answer = answer.expect("every member answers");
        let words: Vec<&str> = answer.split_whitespace().collect();
        assert!(words.len() == 3 && words[1] == version, "{answer:?}, not of {version}");
        words[2].to_owned()
    };
    answers(port, count).into_iter().map(pid).collect()
}

fn describe(bed: &Bed) -> Value {
    bed.om("service", &["describe", "web"]).json()
}

fn web(bed: &Bed, members: u32, port: u16, version: &str) -> Spec {
    process(bed, "web", members, port).argue(&["--version", version])
}

#[test]
fn a_service_is_declared_scaled_freed_taken_back_and_destroyed() {
    let bed = Bed::new();
    let port = free_ports(5);
    bed.dev();
    let pretended = bed.commit("service", &web(&bed, 3, port, "v1"), &["--pretend"]).json();
    assert!(pretended[0]["plan"].as_array().is_some_and(|plan| !plan.is_empty()), "{pretended}");
    assert_eq!(bed.om("service", &["ls"]).json().as_array().map(Vec::len), Some(0), "only pretended");

    let first = commit(&bed, &web(&bed, 3, port, "v1"));
    assert_eq!(first["changed"], true);
    let three = pids(port, 3, "v1");
    let described = describe(&bed);
    let members = described["members"].as_array().expect("members");
    assert_eq!(members.len(), 3, "{described}");
    assert!(members.iter().all(|member| member["phase"] == "running"), "{described}");
    // The same again changes nothing.
    let again = commit(&bed, &web(&bed, 3, port, "v1"));
    assert_eq!((&again["changed"], &again["revision"]), (&Value::Bool(false), &first["revision"]));

    commit(&bed, &web(&bed, 5, port, "v1"));
    let five = pids(port, 5, "v1");
    assert_eq!(five[..3], three, "who ran runs on");
    commit(&bed, &web(&bed, 2, port, "v1"));
    assert_eq!(pids(port, 2, "v1"), five[..2]);
    wait_until("the others to be gone", SOON, || answers(port + 2, 3).iter().all(Option::is_none));

    bed.om("service", &["free", "web"]).done();
    assert_eq!(pids(port, 2, "v1"), five[..2], "freed, they run on");
    commit(&bed, &web(&bed, 2, port, "v1"));
    assert_eq!(pids(port, 2, "v1"), five[..2], "taken back, they are the same");

    bed.om("service", &["destroy", "web", "--yes"]).done();
    wait_until("web to be gone", SOON, || bed.om("service", &["get", "web"]).code == 4);
    bed.wait_no_stray();
    assert!(answers(port, 5).iter().all(Option::is_none));
    record::check_no_second_copy(&bed.member_record());
}

#[test]
fn a_rolling_update_never_takes_away_more_than_it_may_and_stops_at_a_sick_member() {
    let bed = &Bed::new();
    let port = free_ports(3);
    bed.dev();
    commit(bed, &web(bed, 3, port, "v1"));
    let before = pids(port, 3, "v1");

    let updated = &AtomicBool::new(false);
    let fewest = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut fewest = 3;
            while !updated.load(Ordering::SeqCst) {
                fewest = fewest.min(answers(port, 3).iter().flatten().count());
            }
            fewest
        });
        let done = bed.commit("service", &web(bed, 3, port, "v2"), &["--wait"]);
        updated.store(true, Ordering::SeqCst);
        done.done();
        watching.join().expect("the watcher")
    });
    assert!(fewest >= 2, "at most one member is away at a time; only {fewest} answered");
    let after = pids(port, 3, "v2");
    assert!(before.iter().all(|pid| !after.contains(pid)), "each was replaced: {before:?}, {after:?}");

    // A version that never listens: one member is tried, and the rest stays.
    let update = serde_json::json!({"max_unavailable": 1, "health_timeout": "2s"});
    let sick = web(bed, 3, port, "v3").argue(&["--deaf"]).with("update", update);
    bed.commit("service", &sick, &[]).done();
    wait_until("the rollout to stop", SOON, || {
        let described = describe(bed);
        described["phase"] == "degraded" && described["message"].as_str().is_some_and(|text| !text.is_empty())
    });
    wait_until("one member to be missing", SOON, || answers(port, 3).iter().flatten().count() == 2);
    let left: BTreeSet<String> = answers(port, 3).into_iter().flatten().collect();
    assert!(left.iter().all(|answer| answer.contains(" v2 ")), "{left:?}");

    commit(bed, &web(bed, 3, port, "v4"));
    pids(port, 3, "v4");
    record::check_no_second_copy(&bed.member_record());
}

#[test]
fn the_manager_killed_hard_starts_at_once_and_takes_its_members_back() {
    let bed = Bed::new();
    let port = free_ports(3);
    let mut dev = bed.dev();
    commit(&bed, &web(&bed, 3, port, "v1"));
    let before = pids(port, 3, "v1");
    for _ in 0..3 {
        dev.kill();
        assert_eq!(pids(port, 3, "v1"), before, "the service outlives its manager");
        dev = bed.dev();
        wait_until("web to be ready again", SOON, || describe(&bed)["phase"] == "ready");
        assert_eq!(pids(port, 3, "v1"), before, "adopted, not started anew");
    }
    // What died while nobody looked is started again.
    dev.kill();
    let lines = record::lines::<record::MemberLine>(&bed.member_record());
    let lost = lines.iter().find(|line| line.pid.to_string() == before[0]).expect("its line");
    record::kill(lost);
    bed.dev();
    wait_until("three members to answer again", SOON, || answers(port, 3).iter().all(Option::is_some));
    let after = pids(port, 3, "v1");
    assert_eq!(after[1..], before[1..]);
    assert_ne!(after[0], before[0]);
    record::check_no_second_copy(&bed.member_record());
}

#[test]
fn a_plugin_killed_hard_adopts_its_members_and_is_told_everything_again() {
    let bed = Bed::new();
    let port = free_ports(3);
    let mut plugin = bed.process_plugin("process");
    bed.name_leader("service");
    bed.manager("service", &[]);
    bed.wait_leading("service");
    commit(&bed, &web(&bed, 3, port, "v1"));
    let before = pids(port, 3, "v1");
    for round in 0..3 {
        plugin.kill();
        let lines = record::lines::<record::MemberLine>(&bed.member_record());
        let lost = lines.iter().rev().find(|line| line.what == "alive").expect("a member");
        if round > 0 {
            record::kill(lost);
        }
        plugin = bed.process_plugin("process");
        wait_until("three members to answer", SOON, || answers(port, 3).iter().all(Option::is_some));
        wait_until("web to be ready again", SOON, || describe(&bed)["phase"] == "ready");
        if round == 0 {
            assert_eq!(pids(port, 3, "v1"), before);
        }
    }
    assert!(plugin.is_alive());
    assert_eq!(record::processes(&bed.member_record()), 3 + 2, "each that died was started once");
    record::check_no_second_copy(&bed.member_record());
}

#[test]
fn a_crashed_member_is_started_again_and_its_children_do_not_outlive_it() {
    let bed = Bed::new();
    let port = free_ports(1);
    bed.dev();
    commit(&bed, &web(&bed, 1, port, "v1").argue(&["--fork", "--stubborn"]).with("stop", stop("300ms")));
    let killed = |pid: &str| {
        let lines = record::lines::<record::MemberLine>(&bed.member_record());
        record::kill(lines.iter().find(|line| line.pid.to_string() == pid).expect("its line"));
    };
    for _ in 0..3 {
        let before = pids(port, 1, "v1");
        killed(&before[0]);
        wait_until("another process to answer", SOON, || {
            answers(port, 1)[0].as_ref().is_some_and(|answer| !answer.ends_with(&format!(" {}", before[0])))
        });
        wait_until("only one member and its child to live", SOON, || bed.others().len() == 2);
    }
    // It does not listen to TERM: KILL comes after the timeout, for the child too.
    bed.om("service", &["destroy", "--yes", "web"]).done();
    bed.wait_no_stray();
    record::check_no_second_copy(&bed.member_record());
}

fn stop(timeout: &str) -> Value {
    serde_json::json!({"signal": "TERM", "timeout": timeout})
}

#[test]
fn members_of_another_host_are_shown_elsewhere_and_not_started_twice() {
    let here = Bed::new();
    let there = here.another_host();
    let port = free_ports(2);
    here.process_plugin("process");
    there.process_plugin("process");
    here.manager("a", &[]);
    there.manager("b", &[]);
    here.name_leader("a");
    here.wait_leading("a");
    here.commit("a", &web(&here, 2, port, "v1"), &["--wait"]).done();
    let before = pids(port, 2, "v1");
    here.name_leader("b");
    there.wait_leading("b");
    wait_until("b to show them elsewhere", SOON, || {
        let members = there.om("b", &["describe", "web"]).json()["members"].clone();
        let members = members.as_array().cloned().unwrap_or_default();
        members.len() == 2 && members.iter().all(|member| member["phase"] == "elsewhere")
    });
    here.name_leader("a");
    here.wait_leading("a");
    wait_until("a to have them running", SOON, || {
        here.om("a", &["describe", "web"]).json()["phase"] == "ready"
    });
    assert_eq!(pids(port, 2, "v1"), before);
    record::check_no_second_copy(&here.member_record());
}

#[test]
fn what_a_member_prints_is_shown_by_run_logs() {
    let bed = Bed::new();
    let port = free_ports(2);
    bed.dev();
    commit(&bed, &web(&bed, 2, port, "v1").argue(&["--say", "good morning from a member"]));
    let logs = wait_for("the logs to show both outputs of both members", SOON, || {
        let output = bed.om_text("service", &["run", "web", "logs"], "");
        let text = output.done().stdout.clone();
        (text.matches("good morning").count() >= 4).then_some(text)
    });
    assert!(logs.contains("on standard error"), "{logs}");
}

#[test]
fn the_example_of_the_contract_serves_with_python() {
    let python = std::process::Command::new("python3").arg("--version").output();
    if !part("python3", python.is_ok_and(|output| output.status.success())) {
        return;
    }
    let bed = Bed::new();
    let port = free_ports(3);
    let dev: std::sync::Arc<Program> = bed.dev();
    let document = format!(
        r#"kind: process
name: web
labels: {{team: shop}}
spec:
  members: 3
  command: ["python3", "-m", "http.server", "${{port}}"]
  env: {{{}}}
  dir: auto
  port: {{from: {port}}}
  health: {{http: {{port: "${{port}}", path: /}}}}
  restart: {{min: 100ms, max: 10s}}
  stop: {{signal: TERM, timeout: 10s}}
  update: {{max_unavailable: 1}}
"#,
        bed.marking().iter().map(|(key, value)| format!("{key}: \"{value}\"")).collect::<String>()
    );
    let file = bed.write("web.yaml", document);
    let output = bed.om("service", &["commit", "--wait", file.to_str().unwrap()]);
    assert_eq!(output.json()[0]["phase"], "ready");
    assert!(answers(port, 3).iter().all(Option::is_some));
    let selected = bed.om("service", &["ls", "--selector", "team=shop", "--kind", "process"]).json();
    assert_eq!(selected[0]["name"], "web", "{selected}");
    assert_eq!(
        bed.om("service", &["ls", "--selector", "team=other"]).json().as_array().map(Vec::len),
        Some(0)
    );
    bed.om("service", &["destroy", "--yes", "web"]).done();
    bed.wait_no_stray();
    dev.terminate();
    assert!(dev.wait_exit(SOON).success());
}
