//! Small things that users rely on: documents that go round, pipes, modes of sockets, health, systemd.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use om_system_tests::{Bed, SOON, recorded, wait_until};

/// A leading manager `a` before the recording plugin.
fn led() -> Bed {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed
}

#[test]
fn what_get_prints_can_be_committed_again_and_changes_nothing() {
    let bed = led();
    let first = bed.commit("a", &recorded(&bed, "kept").label("team", "shop"), &["--wait"]).json();
    for format in ["yaml", "json"] {
        let got = bed.om_text("a", &["-o", format, "get", "kept"], "");
        let again = bed.om_text("a", &["-o", "json", "commit", "-"], &got.done().stdout).json();
        assert_eq!(again[0]["changed"], false, "{format}: {again}");
        assert_eq!(again[0]["revision"], first[0]["revision"], "{format}: {again}");
    }
}

#[test]
fn several_documents_in_one_file_are_committed_in_order_and_one_bad_one_is_told() {
    let bed = led();
    let document = |name: &str| format!("---\n{}\n", recorded(&bed, name).document());
    let file = bed.write("three.yaml", document("one") + &document("two") + &document("three"));
    let answers = bed.om("a", &["commit", file.to_str().unwrap(), "--wait"]).json();
    let name = |at: usize| answers[at]["name"].as_str().unwrap().to_owned();
    assert_eq!([name(0), name(1), name(2)], ["one", "two", "three"]);
    let revision = |at: usize| answers[at]["revision"].as_u64().unwrap();
    assert!(revision(0) < revision(1) && revision(1) < revision(2), "{answers}");

    let bad = bed.write("bad.yaml", document("four") + "---\nkind: record\nname: Bad\nspec: {}\n");
    let output = bed.om("a", &["commit", bad.to_str().unwrap()]);
    assert!(output.refused(7).message.contains("Bad"), "{output:#?}");
    assert!(!bed.client("a").names().contains(&"Bad".to_owned()));
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let bed = led();
    let requests = (0..200).map(|number| recorded(&bed, &format!("s-{number}")).with("every_ms", 0).commit());
    for answer in bed.client("a").commit_all(requests.collect(), 32) {
        answer.unwrap_or_else(|failure| panic!("{failure:?}"));
    }
    let om = bed.binary("om");
    for command in ["ls", "-o json ls", "-o json history", "-o yaml get s-1", "--help"] {
        let script = format!("set -o pipefail; {} --name a {command} | head -c 1", om.display());
        let mut shell = bed.command("om", &[]);
        shell = {
            let mut bash = std::process::Command::new("bash");
            bash.arg("-c").arg(&script).envs(shell.get_envs().filter_map(|(k, v)| Some((k, v?))));
            bash
        };
        let output = bed.run(shell, "");
        assert_eq!((output.code, output.stdout.len()), (0, 1), "{output:#?}");
        assert!(output.stderr.is_empty(), "{output:#?}");
    }
}

#[test]
fn sockets_are_for_their_owner_alone_unless_said_otherwise() {
    let bed = Bed::new();
    bed.manager("a", &[]);
    bed.manager("b", &["--socket-mode", "0660"]);
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bed.plugins()), 0o700);
    assert_eq!(mode(bed.socket("a")), 0o600);
    assert_eq!(mode(bed.socket("b")), 0o660);
}

#[test]
fn every_socket_answers_whether_it_is_healthy() {
    let bed = led();
    bed.process_plugin("process");
    for name in ["a", "record", "process"] {
        wait_until(&format!("{name} to say that it serves"), SOON, || {
            bed.client(name).is_healthy("om.v1.ServicePlugin")
        });
        assert!(bed.client(name).is_healthy(""), "{name} as a whole");
    }
    assert!(bed.client("a").is_healthy("om.v1.Manager"));
}

#[test]
fn systemd_is_told_when_a_program_serves() {
    let bed = Bed::new();
    for (program, mut command) in [
        ("a", bed.manager_command("a", &[])),
        ("process", bed.plugin_command("om-plugin-process", "process")),
    ] {
        let socket = bed.path(&format!("notify-{program}"));
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(SOON)).unwrap();
        command.env("NOTIFY_SOCKET", &socket);
        let started = bed.start(program, command);
        let mut message = [0; 4096];
        let length = systemd.recv(&mut message).expect("a message to systemd");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(text.contains("READY=1"), "{text:?}");
        assert!(bed.client(started.name()).handshake().is_ok(), "{program} serves when it says so");
        started.terminate();
        assert!(started.wait_exit(SOON).success());
    }
}

#[test]
fn tables_name_what_they_show_and_carry_no_colours_into_a_pipe() {
    let bed = led();
    bed.commit("a", &recorded(&bed, "kept").label("team", "shop"), &["--wait"]).done();
    for (args, words) in [
        (&["ls"][..], &["kept", "record", "ready"][..]),
        (&["describe", "kept"], &["kept", "record", "ready", "team", "shop"]),
        (&["plugins"], &["record"]),
        (&["status"], &["a", "os", "leading"]),
        (&["history"], &["kept", "committed"]),
    ] {
        let output = bed.om_text("a", args, "");
        let text = output.done().stdout.to_lowercase();
        for word in words {
            assert!(text.contains(word), "{args:?} without {word:?}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{args:?}: {text:?}");
    }
}
