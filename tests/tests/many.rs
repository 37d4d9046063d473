//! Ten thousand services: committed, taken over, listed, saved, restored and watched; no message limit is hit.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeSet;
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1;
use om_system_tests::{Bed, Spec, measured, recorded, wait_until};
use serde_json::Value;

const MANY: usize = 10_000;
// Whatever is done with all of them at once may take this long before the test gives up; no claim about speed.
const PATIENCE: Duration = Duration::from_secs(180);

// As large as a usual spec: about a kilobyte each, 10 MB in all, above any default limit of a message.
fn service(bed: &Bed, number: usize) -> Spec {
    recorded(bed, &format!("s-{number:05}")).with("every_ms", 0).with("ballast", "x".repeat(900))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn ten_thousand_services_are_taken_over_listed_saved_restored_and_watched() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.manager("a", &["--log", "3"]);
    bed.name_leader("a");
    bed.wait_leading("a");

    let began = since_boot();
    let requests = (0..MANY).map(|number| service(&bed, number).commit()).collect();
    let answers = bed.client("a").commit_all(requests, 256);
    let took = since_boot() - began;
    let mut revisions = BTreeSet::new();
    for answer in answers {
        let answer = answer.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert!(answer.changed && revisions.insert(answer.revision), "a revision of its own: {answer:?}");
    }
    measured(&format!("{MANY} commits in {} ms", took.as_millis()));

    // The replica that takes over has never seen any of them.
    bed.manager("b", &["--log", "3"]);
    let changed = bed.name_leader("b");
    bed.wait_leading("b");
    measured(&format!(
        "takeover with {MANY} services: {} ms to leading",
        (since_boot() - changed).as_millis()
    ));
    let listed = bed.om("b", &["ls"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(MANY));
    let table = bed.om_text("b", &["ls"], "");
    let rows = table.done().stdout.lines().filter(|line| line.contains("s-0")).count();
    assert_eq!(rows, MANY, "the table has a row for each");
    let headers = table.done().stdout.lines().filter(|line| line.starts_with("NAME")).count();
    assert_eq!(headers, 1, "and one header, though it is printed page by page");
    assert_eq!(bed.om("b", &["status"]).json()["services"], MANY);

    let one_more = bed.commit("b", &service(&bed, MANY), &["--wait"]).json();
    assert_eq!(one_more[0]["changed"], true, "{one_more}");
    wait_until("each of them to be looked after by b", PATIENCE, || {
        let services = bed.client("b").list().expect("a list");
        services.len() == MANY + 1 && services.iter().all(|s| s.phase() == v1::Phase::Ready)
    });
    measured(&format!("takeover: all {MANY} ready after {} ms", (since_boot() - changed).as_millis()));

    let file = bed.path("all.snapshot");
    let file = file.to_str().expect("a path");
    bed.om("b", &["snapshot", "save", file]).done();
    let shown = bed.om("b", &["snapshot", "show", file]);
    assert!(shown.done().stdout.contains("s-09999"), "the last one is shown");
    let history = bed.om("b", &["history"]);
    assert!(!history.done().stdout.is_empty());
    let of_one = bed.om("b", &["history", "s-10000"]);
    assert!(of_one.done().stdout.contains("s-10000"), "{of_one:?}");

    // A watch from the middle: every later event, each once, in order.
    let from = *revisions.iter().nth(MANY / 2).expect("the middle");
    let client = bed.client("b");
    let mut watch = client.watch(Some(from)).expect("a watch");
    let mut committed = Vec::new();
    while committed.len() < MANY - MANY / 2 {
        let event = watch.next(PATIENCE).expect("more events").expect("no error");
        if event.r#type() == v1::EventType::Committed {
            committed.push(event.revision);
        }
    }
    let later: Vec<u64> = revisions
        .range(from + 1..)
        .copied()
        .chain([one_more[0]["revision"].as_u64().expect("a number")])
        .collect();
    assert_eq!(committed, later);

    // Into an empty state, elsewhere: the same services.
    let other = Bed::new();
    other.recording_plugin("record");
    other.manager("c", &["--log", "3"]);
    other.name_leader("c");
    other.wait_leading("c");
    let restored = other.om("c", &["snapshot", "restore", file]);
    restored.done();
    let again = other.client("c").list().expect("a list");
    let names = |services: &[v1::Summary]| services.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&again), names(&bed.client("b").list().expect("a list")));
    // Over services that exist, only if told to.
    assert_eq!(other.om("c", &["snapshot", "restore", file]).code, 1);
}

#[test]
fn a_watch_through_om_begins_where_it_is_told_and_names_each_event() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.manager("a", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    let revision = |number| {
        let answer = bed.commit("a", &service(&bed, number), &["--wait"]).json();
        answer[0]["revision"].as_u64().expect("a number")
    };
    let revisions: Vec<u64> = (0..5).map(revision).collect();

    let mut command = bed.command("om", &["--name", "a", "-o", "json", "watch", "--from"]);
    command.arg(revisions[1].to_string());
    let watching = bed.start("watch", command);
    let seen = || -> Vec<u64> {
        let text = watching.log();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let committed = lines(whole).into_iter().filter(|event| event["type"] == "committed");
        committed.map(|event| event["revision"].as_u64().expect("a number")).collect()
    };
    wait_until("the watch to show what was", PATIENCE, || seen().len() == 3);
    let sixth = revision(5);
    wait_until("the watch to show what comes", PATIENCE, || seen().len() == 4);
    assert_eq!(seen(), [revisions[2], revisions[3], revisions[4], sixth]);
}
