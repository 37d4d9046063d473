//! Places that cannot be: a full disk, a state directory that can only be read, damaged state, sockets that are too
//! long or taken. A takeover that cannot read the whole state stops, says why, and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use om_system_tests::{Bed, Program, Random, SOON, part, recorded, wait_until};

fn root() -> bool {
    part("root, for mounts", rustix::process::geteuid().is_root())
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// The replica says that it cannot lead, with these words, in `om status` and in its log.
#[track_caller]
fn stays_out(bed: &Bed, program: &Program, words: &str) {
    wait_until(&format!("{} to say {words:?}", program.name()), SOON, || {
        let status = bed.om(program.name(), &["status"]).json();
        assert_ne!(status["leadership"], "leading", "{status}");
        status["leadership"] == "unknown" && status.to_string().to_lowercase().contains(words)
    });
    program.wait_log(0, &[words], SOON);
    let refusal = bed.om_text(
        program.name(),
        &["-o", "json", "--timeout", "2s", "commit", "-"],
        &recorded(bed, "late").document(),
    );
    assert!(matches!(refusal.code, 1 | 3), "{refusal:#?}");
    refusal.refused(refusal.code);
}

#[test]
fn a_full_disk_refuses_the_commit_keeps_what_is_there_and_is_got_over() {
    if !root() {
        return;
    }
    let bed = Bed::new();
    let state = bed.mount_small("state", "4m");
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    let term = bed.wait_leading("a");
    // It takes that much room however it is kept.
    let mut random = Random::seeded(7);
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let noise: String = (0..200_000).map(|_| *random.pick(&letters)).collect();
    let large = |name: &str| recorded(&bed, name).with("ballast", noise.as_str());
    bed.commit("a", &large("first"), &["--wait"]).done();

    // Somebody else's file takes all the room that is left.
    let mut filler = fs::File::create(state.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    let refusal = bed.commit("a", &large("second"), &[]).refused(1);
    assert_eq!(refusal.reason, "STORE_UNAVAILABLE");
    assert!(refusal.message.to_lowercase().contains("no space left"), "{refusal:?}");
    let names = || bed.client("a").names();
    assert_eq!(names(), ["first"]);
    assert_eq!(bed.om("a", &["get", "first"]).code, 0);

    drop(filler);
    fs::remove_file(state.join("filler")).unwrap();
    wait_until("commits to work again", SOON, || bed.commit("a", &large("second"), &[]).code == 0);
    assert_eq!(names(), ["first", "second"]);
    assert!(bed.wait_leading("a") >= term);

    // And nothing half-written was left: the next one reads it all.
    a.kill();
    bed.manager("a", &[]);
    bed.wait_leading("a");
    assert_eq!(names(), ["first", "second"]);
}

#[test]
fn a_state_directory_that_can_only_be_read_stops_the_takeover_until_it_can_be_written() {
    if !root() {
        return;
    }
    let bed = Bed::new();
    let state = bed.mount_small("state", "16m");
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "kept"), &["--wait"]).done();
    a.terminate();
    a.wait_exit(SOON);

    bed.remount(&state, "ro");
    let before = files(&state);
    bed.name_leader("b");
    let b = bed.manager("b", &[]);
    stays_out(&bed, &b, "read-only");
    assert_eq!(files(&state), before);
    bed.remount(&state, "rw");
    bed.wait_leading("b");
    assert_eq!(bed.om("b", &["get", "kept"]).code, 0);
}

#[test]
fn damaged_state_stops_the_takeover_and_is_left_as_it_is() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    for name in ["one", "two", "three", "four"] {
        bed.commit("a", &recorded(&bed, name).with("ballast", "x".repeat(2000)), &[]).done();
    }
    a.kill();
    // In the middle of what was written: neither at the head nor at the tail, which a crash may have torn, nor in room
    // that was only set aside.
    let sound = files(&bed.state());
    let written = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let largest = sound.clone().into_iter().max_by_key(|(_, bytes)| written(bytes));
    let (path, mut bytes) = largest.expect("a file");
    let middle = written(&bytes) / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, &bytes).unwrap();
    let before = files(&bed.state());

    let b = bed.manager("b", &[]);
    bed.name_leader("b");
    stays_out(&bed, &b, "damaged");
    assert_eq!(files(&bed.state()), before, "not a byte is changed");

    // The bit restored, as from a backup: the same replica leads, and everything is there.
    fs::write(&path, &sound[&path]).unwrap();
    bed.wait_leading("b");
    let names = bed.client("b").names();
    assert_eq!(names, ["four", "one", "three", "two"]);
}

#[test]
fn a_state_directory_that_is_a_file_is_said_and_the_file_stays() {
    let bed = Bed::new();
    fs::write(bed.state(), "precious").unwrap();
    bed.name_leader("a");
    let a = bed.start("a", bed.manager_command("a", &[]));
    let state = bed.state();
    a.wait_log(0, &[state.to_str().unwrap(), "not a directory"], SOON);
    assert_eq!(fs::read_to_string(&state).unwrap(), "precious");
    assert!(a.find(0, &["committing service"]).is_none());
}

#[test]
fn a_leader_file_that_is_a_directory_makes_nobody_lead_until_it_is_a_file() {
    let bed = Bed::new();
    fs::create_dir(bed.leader_file()).unwrap();
    let a = bed.manager("a", &["--poll", "200ms"]);
    stays_out(&bed, &a, "directory");
    fs::remove_dir(bed.leader_file()).unwrap();
    bed.name_leader("a");
    bed.wait_leading("a");
}

#[test]
fn a_socket_path_over_107_bytes_is_refused_with_its_length() {
    let bed = Bed::new();
    let long = bed.path(&"d".repeat(110));
    fs::create_dir(&long).unwrap();
    bed.name_leader("a");
    for (program, args) in
        [("om-manager", &["os", "--name", "a", "--leader-file", "leader"][..]), ("om-plugin-process", &[])]
    {
        let mut command = bed.command(program, args);
        command.arg("--plugins-dir").arg(&long);
        if program == "om-manager" {
            command.arg("--state-dir").arg(bed.state());
        }
        let output = bed.run(command, "");
        assert!(matches!(output.code, 1 | 2), "{output:#?}");
        assert!(output.stderr.contains("107"), "{output:#?}");
    }
    assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
}

#[test]
fn a_live_socket_is_never_stolen_and_a_stale_one_never_in_the_way() {
    let bed = Bed::new();
    bed.name_leader("a");
    let first = bed.manager("a", &[]);
    let term = bed.wait_leading("a");
    let output = bed.run(bed.manager_command("a", &[]), "");
    assert_eq!(output.code, 1, "{output:#?}");
    assert!(output.stderr.contains(bed.socket("a").to_str().unwrap()), "{output:#?}");
    assert_eq!(bed.wait_leading("a"), term, "the first one goes on as if nothing had been");

    // Killed, it leaves its socket; the next one starts at once. Told to end, it takes it away.
    first.kill();
    assert!(bed.socket("a").exists());
    let second = bed.manager("a", &[]);
    assert!(bed.wait_leading("a") > term);
    second.terminate();
    assert!(second.wait_exit(SOON).success());
    assert!(!bed.socket("a").exists());
    // Something that is no socket is nobody's to remove.
    fs::write(bed.socket("a"), "precious").unwrap();
    assert_eq!(bed.run(bed.manager_command("a", &[]), "").code, 1);
    assert_eq!(fs::read_to_string(bed.socket("a")).unwrap(), "precious");
}
