//! Finding the manager, going to the leader, waiting for one.

use std::time::Duration;

use om_api::clock::since_boot;
use om_api::{Error, Reason};

use crate::support::fake::directory;
use crate::support::program::until;
use crate::support::{Fake, Om};

const WEB: &str = "kind: process\nname: web\n";

fn moved(to: &Fake) -> Error {
    Error::not_leader("b", &to.endpoint(), 7)
}

#[test]
fn a_follower_is_left_for_the_leader_with_the_same_request_id() {
    let dir = directory();
    let follower = Fake::serve(dir.path(), "service");
    let leader = Fake::serve(dir.path(), "b");
    follower.refuse_always("commit", moved(&leader));
    Om::within(dir.path()).stdin(WEB).run(["commit", "-"]).fine();
    let (asked, done) = (follower.calls("commit"), leader.calls("commit"));
    assert_eq!((asked.len(), done.len()), (1, 1));
    assert_eq!(asked[0].request_id, done[0].request_id);
    assert!(!asked[0].request_id.is_empty());
}

#[test]
fn two_that_name_each_other_are_an_error_and_no_merry_go_round() {
    let dir = directory();
    let (a, b) = (Fake::serve(dir.path(), "service"), Fake::serve(dir.path(), "b"));
    a.refuse_always("commit", moved(&b));
    b.refuse_always("commit", moved(&a));
    let ended = Om::within(dir.path()).stdin(WEB).run(["commit", "-", "-o", "json"]).code(3);
    let (first, asked) = (a.calls("commit"), b.calls("commit"));
    assert!(first.len() < asked.len() && asked.len() < 100, "{} and {}", first.len(), asked.len());
    assert!(asked.iter().chain(&first).all(|call| call.request_id == asked[0].request_id), "{asked:?}");
    let (reason, message, hint) = ended.error();
    assert_eq!(reason, "NOT_LEADER");
    assert_eq!(
        message,
        format!("web (<stdin>): {} is not the leader and names {}", b.endpoint(), a.endpoint())
    );
    assert!(hint.contains("two managers disagree"), "{hint}");
}

#[test]
fn one_who_has_not_heard_yet_that_he_leads_is_asked_again() {
    let dir = directory();
    let (a, b) = (Fake::serve(dir.path(), "service"), Fake::serve(dir.path(), "b"));
    a.refuse_always("commit", moved(&b));
    b.refuse("commit", moved(&a));
    b.refuse("commit", Error::new(Reason::NoLeader, "taking over"));
    Om::within(dir.path()).stdin(WEB).run(["commit", "-"]).fine();
    assert_eq!((a.calls("commit").len(), b.calls("commit").len()), (1, 3));
}

#[test]
fn no_redirect_means_none() {
    let dir = directory();
    let (a, b) = (Fake::serve(dir.path(), "service"), Fake::serve(dir.path(), "b"));
    a.refuse_always("list", moved(&b));
    for om in [
        Om::within(dir.path()).run(["ls", "--no-redirect", "-o", "json"]),
        Om::within(dir.path()).env("OM_NO_REDIRECT", "1").run(["ls", "-o", "json"]),
    ] {
        let (reason, _, hint) = om.code(3).error();
        assert_eq!(reason, "NOT_LEADER");
        assert!(hint.contains(&b.endpoint()), "{hint}");
    }
    assert_eq!((a.calls("list").len(), b.calls("list").len()), (2, 0));
}

#[test]
fn no_leader_is_a_pause_with_the_same_request_id() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    for _ in 0..3 {
        fake.refuse("commit", Error::new(Reason::NoLeader, "nobody leads yet"));
    }
    fake.refuse("commit", Error::new(Reason::Unclear, "leadership was lost under way"));
    Om::within(dir.path()).stdin(WEB).run(["commit", "-"]).fine();
    let calls = fake.calls("commit");
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call.request_id == calls[0].request_id && call.limited), "{calls:?}");
    assert_eq!(fake.script().committed.len(), 1);
}

