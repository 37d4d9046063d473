//! Plugins that are slow, hang, crash, refuse or answer garbage: none holds up the others, nor leadership.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use om_system_tests::{AUTHORITY, Bed, Program, SOON, free_ports, process, record, recorded, wait_until};

/// Managers `a` (leading) and `b` before the recording plugin and `om-plugin-process`.
fn bed_of_two() -> (Bed, Arc<Program>) {
    let bed = Bed::new();
    let recorder = bed.recording_plugin("record");
    bed.process_plugin("process");
    bed.manager("a", &[]);
    bed.manager("b", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    (bed, recorder)
}

/// Others are committed and looked after, here and after a takeover.
#[track_caller]
fn others_go_on(bed: &Bed, port: u16) {
    let term = bed.wait_leading("a");
    bed.commit("a", &process(bed, "web", 1, port), &["--wait"]).done();
    let begun = om_api::clock::since_boot();
    wait_until("more than the authority's deadline to pass", SOON, || {
        om_api::clock::since_boot() > begun + AUTHORITY
    });
    assert_eq!(bed.wait_leading("a"), term, "leadership stayed");
    bed.name_leader("b");
    bed.wait_leading("b");
    bed.commit("b", &process(bed, "web", 2, port), &["--wait"]).done();
    wait_until("the service that was there before to be ready", SOON, || phase(bed, "b", "fine") == "ready");
    record::check_no_second_copy(&bed.member_record());
}

fn phase(bed: &Bed, manager: &str, name: &str) -> String {
    let described = bed.om(manager, &["describe", name]);
    if described.code != 0 {
        String::new()
    } else {
        described.json()["phase"].as_str().unwrap_or("").to_owned()
    }
}

#[test]
fn a_dry_run_that_hangs_is_given_up_and_nothing_is_stored() {
    let (bed, _) = bed_of_two();
    bed.commit("a", &recorded(&bed, "fine"), &["--wait"]).done();
    let output = bed.commit("a", &recorded(&bed, "hung").with("plan", "hang"), &["--timeout", "4s"]);
    assert!(matches!(output.code, 1 | 6), "{output:#?}");
    output.refused(output.code);
    others_go_on(&bed, free_ports(2));
    assert_eq!(bed.om("b", &["get", "hung"]).code, 4);
    bed.commit("b", &recorded(&bed, "slow").with("plan", "slow"), &["--wait"]).done();
}

#[test]
fn a_service_whose_plugin_hangs_or_fails_with_it_is_shown_so_and_harms_no_other() {
    let (bed, _) = bed_of_two();
    bed.commit("a", &recorded(&bed, "fine"), &["--wait"]).done();
    let knob = bed.write("broken", "");
    let broken = |name: &str, how: &str| {
        recorded(&bed, name).with("steer", how).with("only_while", knob.to_str().unwrap())
    };
    for how in ["hang", "block", "refuse"] {
        let answer = bed.commit("a", &broken(how, how), &[]).json();
        assert_ne!(answer[0]["phase"], "ready", "{answer}");
    }
    wait_until("the failing one to be shown as failed, with its words", SOON, || {
        let described = bed.om("a", &["describe", "refuse"]).json();
        described["phase"] == "failed" && described["message"].as_str().is_some_and(|m| m.contains("refuse"))
    });
    others_go_on(&bed, free_ports(2));
    assert_ne!(phase(&bed, "b", "hang"), "ready");
    std::fs::remove_file(&knob).unwrap();
    wait_until("the failing one to be tried again", SOON, || phase(&bed, "b", "refuse") == "ready");
}

#[test]
fn what_the_plugin_rejects_is_not_stored() {
    let (bed, _) = bed_of_two();
    let refusal = bed.commit("a", &recorded(&bed, "no").with("plan", "refuse"), &[]).refused(7);
    assert_eq!(refusal.reason, "INVALID_SPEC");
    assert!(refusal.message.contains("the spec says: refuse"), "{refusal:?}");
    assert!(refusal.message.contains("spec.plan"), "{refusal:?}");
    assert_eq!(bed.om("a", &["get", "no"]).code, 4);
}

#[test]
fn a_plugin_that_crashes_again_and_again_is_got_over_when_it_stops_crashing() {
    let (bed, mut recorder) = bed_of_two();
    bed.commit("a", &recorded(&bed, "fine"), &["--wait"]).done();
    let knob = bed.write("broken", "");
    let crashing =
        recorded(&bed, "crashing").with("steer", "crash").with("only_while", knob.to_str().unwrap());
    bed.commit("a", &crashing, &[]).done();
    for _ in 0..3 {
        recorder.wait_exit(SOON);
        recorder = bed.start("record", bed.plugin_command("om-test-plugin", "record"));
    }
    recorder.wait_exit(SOON);
    let port = free_ports(1);
    bed.commit("a", &process(&bed, "web", 1, port), &["--wait"]).done();
    std::fs::remove_file(&knob).unwrap();
    bed.recording_plugin("record");
    for name in ["fine", "crashing"] {
        wait_until(&format!("{name} to be looked after again"), SOON, || phase(&bed, "a", name) == "ready");
    }
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn without_its_plugin_a_service_stays_declared_and_a_new_one_is_refused() {
    let (bed, recorder) = bed_of_two();
    bed.commit("a", &recorded(&bed, "fine"), &["--wait"]).done();
    recorder.terminate();
    assert!(recorder.wait_exit(SOON).success());
    wait_until("a to see that the plugin is gone", SOON, || phase(&bed, "a", "fine") == "pending");
    let refusal = bed.commit("a", &recorded(&bed, "new"), &["--timeout", "3s"]);
    assert!(matches!(refusal.code, 1 | 6 | 7), "{refusal:#?}");
    refusal.refused(refusal.code);
    // Over a takeover, which finds no plugin at all.
    bed.name_leader("b");
    let term = bed.wait_leading("b");
    assert_eq!(bed.om("b", &["get", "fine"]).code, 0);
    bed.recording_plugin("record");
    wait_until("the plugin to be told by b", SOON, || {
        record::reigns(&bed.steering_record()).contains_key(&term)
    });
}

#[test]
fn sockets_that_answer_garbage_or_nothing_or_are_dead_hold_up_nobody() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.plugins()).unwrap();
    let garbage = UnixListener::bind(bed.socket("garbage")).unwrap();
    let silent = UnixListener::bind(bed.socket("silent")).unwrap();
    drop(UnixListener::bind(bed.socket("dead")).unwrap());
    std::fs::write(bed.socket("no-socket"), "words").unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in garbage.incoming().flatten() {
            let _ = { stream }.write_all(&[0xFF; 4096]);
        }
    });
    bed.recording_plugin("record");
    bed.process_plugin("process");
    bed.manager("a", &[]);
    bed.manager("b", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "fine"), &["--wait"]).done();
    others_go_on(&bed, free_ports(2));
    drop(silent);
}

#[test]
fn a_plugin_that_starts_late_is_found_and_a_kind_it_serves_can_be_committed() {
    let bed = Bed::new();
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    assert_eq!(
        bed.commit("a", &recorded(&bed, "early"), &["--timeout", "3s"]).refused(7).reason,
        "UNKNOWN_KIND"
    );
    bed.recording_plugin("record");
    wait_until("the plugin to be found, with its kinds", SOON, || {
        let status = bed.om("a", &["status"]).json();
        let plugins = status["plugins"].as_array().cloned().unwrap_or_default();
        plugins.iter().any(|plugin| plugin["name"] == "record" && plugin["kinds"][0] == "record")
    });
    bed.commit("a", &recorded(&bed, "early"), &["--wait"]).done();
}
