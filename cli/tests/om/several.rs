//! Several replicas: any may be down, hang, or know less than the others.

use om_api::v1;
use om_api::{Error, Reason};

use crate::support::fake::directory;
use crate::support::program::{end, until};
use crate::support::{Fake, Om};

fn names(leader: &Fake, term: u64) -> Error {
    Error::not_leader("x", &leader.endpoint(), term)
}

#[test]
fn of_several_endpoints_any_may_be_down() {
    let dir = directory();
    let gone = format!("unix://{}", dir.path().join("gone").display());
    let alive = Fake::serve(dir.path(), "alive");
    let list = format!("{gone},{}", alive.endpoint());
    Om::default().run(["ls", "-ojson", "--endpoint", &list]).fine();
    Om::default().run(["ls", "-ojson", "--endpoint", &gone, "--endpoint", &alive.endpoint()]).fine();
    Om::default().env("OM_ENDPOINT", &list).run(["ls", "-ojson"]).fine();
    let file = dir.path().join("om.toml");
    std::fs::write(&file, format!("endpoint = [{gone:?}, {:?}]\n", alive.endpoint())).unwrap();
    Om::default().run(["ls", "-ojson", "--config", file.to_str().unwrap()]).fine();
    assert_eq!(alive.calls("list").len(), 4);
    drop(alive);
    let (reason, message, _) = Om::default().run(["ls", "-ojson", "--endpoint", &list]).code(6).error();
    assert_eq!(reason, "CANNOT_CONNECT");
    assert!(message.contains("/gone") && message.contains("/alive"), "{message}");
    Om::default().run(["ls", "--endpoint", ","]).code(2);
}

#[test]
fn the_newest_word_counts_whoever_says_it() {
    let dir = directory();
    let [a, b, c] = ["service", "b", "c"].map(|name| Fake::serve(dir.path(), name));
    a.refuse_always("free", names(&b, 7));
    // b has lost the leadership again meanwhile.
    b.refuse_always("free", names(&c, 8));
    // c has not noticed yet.
    c.refuse("free", names(&a, 6));
    c.refuse("free", Error::new(Reason::NoLeader, "taking over"));
    Om::within(dir.path()).run(["free", "web"]).fine();
    let calls: Vec<_> = [&a, &b, &c].map(|fake| fake.calls("free")).into_iter().flatten().collect();
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call.request_id == calls[0].request_id), "{calls:?}");
}

#[test]
fn a_leader_that_hangs_is_left_for_its_successor() {
    let dir = directory();
    let [frozen, follower, successor] = ["service", "b", "c"].map(|name| Fake::serve(dir.path(), name));
    follower.refuse("free", names(&frozen, 7));
    frozen.script().hangs = Some("free");
    follower.script().status = v1::StatusResponse {
        leader: Some(v1::Leader { name: "service".to_owned(), endpoint: frozen.endpoint() }),
        term: 7,
        ..Default::default()
    };
    let child = Om::default().args(["free", "web", "--endpoint", &follower.endpoint()]).spawn();
    until("it looks around", || !follower.calls("status").is_empty());
    follower.script().status = v1::StatusResponse {
        leader: Some(v1::Leader { name: "c".to_owned(), endpoint: successor.endpoint() }),
        term: 8,
        ..Default::default()
    };
    end(child).fine();
    let (hung, done) = (frozen.calls("free"), successor.calls("free"));
    assert_eq!((hung.len(), done.len()), (1, 1));
    assert_eq!(hung[0].request_id, done[0].request_id);
}