#[test]
fn without_a_leader_the_time_runs_out_with_3() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse_always("list", Error::new(Reason::NoLeader, "the leader file is missing"));
    let ended = Om::within(dir.path()).run(["ls", "-o", "json", "--timeout", "1s"]).code(3);
    let (reason, message, hint) = ended.error();
    assert_eq!(reason, "NO_LEADER");
    assert_eq!(message, "the leader file is missing (waited 1s)");
    assert!(hint.contains("om status"), "{hint}");
    assert!(fake.calls("list").len() > 1);
}

#[test]
fn where_nobody_is_even_named_it_ends_sooner_with_3() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let unnamed = Error::new(Reason::NoLeader, "the leader file is empty").with("unnamed", true);
    fake.refuse_always("list", unnamed);
    let om = Om::within(dir.path());
    // Far less than the 30 seconds of the default, and then the time that is given, which is shorter still.
    for args in [&["ls", "-o", "json"][..], &["ls", "-o", "json", "--timeout", "300ms"]] {
        assert_eq!(om.run(args).code(3).error().0, "NO_LEADER");
    }
}

#[test]
fn a_leader_without_an_endpoint_is_waited_for() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse("list", Error::not_leader("b", "", 7));
    Om::within(dir.path()).run(["ls", "-o", "json"]).fine();
    assert_eq!(fake.calls("list").len(), 2);
}

#[test]
fn a_named_leader_that_is_dead_is_waited_for_like_no_leader() {
    let dir = directory();
    let (follower, next) = (Fake::serve(dir.path(), "service"), Fake::serve(dir.path(), "next"));
    let dead = Error::not_leader("b", &format!("unix://{}", dir.path().join("dead").display()), 7);
    follower.refuse("free", dead.clone());
    follower.refuse("free", dead.clone());
    follower.refuse_always("free", moved(&next));
    Om::within(dir.path()).run(["free", "web"]).fine();
    let (asked, done) = (follower.calls("free"), next.calls("free"));
    assert_eq!((asked.len(), done.len()), (3, 1));
    assert!(asked.iter().all(|call| call.request_id == done[0].request_id));

    follower.refuse_always("free", dead.clone());
    let ended = Om::within(dir.path()).run(["free", "web", "-o", "json", "--timeout", "1s"]).code(6);
    let (reason, message, _) = ended.error();
    assert_eq!(reason, "CANNOT_CONNECT");
    assert!(message.contains(&dead.metadata["endpoint"]), "{message}");
}

#[test]
fn an_absent_manager_is_named_with_what_to_do() {
    let dir = directory();
    let ended = Om::within(dir.path()).run(["ls"]).code(6);
    let place = dir.path().display();
    assert_eq!(
        ended.stderr,
        format!(
            "error: no manager \"service\": cannot connect to unix://{place}/service: there is no such socket; \
             is the program running?\n  hint: no manager answers in {place}; start one: om-manager os \
             --leader-file FILE --name service\n"
        )
    );
}

#[test]
fn managers_that_do_answer_are_named() {
    let dir = directory();
    let _others = [Fake::serve(dir.path(), "south"), Fake::serve(dir.path(), "north")];
    let stale = std::os::unix::net::UnixListener::bind(dir.path().join("service")).unwrap();
    drop(stale);
    let ended = Om::within(dir.path()).run(["status", "-o", "json"]).code(6);
    let (reason, message, hint) = ended.error();
    assert_eq!(reason, "CANNOT_CONNECT");
    assert!(message.contains("nobody serves this socket"), "{message}");
    assert!(hint.contains("these managers answer: north, south; choose one with --name"), "{hint}");
}

#[test]
fn a_manager_that_is_just_being_restarted_is_found() {
    // On a machine that is held up for longer than the program has patience, another try is fair.
    let in_time = (0..20).any(|_| {
        let dir = directory();
        let began = since_boot();
        let child = Om::within(dir.path()).args(["ls", "-o", "json"]).spawn();
        let _fake = Fake::serve(dir.path(), "service");
        let served = since_boot() - began;
        let ended = crate::support::program::end(child);
        assert!(ended.code == Some(0) || served > Duration::from_millis(400), "after {served:?}: {ended:#?}");
        ended.code == Some(0)
    });
    assert!(in_time);
}

