//! Wrong use: each answered with its exit code and a message that says what, why and what to do.

use om_system_tests::{Bed, Refusal, SOON, recorded, wait_until};

/// A leading manager `a` before the recording plugin, with one service `kept`.
fn led() -> Bed {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "kept"), &["--wait"]).done();
    bed
}

/// Commits a document as it stands, and has it refused.
#[track_caller]
fn refused(bed: &Bed, document: &str, code: i32, reason: &str) -> Refusal {
    let refusal = bed.om_text("a", &["-o", "json", "commit", "-"], document).refused(code);
    assert_eq!(refusal.reason, reason, "{refusal:?}");
    assert_only_kept(bed);
    refusal
}

#[track_caller]
fn assert_only_kept(bed: &Bed) {
    let services = bed.om("a", &["ls"]).json();
    assert_eq!(services.as_array().map(Vec::len), Some(1), "what was refused is not stored: {services}");
}

#[test]
fn without_a_leader_a_commit_is_refused_and_status_says_so() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.manager("a", &[]);
    let commit = ["--timeout", "2s", "commit", "-"];
    let spec = recorded(&bed, "early").document();
    for said in ["nothing", "", "ghost\n"] {
        if said != "nothing" {
            bed.write("leader", said);
        }
        let output = bed.om_text("a", &[&["-o", "json"], &commit[..]].concat(), &spec);
        let refusal = output.refused(3);
        assert!(matches!(&*refusal.reason, "NO_LEADER" | "NOT_LEADER"), "leader file {said:?}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
        let status = bed.om("a", &["status"]).json();
        assert_ne!(status["leadership"], "leading", "{status}");
        assert_eq!(bed.om("a", &["--timeout", "2s", "destroy", "--yes", "early"]).code, 3);
        assert_eq!(bed.om("a", &["--timeout", "2s", "free", "early"]).code, 3);
    }
}

#[test]
fn a_follower_names_the_leader_and_om_goes_there_by_itself_unless_told_not_to() {
    let bed = led();
    bed.manager("b", &[]);
    wait_until("b to know its leader", SOON, || bed.om("b", &["status"]).json()["leader"]["name"] == "a");
    let commit = |more: &[&str]| bed.commit("b", &recorded(&bed, "through"), more);

    let refusal = commit(&["--no-redirect"]).refused(3);
    assert_eq!(refusal.reason, "NOT_LEADER");
    assert!(refusal.message.contains('a'), "{refusal:?}");
    let endpoint = bed.socket("a");
    assert!(refusal.hint.contains(endpoint.to_str().unwrap()), "where to go: {refusal:?}");
    assert_eq!(bed.om("b", &["--no-redirect", "--timeout", "2s", "watch"]).refused(3).reason, "NOT_LEADER");
    assert_only_kept(&bed);

    let answer = commit(&["--wait"]).json();
    assert_eq!(answer[0]["changed"], true, "{answer}");
    assert_eq!(bed.om("b", &["destroy", "--yes", "through"]).code, 0);
}

#[test]
fn what_nobody_declared_is_not_found() {
    let bed = led();
    for asked in [
        &["get", "ghost"][..],
        &["describe", "ghost"],
        &["free", "ghost"],
        &["destroy", "--yes", "ghost"],
        &["run", "ghost", "say"],
    ] {
        let refusal = bed.om("a", asked).refused(4);
        assert_eq!(refusal.reason, "NOT_FOUND", "{asked:?}");
        assert!(refusal.message.contains("ghost"), "{refusal:?}");
    }
    let refusal = bed.om("a", &["run", "kept", "dance"]);
    assert!(matches!(refusal.code, 2 | 4), "an unknown action: {refusal:#?}");
    assert!(refusal.refused(refusal.code).message.contains("dance"));
}

#[test]
fn a_document_that_cannot_be_is_refused_where_it_is_wrong() {
    let bed = led();
    let record = bed.steering_record();
    let record = record.display();

    let refusal =
        refused(&bed, "kind: record\nname: x\nspec: {every_ms: [1, 2\nlabels: {}\n", 7, "INVALID_SPEC");
    assert!(refusal.message.contains("line ") && refusal.message.contains("column "), "{refusal:?}");

    let refusal = refused(&bed, "kind: unheard-of\nname: x\nspec: {}\n", 7, "UNKNOWN_KIND");
    assert!(refusal.message.contains("unheard-of"), "{refusal:?}");

    let spec = format!("kind: record\nname: x\nspec: {{record: {record}, every_ms: 10, colour: red}}\n");
    let refusal = refused(&bed, &spec, 7, "INVALID_SPEC");
    assert!(refusal.message.contains("spec.colour") || refusal.message.contains("colour"), "{refusal:?}");

    let spec = format!("kind: record\nname: x\nspec: {{record: {record}, every_ms: soon}}\n");
    let refusal = refused(&bed, &spec, 7, "INVALID_SPEC");
    assert!(refusal.message.contains("spec.every_ms"), "{refusal:?}");

    let spec = format!("kind: record\nname: x\nsize: 3\nspec: {{record: {record}, every_ms: 10}}\n");
    let refusal = refused(&bed, &spec, 7, "INVALID_SPEC");
    assert!(refusal.message.contains("size"), "{refusal:?}");

    for name in ["Web", "-a", "a.b", &"a".repeat(64)] {
        let spec = format!("kind: record\nname: {name}\nspec: {{record: {record}, every_ms: 10}}\n");
        let refusal = refused(&bed, &spec, 7, "INVALID_SPEC");
        assert!(refusal.message.contains(name), "{refusal:?}");
    }
    for nothing in ["", "---\n", "[]\n", "just words\n"] {
        let output = bed.om_text("a", &["-o", "json", "commit", "-"], nothing);
        assert!(matches!(output.code, 2 | 7), "{nothing:?}: {output:#?}");
        output.refused(output.code);
    }
    let output = bed.om_text("a", &["-o", "json", "commit", "no-such-file"], "");
    assert!(matches!(output.code, 1 | 2), "{output:#?}");
    assert!(output.refused(output.code).message.contains("no-such-file"));
    assert_only_kept(&bed);
}

