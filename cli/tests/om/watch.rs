//! `om watch`: nothing missing, nothing twice.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};

use om_api::v1::{Event, EventType, Phase};
use om_api::{Error, Reason};
use serde_json::{Value, json};

use crate::support::fake::{WatchScript, directory, told};
use crate::support::program::{end, until, wait};
use crate::support::{Fake, Om, event};

fn status(revision: u64, service: &str, phase: Phase) -> Event {
    Event { phase: phase.into(), ..event(revision, EventType::Status, service) }
}

fn open(messages: Vec<Event>) -> WatchScript {
    WatchScript { messages: messages.into_iter().map(told).collect(), stays_open: true }
}

/// A program whose output is read line by line.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(om: &Om) -> Self {
        let mut child = om.spawn();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("another line").unwrap()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn interrupt(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_are_one_object_a_line() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().revision = 5;
    let leadership =
        Event { leader: "b".to_owned(), kind: String::new(), ..event(6, EventType::Leadership, "") };
    fake.script().watches.push_back(open(vec![
        event(6, EventType::Committed, "web"),
        status(6, "web", Phase::Ready),
        leadership,
    ]));
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "web", "-o", "json"]));
    assert_eq!(
        watching.json(),
        json!({"revision": 6, "time": "2023-11-14T22:13:20.007Z", "type": "committed", "service": "web",
               "kind": "process", "phase": null, "message": "", "term": 3, "leader": null})
    );
    assert_eq!(watching.json()["phase"], "ready");
    let leadership = watching.json();
    assert_eq!((&leadership["service"], &leadership["leader"]), (&json!(null), &json!("b")));
    let asked = fake.script().watched[0].clone();
    assert_eq!((asked.name.as_str(), asked.after_revision), ("web", None), "from now on");
    assert!(!fake.calls("watch")[0].limited, "a watch has no time limit unless one is given");
}

#[test]
fn people_get_columns() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script()
        .watches
        .push_back(open(vec![Event { message: "1 of 2".to_owned(), ..status(6, "web", Phase::Degraded) }]));
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "--from", "0"]));
    assert_eq!(
        watching.line(),
        "REVISION  TIME                  TYPE        SERVICE              PHASE       MESSAGE"
    );
    assert_eq!(
        watching.line(),
        "6         2023-11-14 22:13:20Z  status      web                  degraded    1 of 2"
    );
    assert_eq!(fake.script().watched[0].after_revision, Some(0));
}

#[test]
fn a_lost_stream_is_resumed_without_gap_and_without_repetition() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let ends = |messages: Vec<Event>, error: Option<Error>| WatchScript {
        messages: messages.into_iter().map(told).chain(error.map(|error| Err(error.into()))).collect(),
        stays_open: false,
    };
    fake.script().watches.extend([
        ends(vec![event(6, EventType::Committed, "web"), status(6, "web", Phase::Pending)], None),
        // A new stream repeats the last revision, and says how everything is.
        ends(
            vec![
                event(6, EventType::Committed, "web"),
                status(6, "web", Phase::Pending),
                event(7, EventType::Committed, "db"),
            ],
            Some(Error::new(Reason::NoLeader, "resigned")),
        ),
        open(vec![status(7, "web", Phase::Ready), event(8, EventType::Freed, "db")]),
    ]);
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "--from", "5", "-o", "json"]));
    let seen: Vec<_> = (0..5)
        .map(|_| {
            let event = watching.json();
            (event["revision"].as_u64().unwrap(), event["type"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [(6, "committed"), (6, "status"), (7, "committed"), (7, "status"), (8, "freed")];
    assert_eq!(seen, expected.map(|(revision, kind)| (revision, kind.to_owned())));
    let asked: Vec<_> = fake.script().watched.iter().map(|request| request.after_revision.unwrap()).collect();
    assert_eq!(asked, [5, 5, 6], "one write can mean several events: the last one is asked for again");
}

#[test]
fn a_write_of_several_events_is_not_cut_in_two() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let cut = WatchScript { messages: vec![told(event(6, EventType::Freed, "a"))], stays_open: false };
    let again =
        [event(6, EventType::Freed, "a"), event(6, EventType::Freed, "b"), event(7, EventType::Freed, "c")];
    fake.script().watches.extend([cut, open(again.into())]);
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "--from", "5", "-o", "json"]));
    assert_eq!(["a", "b", "c"].map(|_| watching.json()["service"].clone()), ["a", "b", "c"]);
}

#[test]
fn a_watch_from_now_on_misses_nothing_if_it_is_cut_before_the_first_event() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().revision = 5;
    fake.script().watches.extend([WatchScript::default(), open(vec![event(6, EventType::Freed, "a")])]);
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "-o", "json"]));
    assert_eq!(watching.json()["revision"], 6);
    let asked: Vec<_> = fake.script().watched.iter().map(|request| request.after_revision).collect();
    assert_eq!(asked, [None, Some(5)]);
}

#[test]
fn a_watch_follows_the_leader_and_comes_back_when_it_dies() {
    let dir = directory();
    let follower = Fake::serve(dir.path(), "service");
    let leader = Fake::serve(dir.path(), "b");
    follower.script().always.insert("watch", Error::not_leader("b", &leader.endpoint(), 7));
    leader.script().watches.push_back(open(vec![event(6, EventType::Committed, "web")]));
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "--from", "5", "-o", "json"]));
    assert_eq!(watching.json()["revision"], 6);
    // The leader dies; the other one takes over.
    follower.script().watches.push_back(open(vec![event(7, EventType::Committed, "db")]));
    follower.script().always.clear();
    drop(leader);
    assert_eq!(watching.json()["revision"], 7);
    assert_eq!(follower.script().watched.last().unwrap().after_revision, Some(5));
}

#[test]
fn compacted_events_are_an_error_not_a_silence() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse(
        "watch",
        Error::new(Reason::Compacted, "events up to 40 are no longer kept").with("oldest", 41),
    );
    let ended = Om::within(dir.path()).run(["watch", "--from", "5", "-o", "json"]).code(1);
    let (reason, _, hint) = ended.error();
    assert_eq!(reason, "COMPACTED");
    assert!(hint.contains("om ls"), "{hint}");
}

#[test]
fn a_given_timeout_ends_a_watch_with_6() {
    let dir = directory();
    let _fake = Fake::serve(dir.path(), "service");
    let ended = Om::within(dir.path()).run(["watch", "--timeout", "300ms", "-o", "json"]).code(6);
    assert_eq!(ended.error().0, "TIMED_OUT");
}

#[test]
fn an_outage_longer_than_the_timeout_ends_a_watch_with_6() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().watches.push_back(open(vec![event(6, EventType::Committed, "web")]));
    let om = Om::within(dir.path()).env("OM_TIMEOUT", "700ms").args(["watch", "--from", "5", "-o", "json"]);
    let mut watching = Watching::start(&om);
    assert_eq!(watching.json()["revision"], 6);
    drop(fake);
    assert_eq!(wait(&mut watching.child).code(), Some(6));
}

#[test]
fn ctrl_c_ends_a_watch_quietly() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let mut watching = Watching::start(&Om::within(dir.path()).args(["watch", "-o", "json"]));
    until("the watch is open", || !fake.calls("watch").is_empty());
    watching.interrupt();
    assert_eq!(wait(&mut watching.child).code(), Some(130));
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut watching.child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let many = (1..2000).map(|revision| event(revision, EventType::Committed, "web")).collect();
    fake.script().watches.push_back(open(many));
    let mut child = Om::within(dir.path()).args(["watch", "--from", "0", "-o", "json"]).spawn();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    end(child).fine();
}
