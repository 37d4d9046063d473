//! Programs that stand still for longer than their authority, and wake.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::{Reason, v1};
use om_system_tests::{
    AUTHORITY, Bed, Failure, Program, SOON, free_ports, measured, process, record, recorded, wait_for,
    wait_until,
};

fn wait_past(moment: Duration) {
    wait_until("the authority's deadline to pass", moment + SOON, || since_boot() > moment);
}

fn following(bed: &Bed, name: &str, leader: &str) -> bool {
    let status = bed.om(name, &["status"]).json();
    status["leadership"] == "following" && status["leader"]["name"] == leader
}

// What was not done, because whoever was asked does not lead; NO_LEADER: it has not yet read who does.
fn refused_as_deposed(failure: &Failure) -> bool {
    matches!(failure.reason, Some(Reason::NotLeader | Reason::NoLeader | Reason::Fenced))
}

#[test]
fn a_leader_that_was_frozen_past_its_deadline_writes_nothing_and_follows_when_it_wakes() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.manager("b", &[]);
    bed.name_leader("a");
    let old = bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "steered"), &["--wait"]).done();
    let cluster = bed.client("a").status().expect("a status").cluster;

    let frozen = a.freeze();
    // Asked while it stands still: read, and judged, when it wakes.
    let late = thread::scope(|scope| {
        let in_flight = scope.spawn(|| bed.client("a").commit(recorded(&bed, "late").commit()));
        bed.name_leader("b");
        let new = bed.wait_leading("b");
        assert!(new > old);
        wait_past(frozen + AUTHORITY);
        wait_until("b's plugin to steer under b's term", SOON, || {
            record::steering_since(&bed.steering_record(), "steered", frozen) == Some(new)
        });
        a.thaw();
        in_flight.join().expect("a client")
    });
    let failure = late.expect_err("a commit of a deposed leader");
    assert!(refused_as_deposed(&failure), "{failure:?}");

    let again = bed.commit("a", &recorded(&bed, "later"), &["--no-redirect"]);
    assert!(matches!(again.code, 3 | 5), "{again:#?}");
    again.refused(again.code);
    wait_until("a to follow b by itself", SOON, || following(&bed, "a", "b"));
    let again = bed.commit("a", &recorded(&bed, "later"), &["--no-redirect"]).refused(3);
    assert_eq!(again.reason, "NOT_LEADER");

    // The plugin knows the newer term: a call under the old one is refused, whoever sends it.
    let stale = bed.client("record").commit_as(old, &cluster, recorded(&bed, "stale").commit());
    assert_eq!(stale.expect_err("a call of an older term").reason, Some(Reason::Fenced));

    let names = bed.client("b").names();
    assert_eq!(names, ["steered"], "what was refused is not there");
    // And through the deposed one, with its redirect, the user's commit still arrives.
    bed.commit("a", &recorded(&bed, "redirected"), &["--wait"]).done();
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn on_two_hosts_the_frozen_leaders_plugin_stops_before_the_new_leaders_begins() {
    let here = Bed::new();
    let there = here.another_host();
    here.recording_plugin("record");
    there.recording_plugin("record");
    let leaders = [(&here, "a", here.manager("a", &[])), (&there, "b", there.manager("b", &[]))];
    here.name_leader("a");
    here.wait_leading("a");
    // Many, so that of each host that wakes some would steer before it is told that its authority is over.
    let specs = (0..20).map(|number| recorded(&here, &format!("s-{number}")).commit()).collect();
    for answer in here.client("a").commit_all(specs, 20) {
        answer.unwrap_or_else(|failure| panic!("{failure:?}"));
    }

    let file = here.steering_record();
    for round in 0..4 {
        let (from, name, manager) = &leaders[round % 2];
        let (to, next, _) = &leaders[(round + 1) % 2];
        let old = from.wait_leading(name);
        wait_until("the leader's plugin to steer", SOON, || record::reigns(&file).contains_key(&old));
        // By turns: the manager alone, cut off from its plugin; or, as when a host freezes, both.
        let plugin = from.program("record");
        let frozen = manager.freeze();
        if round >= 2 {
            plugin.freeze();
        }
        let changed = from.name_leader(next);
        let new = to.wait_leading(next);
        let begun = wait_for("the new term to steer", SOON, || record::reigns(&file).get(&new).map(|r| r.0));
        let last = record::reigns(&file)[&old].1;
        measured(&format!(
            "no proof of the old side's stop: file changed to first effect {} ms",
            (begun - changed).as_millis()
        ));
        assert!(last < begun, "term {old} steered until {last:?}, term {new} from {begun:?} on");
        assert!(last <= frozen + AUTHORITY, "frozen at {frozen:?}, steered until {last:?}");
        wait_past(frozen + AUTHORITY);
        plugin.thaw();
        manager.thaw();
        wait_until("the deposed leader to follow", SOON, || following(from, name, next));
        record::check_one_term_steers(&file);
    }
}

