//! `om free` and `om destroy`.

use om_api::v1::{DestroyResponse, Phase};
use om_api::{Error, Reason};
use serde_json::json;

use crate::support::fake::directory;
use crate::support::{Fake, Om, described};

#[test]
fn services_are_freed() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let om = Om::within(dir.path());
    assert_eq!(om.run(["free", "web", "db"]).fine().stdout, "web freed\ndb freed\n");
    assert_eq!(
        om.run(["free", "web", "-o", "json", "--if-revision", "5"]).fine().json(),
        json!([{"name": "web", "revision": 21, "done": true}])
    );
    let script = fake.script();
    let names: Vec<_> = script.freed.iter().map(|request| request.name.clone()).collect();
    assert_eq!(names, ["web", "db", "web"]);
    assert_eq!(script.freed[2].if_revision, Some(5));
    assert_ne!(script.freed[0].request_id, script.freed[1].request_id);
}

#[test]
fn one_unknown_service_does_not_keep_the_others() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse("free", Error::new(Reason::NotFound, "no such service"));
    let ended = Om::within(dir.path()).run(["free", "nope", "web", "-o", "json"]).code(4);
    assert_eq!(ended.json(), json!([{"name": "web", "revision": 21, "done": true}]));
    assert_eq!(ended.error().1, "nope: no such service");
}

#[test]
fn without_a_leader_no_further_service_is_tried() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse_always("free", Error::new(Reason::NoLeader, "nobody leads"));
    Om::within(dir.path()).run(["free", "a", "b", "--timeout", "1s"]).code(3);
    let ids: std::collections::HashSet<_> =
        fake.calls("free").into_iter().map(|call| call.request_id).collect();
    assert_eq!(ids.len(), 1);
}

#[test]
fn destroying_needs_a_yes() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let ended = Om::within(dir.path()).stdin("y\n").run(["destroy", "web"]).code(2);
    assert_eq!(
        ended.stderr,
        "error: destroying web needs a yes, and there is no terminal to ask on\n  hint: say it with --yes\n"
    );
    assert_eq!(fake.calls("destroy"), []);
}

#[test]
fn destroying_waits_until_nothing_is_left() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().destroy_answer =
        DestroyResponse { revision: 22, done: false, message: "stopping 1 member".to_owned() };
    fake.script().describe.insert(
        "web".to_owned(),
        [
            Some(described("web", 10, Phase::Destroying, "stopping 1 member")),
            Some(described("web", 10, Phase::Destroying, "web-0 ignores TERM")),
            None,
        ]
        .into(),
    );
    let ended = Om::within(dir.path()).run(["destroy", "web", "--yes"]).code(0);
    assert_eq!(ended.stdout, "web destroyed\n");
    assert!(ended.stderr.contains("web: destroying (stopping 1 member)\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("web-0 ignores TERM"), "{}", ended.stderr);
}

#[test]
fn what_is_in_the_way_is_said_when_the_time_is_up() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().destroy_answer = DestroyResponse { revision: 22, ..Default::default() };
    let stuck = described("web", 10, Phase::Destroying, "web-0 ignores TERM");
    fake.script().describe.insert("web".to_owned(), [Some(stuck)].into());
    let ended = Om::within(dir.path()).run(["destroy", "web", "-y", "-o", "json", "--timeout", "1s"]).code(6);
    assert_eq!(ended.json(), json!([]));
    let (reason, message, _) = ended.error();
    assert_eq!(reason, "TIMED_OUT");
    assert_eq!(message, "web: web is not gone after 1s; still in the way: web-0 ignores TERM");
}

#[test]
fn what_is_gone_at_once_is_not_waited_for() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().destroy_answer = DestroyResponse { revision: 22, done: true, ..Default::default() };
    let ended = Om::within(dir.path()).run(["destroy", "web", "--yes", "-o", "yaml"]).fine();
    assert_eq!(ended.stdout, "- name: web\n  revision: 22\n  done: true\n");
    assert_eq!(fake.calls("describe"), []);
    fake.refuse("destroy", Error::new(Reason::NotFound, "no such service"));
    Om::within(dir.path()).run(["destroy", "web", "--yes"]).code(4);
}
