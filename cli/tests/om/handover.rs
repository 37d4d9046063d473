//! `om handover`.

use om_api::{Error, Reason, v1};
use serde_json::json;

use crate::support::fake::directory;
use crate::support::program::{end, until};
use crate::support::{Fake, Om};

fn led_by(name: &str, term: u64) -> v1::StatusResponse {
    let leader = Some(v1::Leader { name: name.to_owned(), endpoint: format!("unix:///run/{name}") });
    v1::StatusResponse { leader, term, ..Default::default() }
}

#[test]
fn the_leadership_is_handed_over_and_who_leads_then_is_printed() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let om = Om::within(dir.path());
    assert_eq!(om.run(["handover", "b"]).fine().stdout, "b leads now; term 8\n");
    assert_eq!(
        om.run(["handover", "b", "-o", "json"]).fine().json(),
        json!({"leader": {"name": "b", "endpoint": ""}, "term": 8})
    );
    om.run(["handover"]).fine();
    let asked: Vec<_> = fake.calls("handover").into_iter().map(|call| call.request_id).collect();
    assert_eq!(asked, ["b", "b", ""], "whom it was to be");
}

#[test]
fn a_follower_is_left_for_the_leader_who_hands_over() {
    let dir = directory();
    let (follower, leader) = (Fake::serve(dir.path(), "service"), Fake::serve(dir.path(), "b"));
    follower.refuse_always("handover", Error::not_leader("b", &leader.endpoint(), 7));
    Om::within(dir.path()).run(["handover", "service"]).fine();
    assert_eq!((follower.calls("handover").len(), leader.calls("handover").len()), (1, 1));
}

#[test]
fn a_handover_that_is_refused_says_why() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let refusal = Error::new(Reason::Refused, "a file names the leader").hint("name another leader there");
    fake.refuse_always("handover", refusal);
    let ended = Om::within(dir.path()).run(["handover", "-o", "json"]).code(1);
    assert_eq!(
        ended.error(),
        ("REFUSED".into(), "a file names the leader".into(), "name another leader there".into())
    );
}

#[test]
fn a_handover_whose_answer_is_lost_is_not_asked_for_again() {
    let dir = directory();
    let first = Fake::serve(dir.path(), "service");
    first.script().status = led_by("service", 7);
    first.script().hangs = Some("handover");
    let child = Om::within(dir.path()).args(["handover", "-o", "json"]).spawn();
    until("the call is under way", || !first.calls("handover").is_empty());
    let script = first.shared();
    drop(first);
    script.lock().unwrap().status = led_by("b", 8);
    let second = Fake::serve_with(dir.path(), "service", script);
    assert_eq!(
        end(child).fine().json(),
        json!({"leader": {"name": "b", "endpoint": "unix:///run/b"}, "term": 8})
    );
    assert_eq!(second.calls("handover").len(), 1);
}

#[test]
fn a_handover_whose_fate_is_not_known_says_so() {
    let dir = directory();
    let first = Fake::serve(dir.path(), "service");
    first.script().status = led_by("service", 7);
    first.script().hangs = Some("handover");
    let child = Om::within(dir.path()).args(["handover", "-o", "json", "--timeout", "2s"]).spawn();
    until("the call is under way", || !first.calls("handover").is_empty());
    drop(first);
    let (reason, _, hint) = end(child).code(6).error();
    assert_eq!(reason, "CANNOT_CONNECT");
    assert!(hint.contains("is not known"), "{hint}");
}