#[test]
fn on_two_hosts_a_killed_leaders_plugin_stops_before_the_new_leaders_begins() {
    let here = Bed::new();
    let there = here.another_host();
    here.recording_plugin("record");
    there.recording_plugin("record");
    let a = here.manager("a", &[]);
    there.manager("b", &[]);
    here.name_leader("a");
    let old = here.wait_leading("a");
    here.commit("a", &recorded(&here, "steered"), &["--wait"]).done();
    let killed = a.kill();
    let changed = here.name_leader("b");
    let new = there.wait_leading("b");
    let file = here.steering_record();
    let begun = wait_for("the new term to steer", SOON, || record::reigns(&file).get(&new).map(|r| r.0));
    measured(&format!(
        "leader killed, other host: file changed to first effect {} ms",
        (begun - changed).as_millis()
    ));
    assert!(record::reigns(&file)[&old].1 <= killed + AUTHORITY);
    record::check_one_term_steers(&file);
}

#[test]
fn a_frozen_plugin_holds_up_nobody_and_wakes_without_authority() {
    let bed = Bed::new();
    let recorder = bed.recording_plugin("record");
    bed.process_plugin("process");
    let (a, b) = (bed.manager("a", &[]), bed.manager("b", &[]));
    bed.name_leader("a");
    let old = bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "steered"), &["--wait"]).done();

    let frozen = recorder.freeze();
    let port = free_ports(2);
    bed.commit("a", &process(&bed, "web", 1, port), &["--wait"]).done();
    wait_past(frozen + AUTHORITY);
    assert_eq!(bed.wait_leading("a"), old, "leadership does not hang on a plugin");
    wait_until("a to say that the frozen plugin is not attended", SOON, || {
        let status = bed.om("a", &["status"]).json();
        let plugins = status["plugins"].as_array().cloned().unwrap_or_default();
        plugins.iter().any(|plugin| plugin["name"] == "record" && plugin["attended"] == false)
    });

    // Leadership moves while it stands still, and the other plugin's service is looked after at once.
    bed.name_leader("b");
    let new = bed.wait_leading("b");
    bed.commit("b", &process(&bed, "web", 2, port), &["--wait"]).done();
    let woken = since_boot();
    recorder.thaw();
    wait_until("the woken plugin to be steered by b", SOON, || {
        record::steering_since(&bed.steering_record(), "steered", woken) == Some(new)
    });
    let late = record::reigns(&bed.steering_record())[&old].1;
    assert!(late < woken, "woken at {woken:?}, it steered under the old term at {late:?}");
    record::check_one_term_steers(&bed.steering_record());
    record::check_no_second_copy(&bed.member_record());
    assert!(a.is_alive() && b.is_alive());
}

// One client of the load: commits, each of a service of its own that must not exist yet, until it is told that the
// leader is deposed.
fn client(bed: &Bed, number: usize, stop: &AtomicBool, answers: &Mutex<BTreeMap<String, Answer>>) {
    let client = bed.client("a");
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut request = recorded(bed, &format!("c-{number}-{turn}")).with("every_ms", 0).commit();
        request.if_revision = Some(0);
        let name = request.service.clone().unwrap_or_default().name;
        let answer = client.commit(request.clone());
        let deposed = answer.is_err();
        answers.lock().unwrap().insert(name, (request, answer));
        if deposed {
            return;
        }
    }
}

type Answer = (v1::CommitRequest, Result<v1::CommitResponse, Failure>);

#[test]
fn a_leader_frozen_in_the_middle_of_commits_answers_each_once_and_truly() {
    let bed = &Bed::new();
    bed.recording_plugin("record");
    let a: Arc<Program> = bed.manager("a", &[]);
    bed.manager("b", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    let answers = Mutex::new(BTreeMap::new());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..16 {
            let (answers, stop) = (&answers, &stop);
            scope.spawn(move || client(bed, number, stop, answers));
        }
        wait_until("some commits to be acknowledged", SOON, || answers.lock().unwrap().len() > 100);
        let frozen = a.freeze();
        bed.name_leader("b");
        bed.wait_leading("b");
        wait_past(frozen + AUTHORITY);
        a.thaw();
        wait_until("a to follow", SOON, || following(bed, "a", "b"));
        stop.store(true, Ordering::SeqCst);
    });

    let b = bed.client("b");
    let mut counts = BTreeMap::<String, u32>::new();
    for event in b.history("").expect("the history") {
        if event.r#type() == v1::EventType::Committed {
            *counts.entry(event.service).or_default() += 1;
        }
    }
    let (mut done, mut refused, mut unclear) = (0, 0, 0);
    for (name, (request, answer)) in answers.into_inner().expect("the answers") {
        let count = counts.get(&name).copied().unwrap_or_default();
        match answer {
            Ok(_) => {
                assert_eq!(count, 1, "{name} was acknowledged");
                done += 1;
            }
            Err(failure) if failure.is_unclear() => {
                assert_ne!(failure.code, tonic::Code::DeadlineExceeded, "{name} was never answered");
                assert!(count <= 1, "{name} took effect {count} times");
                let again = b.commit(request).unwrap_or_else(|failure| panic!("{name} again: {failure:?}"));
                assert_eq!(again.name, name);
                assert_eq!(b.commits_of(&name), 1, "{name}, asked again");
                unclear += 1;
            }
            Err(failure) => {
                assert!(refused_as_deposed(&failure), "{name}: {failure:?}");
                assert_eq!(count, 0, "{name} was refused: {failure:?}");
                refused += 1;
            }
        }
    }
    measured(&format!("{done} acknowledged, {refused} refused, {unclear} unclear and asked again"));
    assert!(refused + unclear > 0, "nobody asked while the leader stood still");
}
