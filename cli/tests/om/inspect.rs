//! `om ls`, `om get`, `om describe`.

use om_api::v1::Phase;
use serde_json::json;

use crate::support::fake::directory;
use crate::support::{Fake, Om, described, summary};

#[test]
fn services_are_listed_for_people_and_for_programs() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().services = vec![
        summary("db", 4, Phase::Degraded, "1 of 2 members\nis running"),
        summary("web", 12, Phase::Ready, ""),
    ];
    let om = Om::within(dir.path());
    assert_eq!(
        om.run(["ls"]).fine().stdout,
        "NAME   KIND      REVISION   PHASE      MESSAGE\n\
         db     process   4          degraded   1 of 2 members; is running\n\
         web    process   12         ready\n"
    );
    let rows = json!([
        {"name": "db", "kind": "process", "revision": 4, "phase": "degraded",
         "message": "1 of 2 members\nis running", "labels": {"team": "shop"}},
        {"name": "web", "kind": "process", "revision": 12, "phase": "ready", "message": "",
         "labels": {"team": "shop"}},
    ]);
    assert_eq!(om.run(["ls", "-o", "json"]).fine().json(), rows);
    let yaml = om.run(["list", "-o", "yaml"]).fine().stdout;
    assert_eq!(yaml_serde::from_str::<serde_json::Value>(&yaml).unwrap(), rows);
}

#[test]
fn nothing_is_an_empty_list() {
    let dir = directory();
    let _fake = Fake::serve(dir.path(), "service");
    let om = Om::within(dir.path());
    assert_eq!(om.run(["ls", "-o", "json"]).fine().stdout, "[]\n");
    assert_eq!(om.run(["operations", "-o", "json"]).fine().stdout, "[]\n");
    assert_eq!(om.run(["history", "-o", "json"]).fine().stdout, "[]\n");
    assert_eq!(om.run(["plugins", "-o", "yaml"]).fine().stdout, "[]\n");
    let people = om.run(["ls"]).code(0);
    assert_eq!((people.stdout.as_str(), people.stderr.as_str()), ("", "no services are declared\n"));
    let people = om.run(["ls", "--kind", "x"]).code(0);
    assert_eq!(people.stderr, "no service fits\n");
}

#[test]
fn every_page_is_asked_for() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().services =
        (0..2345).map(|index| summary(&format!("s{index:05}"), index, Phase::Ready, "")).collect();
    let ended = Om::within(dir.path()).run(["ls", "-o", "json"]).fine();
    let names: Vec<_> =
        ended.json().as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (0..2345).map(|index| format!("s{index:05}")).collect::<Vec<_>>());
    assert_eq!(fake.script().listed.len(), 24);
    assert_eq!(Om::within(dir.path()).run(["ls"]).fine().stdout.lines().count(), 2346);
}

#[test]
fn kind_and_labels_select() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let om = Om::within(dir.path());
    om.run(["ls", "--kind", "process", "--selector", "a=1,b=2", "--selector", "c=x=y", "-o", "json"]).fine();
    let asked = fake.script().listed[0].clone();
    assert_eq!(asked.kind, "process");
    let wanted = [("a", "1"), ("b", "2"), ("c", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(asked.selector, wanted.into());
    om.run(["ls", "--selector", "nothing"]).code(2);
}

#[test]
fn a_document_is_printed_as_it_could_be_committed_again() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().describe.insert("web".to_owned(), [Some(described("web", 10, Phase::Ready, ""))].into());
    let om = Om::within(dir.path());
    let yaml = om.run(["get", "web"]).fine().stdout;
    assert_eq!(
        yaml,
        "kind: process\nname: web\nlabels:\n  team: shop\nspec:\n  members: 1\n  command:\n  - sleep\n  - inf\n  \
         env:\n    B: yes\n    A: '1'\n"
    );
    let json = om.run(["get", "web", "-o", "json"]).fine();
    assert_eq!(
        json.json(),
        json!({"kind": "process", "name": "web", "labels": {"team": "shop"},
               "spec": {"members": 1, "command": ["sleep", "inf"], "env": {"A": "1", "B": "yes"}}})
    );
    for text in [yaml, json.stdout] {
        om.clone().stdin(text).run(["commit", "-"]).fine();
        let sent = fake.script().committed.pop().unwrap().service.unwrap();
        let spec: &[u8] = br#"{"members":1,"command":["sleep","inf"],"env":{"B":"yes","A":"1"}}"#;
        assert_eq!((sent.name.as_str(), &sent.spec_json[..]), ("web", spec));
        assert_eq!(sent.labels, [("team".to_owned(), "shop".to_owned())].into());
    }
}

#[test]
fn a_service_is_described() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let web = described("web", 10, Phase::Degraded, "slow");
    fake.script().describe.insert("web".to_owned(), [Some(web)].into());
    let om = Om::within(dir.path());
    assert_eq!(
        om.run(["describe", "web"]).fine().stdout,
        "Name:      web\nKind:      process\nRevision:  10\nPhase:     degraded\nMessage:   slow\n\
         Labels:    team=shop\n\nMembers:\n\
         NAME    PHASE     ADDRESS           HOST   MESSAGE   DETAILS\n\
         web-0   running   127.0.0.1:18080   h1     -         pid=77\n\
         \nSpec:\n  members: 1\n  command:\n  - sleep\n  - inf\n  env:\n    B: yes\n    A: '1'\n"
    );
    assert_eq!(
        om.run(["describe", "web", "-o", "json"]).fine().json(),
        json!({"name": "web", "kind": "process", "revision": 10, "phase": "degraded", "message": "slow",
               "labels": {"team": "shop"},
               "members": [{"name": "web-0", "phase": "running", "address": "127.0.0.1:18080", "host": "h1",
                            "message": "", "details": {"pid": "77"}}],
               "spec": {"members": 1, "command": ["sleep", "inf"], "env": {"A": "1", "B": "yes"}}})
    );
}

#[test]
fn an_unknown_service_ends_with_4() {
    let dir = directory();
    let _fake = Fake::serve(dir.path(), "service");
    for command in ["get", "describe"] {
        let ended = Om::within(dir.path()).run([command, "web"]).code(4);
        assert_eq!(ended.stderr, "error: there is no service \"web\"\n  hint: `om ls` shows the services\n");
        let ended = Om::within(dir.path()).run([command, "web", "-o", "json"]).code(4);
        assert_eq!(ended.error().0, "NOT_FOUND");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn every_call_names_a_time_limit() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().describe.insert("web".to_owned(), [Some(described("web", 1, Phase::Ready, ""))].into());
    let om = Om::within(dir.path());
    for args in [
        &["ls", "-ojson"][..],
        &["get", "web"],
        &["status"],
        &["plugins", "-ojson"],
        &["operations", "-ojson"],
    ] {
        om.run(args).fine();
    }
    let calls = fake.script().calls.clone();
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call.limited), "{calls:?}");
}
