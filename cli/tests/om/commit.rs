//! `om commit`.

use om_api::v1::{self, Phase};
use serde_json::json;

use crate::support::fake::directory;
use crate::support::{Fake, Om, described};

const TWO: &str =
    "kind: process\nname: web\nlabels: {team: shop}\nspec: {members: 3}\n---\nkind: process\nname: db\n";

#[test]
fn each_document_is_one_commit_in_order() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let ended = Om::within(dir.path()).stdin(TWO).run(["commit", "-", "-o", "json"]).fine();
    let row = |name: &str, revision: u64| {
        json!({"name": name, "kind": "process", "revision": revision, "changed": true,
               "plan": ["start member 0"], "phase": "pending", "message": "", "pretend": false})
    };
    assert_eq!(ended.json(), json!([row("web", 10), row("db", 11)]));
    let script = fake.script();
    let sent: Vec<_> = script.committed.iter().map(|request| request.service.clone().unwrap()).collect();
    assert_eq!(sent[0].name, "web");
    assert_eq!(sent[0].kind, "process");
    assert_eq!(sent[0].labels, [("team".to_owned(), "shop".to_owned())].into());
    assert_eq!(sent[0].spec_json, br#"{"members":3}"#.as_slice());
    assert_eq!(sent[1].spec_json, b"{}".as_slice());
    assert!(script.committed.iter().all(|request| !request.dry_run && request.if_revision.is_none()));
    let ids: Vec<_> = script.committed.iter().map(|request| request.request_id.clone()).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 36), "{ids:?}");
}

#[test]
fn several_files_are_committed_in_the_order_given() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    std::fs::write(dir.path().join("b.yaml"), "kind: a\nname: first\n").unwrap();
    std::fs::write(dir.path().join("a.json"), r#"{"kind":"a","name":"second"} {"kind":"a","name":"third"}"#)
        .unwrap();
    let args = ["commit".into(), dir.path().join("b.yaml"), "-".into(), dir.path().join("a.json")];
    Om::within(dir.path()).stdin("kind: a\nname: between\n").run(args).fine();
    let names: Vec<_> =
        fake.script().committed.iter().map(|sent| sent.service.clone().unwrap().name).collect();
    assert_eq!(names, ["first", "between", "second", "third"]);
}

#[test]
fn yaml_means_what_it_says() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let text = r#"
kind: process
name: web
spec:
  base: &base {retries: 3, verbose: false}
  merged: {<<: *base, verbose: true}
  again: *base
  int: 0x1F
  float: 1.5
  text: "1.5"
  yes: yes
  off: off
  none: ~
  script: |
    one
      two
  folded: >-
    a
    b
  zip: 01234
  list: [1, [2], {three: 3}]
  "quoted key": ok
"#;
    Om::within(dir.path()).stdin(text).run(["commit", "-"]).fine();
    let sent = fake.script().committed[0].service.clone().unwrap().spec_json;
    assert_eq!(
        std::str::from_utf8(&sent).unwrap(),
        r#"{"base":{"retries":3,"verbose":false},"merged":{"verbose":true,"retries":3},"#.to_owned()
            + r#""again":{"retries":3,"verbose":false},"int":31,"float":1.5,"text":"1.5","yes":"yes","off":"off","#
            + r#""none":null,"script":"one\n  two\n","folded":"a b","zip":"01234","list":[1,[2],{"three":3}],"#
            + r#""quoted key":"ok"}"#
    );
}

#[test]
fn json_and_braces_are_both_read() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let om = Om::within(dir.path());
    om.clone()
        .stdin("{\"kind\":\"a\",\t\"name\":\"w\",\"spec\":{\"s\":\"\\ud83d\\ude00\\/\"}}")
        .run(["commit", "-"])
        .fine();
    om.stdin("{kind: a, name: w, spec: {s: 1}}").run(["commit", "-"]).fine();
    let script = fake.script();
    let spec = |at: usize| script.committed[at].service.clone().unwrap().spec_json;
    assert_eq!(spec(0), "{\"s\":\"😀/\"}".as_bytes());
    assert_eq!(spec(1), br#"{"s":1}"#.as_slice());
}

#[test]
fn what_was_done_is_listed_even_if_a_later_one_fails() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let three = format!("{TWO}---\nkind: process\nname: last\n");
    let invalid = om_api::Error::new(om_api::Reason::InvalidSpec, "spec.memberz: unknown field");
    fake.script().commit_answers.push_back(v1::CommitResponse {
        name: "web".to_owned(),
        revision: 9,
        phase: Phase::Ready.into(),
        ..Default::default()
    });
    fake.script().refuse_after = Some((1, invalid.into()));
    let ended = Om::within(dir.path()).stdin(three).run(["commit", "-", "-o", "json"]).code(7);
    assert_eq!(ended.json()[0]["name"], "web");
    assert_eq!(ended.json()[0]["changed"], false);
    assert_eq!(ended.json().as_array().unwrap().len(), 1);
    let (reason, message, hint) = ended.error();
    assert_eq!(reason, "INVALID_SPEC");
    assert_eq!(message, "db (<stdin>): spec.memberz: unknown field");
    assert_eq!(hint, "not sent after it: 1 service");
}