#[test]
fn an_unknown_field_of_a_process_is_refused_with_its_path() {
    let bed = led();
    bed.process_plugin("process");
    wait_until("a to find the plugin", SOON, || bed.om("a", &["plugins"]).stdout.contains("process"));
    let spec = "kind: process\nname: web\nspec: {members: 1, command: [sleep, '9'], health: {tpc: 1}}\n";
    let refusal = refused(&bed, spec, 7, "INVALID_SPEC");
    assert!(refusal.message.contains("spec.health"), "{refusal:?}");
    assert!(refusal.message.contains("tpc"), "{refusal:?}");
}

#[test]
fn a_spec_of_twenty_megabytes_is_refused_with_its_size_and_the_limit() {
    let bed = led();
    let large = recorded(&bed, "large").with("ballast", "x".repeat(20 << 20));
    let refusal = bed.commit("a", &large, &[]).refused(7);
    assert!(matches!(&*refusal.reason, "INVALID_SPEC" | "STATE_TOO_LARGE"), "{refusal:?}");
    assert!(refusal.message.len() < 1000, "it does not quote the spec");
    // The same past the client's own check, as another client would send it.
    let failure = bed.client("a").commit(large.commit()).expect_err("too large");
    assert!(failure.reason.is_some(), "a reason, not a broken connection: {failure:?}");
    assert_only_kept(&bed);
    bed.commit("a", &recorded(&bed, "next"), &["--wait"]).done();
}

#[test]
fn a_revision_that_differs_is_a_conflict_and_changes_nothing() {
    let bed = led();
    let kept = recorded(&bed, "kept");
    let conflict = bed.commit("a", &kept.clone().label("x", 1), &["--if-revision", "999"]).refused(5);
    assert_eq!(conflict.reason, "REVISION_CONFLICT");
    assert_eq!(bed.commit("a", &kept, &["--if-revision", "0"]).refused(5).reason, "REVISION_CONFLICT");
    assert_eq!(bed.om("a", &["destroy", "--yes", "kept", "--if-revision", "999"]).code, 5);
    let revision = bed.om("a", &["describe", "kept"]).json()["revision"].to_string();
    bed.commit("a", &kept.label("x", 2), &["--if-revision", &revision]).done();
    assert_eq!(bed.om("a", &["describe", "kept"]).json()["labels"]["x"], "2");
}

#[test]
fn om_that_finds_nobody_says_where_it_looked() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.plugins()).unwrap();
    let refusal = bed.om("nobody", &["status"]).refused(6);
    assert!(refusal.message.contains(bed.socket("nobody").to_str().unwrap()), "{refusal:?}");
    // A socket file that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(bed.socket("stale")).unwrap());
    bed.om("stale", &["status"]).refused(6);
}

#[test]
fn wrong_flags_are_usage_errors_of_every_program() {
    let bed = Bed::new();
    let leader = bed.leader_file();
    let leader = leader.to_str().unwrap();
    for (program, args) in [
        ("om", &["frobnicate"][..]),
        ("om", &["commit"]),
        ("om", &["ls", "--selector", "novalue"]),
        ("om", &["status", "--timeout", "soon"]),
        ("om-manager", &[]),
        ("om-manager", &["os"]),
        ("om-manager", &["os", "--leader-file", leader, "--poll", "banana"]),
        ("om-manager", &["os", "--leader-file", leader, "--log", "9"]),
        ("om-manager", &["os", "--leader-file", leader, "--log-format", "xml"]),
        ("om-manager", &["os", "--leader-file", leader, "--name", "a/b"]),
        ("om-manager", &["os", "--leader-file", leader, "--listen", "carrier-pigeon://x"]),
        ("om-manager", &["os", "--leader-file", leader, "--config", "no-such-file"]),
        ("om-plugin-process", &["--name", "a/b"]),
        ("om-plugin-process", &["--frobnicate"]),
    ] {
        let output = bed.run(bed.command(program, args), "");
        assert_eq!(output.code, 2, "{output:#?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:#?}");
    }
    for program in ["om", "om-manager", "om-plugin-process"] {
        for flag in ["--help", "--version"] {
            let output = bed.run(bed.command(program, &[flag]), "");
            assert!(!output.done().stdout.is_empty() && output.stderr.is_empty(), "{output:#?}");
        }
        let output = bed.run(bed.command(program, &["completions", "bash"]), "");
        assert!(output.done().stdout.contains(program), "{output:#?}");
    }
}

#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    let bed = Bed::new();
    let config = bed.write("om.toml", "log = \"1\"\nname = \"from-file\"\npoll = \"7s\"\n");
    let mut command =
        bed.command("om-manager", &["os", "--leader-file", "leader", "--log", "4", "--print-config"]);
    command.arg("--config").arg(config).env("OM_NAME", "from-env").env("OM_LOG", "2");
    let output = bed.run(command, "");
    let shown = &output.done().stdout;
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.trim_start().starts_with(key));
        found.unwrap_or_else(|| panic!("no {key}: {shown}")).to_lowercase()
    };
    for (key, value, source) in [("log", "4", "flag"), ("name", "from-env", "env"), ("poll", "7s", "file")] {
        assert!(line(key).contains(value) && line(key).contains(source), "{key}: {shown}");
    }
    assert!(!bed.socket("from-env").exists(), "it only prints");
}