#[test]
fn a_manager_killed_under_way_is_asked_again_with_the_same_request_id() {
    let dir = directory();
    let first = Fake::serve(dir.path(), "service");
    first.script().hangs = Some("free");
    let child = Om::within(dir.path()).args(["free", "web"]).spawn();
    until("the call is under way", || !first.calls("free").is_empty());
    let script = first.shared();
    drop(first);
    script.lock().unwrap().hangs = None;
    let second = Fake::serve_with(dir.path(), "service", script);
    crate::support::program::end(child).fine();
    let calls = second.calls("free");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].request_id, calls[1].request_id);
}

#[test]
fn a_hanging_manager_times_out_with_6() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().hangs = Some("list");
    let began = since_boot();
    let ended = Om::within(dir.path()).run(["ls", "-o", "json", "--timeout", "300ms"]).code(6);
    assert!(since_boot() - began >= Duration::from_millis(300));
    let (reason, message, _) = ended.error();
    assert_eq!(reason, "TIMED_OUT");
    assert!(message.ends_with("within 300ms"), "{message}");
    assert!(fake.calls("list")[0].limited, "the manager is told the limit too");
}

#[test]
fn a_socket_that_accepts_and_says_nothing_times_out_with_6() {
    let dir = directory();
    let _silent = std::os::unix::net::UnixListener::bind(dir.path().join("service")).unwrap();
    Om::within(dir.path()).run(["ls", "--timeout", "300ms"]).code(6);
}

#[test]
fn what_speaks_no_grpc_is_no_manager() {
    let dir = directory();
    let odd = std::os::unix::net::UnixListener::bind(dir.path().join("service")).unwrap();
    let talker = std::thread::spawn(move || {
        use std::io::Write as _;
        // As often as the program tries: the last connection is the test's own.
        for stream in odd.incoming() {
            let mut stream = stream.unwrap();
            if stream.write_all(b"220 mail.example ESMTP\r\n").is_err() {
                break;
            }
            let mut first = [0; 1];
            if std::io::Read::read(&mut stream, &mut first).unwrap_or(0) == 1 && first[0] == b'!' {
                break;
            }
        }
    });
    let ended = Om::within(dir.path()).run(["ls", "-o", "json", "--timeout", "5s"]);
    let mut last = std::os::unix::net::UnixStream::connect(dir.path().join("service")).unwrap();
    std::io::Write::write_all(&mut last, b"!").unwrap();
    talker.join().unwrap();
    assert_eq!(ended.error().0, "CANNOT_CONNECT");
    ended.code(6);
}

#[test]
fn an_endpoint_or_a_name_picks_the_manager() {
    let dir = directory();
    let (a, b) = (Fake::serve(dir.path(), "service"), Fake::serve(dir.path(), "b"));
    let plugins = dir.path().to_str().unwrap().to_owned();
    Om::within(dir.path()).run(["ls", "--name", "b", "-o", "json"]).fine();
    Om::default().run(["--endpoint", &b.endpoint(), "ls", "-o", "json"]).fine();
    Om::default().run(["ls", "-o", "json", "--plugins-dir", &plugins, "--name", "b"]).fine();
    Om::default()
        .env("XDG_RUNTIME_DIR", "/nowhere")
        .env("OM_ENDPOINT", b.endpoint())
        .run(["ls", "-ojson"])
        .fine();
    Om::within(dir.path()).env("OM_NAME", "b").run(["ls", "-o", "json"]).fine();
    assert_eq!((a.calls("list").len(), b.calls("list").len()), (0, 5));
    // A flag beats the environment, though it says the other thing.
    Om::within(dir.path())
        .env("OM_ENDPOINT", b.endpoint())
        .run(["ls", "--name", "service", "-o", "json"])
        .fine();
    assert_eq!(a.calls("list").len(), 1);
    Om::default().run(["ls", "--endpoint", "http://a"]).code(2);
    Om::default().run(["ls", "--name", "a/b"]).code(2);
    Om::default().run(["--endpoint", &b.endpoint(), "ls", "--name", "b"]).code(2);
    // Whoever gives a directory wants a socket in it.
    Om::default().env("OM_ENDPOINT", b.endpoint()).run(["ls", "-ojson", "--plugins-dir", &plugins]).fine();
    assert_eq!(a.calls("list").len(), 2);
}