#[test]
fn pretend_only_asks_and_prints_the_plan() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let answer = |name: &str, revision: u64, changed: bool, plan: &[&str]| v1::CommitResponse {
        name: name.to_owned(),
        revision,
        changed,
        plan: plan.iter().map(|step| (*step).to_owned()).collect(),
        ..Default::default()
    };
    fake.script().commit_answers.extend([
        answer("web", 4, true, &["stop web-2", "restart web-0"]),
        answer("db", 0, true, &["start db-0"]),
    ]);
    let ended = Om::within(dir.path()).stdin(TWO).run(["commit", "--pretend", "-"]).fine();
    assert_eq!(
        ended.stdout,
        "web (process) would be changed; stands at revision 4\n  - stop web-2\n  - restart web-0\n\
         db (process) would be declared\n  - start db-0\n"
    );
    assert!(fake.script().committed.iter().all(|request| request.dry_run));
    let json =
        Om::within(dir.path()).stdin(TWO).run(["commit", "--pretend", "-", "-o", "json"]).fine().json();
    assert_eq!(json[0]["pretend"], true);
}

#[test]
fn a_differing_revision_is_a_conflict() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let conflict = om_api::Error::new(om_api::Reason::RevisionConflict, "it stands at revision 8, not 7");
    fake.refuse("commit", conflict.with("revision", 8));
    let one = "kind: a\nname: web\n";
    let om = Om::within(dir.path()).stdin(one);
    let ended = om.run(["commit", "-", "--if-revision", "7"]).code(5);
    assert_eq!(
        ended.stderr,
        "error: web (<stdin>): it stands at revision 8, not 7\n  hint: `om describe` shows the revision it stands at\n"
    );
    om.run(["commit", "-", "--if-revision", "0"]).fine();
    assert_eq!(fake.script().committed[0].if_revision, Some(0));
    let two = Om::within(dir.path()).stdin(TWO).run(["commit", "-", "--if-revision", "7"]).code(2);
    assert!(two.stderr.contains("--if-revision speaks of one service, and 2 are given"), "{}", two.stderr);
}

#[test]
fn wait_sees_the_phase_of_its_own_revision_only() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().describe.insert(
        "web".to_owned(),
        [
            Some(described("web", 9, Phase::Ready, "the old one")),
            Some(described("web", 10, Phase::Pending, "starting")),
            Some(described("web", 10, Phase::Degraded, "half")),
            Some(described("web", 10, Phase::Ready, "")),
        ]
        .into(),
    );
    let om = Om::within(dir.path()).stdin("kind: process\nname: web\n");
    let ended = om.run(["commit", "--wait", "-"]).code(0);
    assert_eq!(
        ended.stdout,
        "NAME   REVISION   RESULT      PHASE   MESSAGE\nweb    10         committed   ready\n"
    );
    assert_eq!(
        ended.stderr,
        "web: pending (1/1 running)\nweb: pending (1/1 running: starting)\nweb: degraded (1/1 running: half)\n\
         web: ready (1/1 running)\n"
    );
    assert_eq!(fake.calls("describe").len(), 4);
}

#[test]
fn waiting_for_programs_is_silent() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().describe.insert("web".to_owned(), [Some(described("web", 10, Phase::Ready, "up"))].into());
    let om = Om::within(dir.path()).stdin("kind: process\nname: web\n");
    let ended = om.run(["commit", "--wait", "-", "-o", "json"]).fine();
    assert_eq!(ended.json()[0]["phase"], "ready");
    assert_eq!(ended.json()[0]["message"], "up");
}

#[test]
fn waiting_for_what_fails_ends_with_1() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let failed = described("web", 10, Phase::Failed, "no such file: /bin/nothing");
    fake.script().describe.insert("web".to_owned(), [Some(failed)].into());
    let om = Om::within(dir.path()).stdin("kind: process\nname: web\n");
    let ended = om.run(["commit", "--wait", "-", "-o", "json"]).code(1);
    assert_eq!(ended.json()[0]["phase"], "failed");
    let (reason, message, _) = ended.error();
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("SERVICE_FAILED", "web failed: no such file: /bin/nothing")
    );
}

#[test]
fn waiting_ends_with_6_when_the_time_is_up() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let pending = described("web", 10, Phase::Pending, "waiting for a port");
    fake.script().describe.insert("web".to_owned(), [Some(pending)].into());
    let om = Om::within(dir.path()).stdin("kind: process\nname: web\n");
    let ended = om.run(["commit", "--wait", "-", "-o", "json", "--timeout", "1s"]).code(6);
    assert_eq!(ended.json()[0]["phase"], "pending");
    let (reason, message, hint) = ended.error();
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("TIMED_OUT", "web is pending after 1s: waiting for a port")
    );
    assert!(hint.contains("stays declared"), "{hint}");
}

#[test]
fn waiting_ends_when_somebody_else_commits_or_removes() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().describe.insert("web".to_owned(), [Some(described("web", 12, Phase::Ready, ""))].into());
    let om = Om::within(dir.path()).stdin("kind: process\nname: web\n");
    let ended = om.run(["commit", "--wait", "-"]).code(5);
    assert!(ended.stderr.contains("web was committed again meanwhile"), "{}", ended.stderr);
    fake.script().describe.clear();
    om.run(["commit", "--wait", "-"]).code(4);
}
