//! A plugin whose leader died says that it has stopped, once it has.

use std::sync::atomic::Ordering;
use std::time::Duration;

use om_api::testing::Ca;
use om_api::v1::attend_request::{Open, Will};
use om_plugin_sdk::testing::{Attendance, Manager, PATIENCE};

use crate::replica::{Replica, will};
use crate::support::{Host, LONG, SHORT, until};

/// Attends, leaving a will, and has some services act.
async fn attended(host: &Host, term: u64, authority: Duration, left: Will) -> (Manager, Attendance) {
    let manager = host.manager("x", term).await;
    let open = Open { will: Some(left), ..manager.open(authority) };
    let session = manager.attend_with(open).await.expect("opened");
    for service in ["a", "b", "c"] {
        manager.commit("probe", service, "{}", 1, b"").await.expect("accepted");
        until("an act", || host.journal.count(service, term) > 0).await;
    }
    (manager, session)
}

/// The manager is gone, and its connection with it. The plugin learns of it a little later.
fn dies(manager: Manager, session: Attendance) {
    drop((manager, session));
}

/// Has another store's manager come and die, and waits for some words about that: what there was to say about earlier
/// sessions had all the time to be said too.
async fn other_words(host: &Host, replica: &Replica) {
    let manager = host.manager("another", 1_000_000).await;
    let open = Open { will: Some(will("another", &[replica])), ..manager.open(LONG) };
    let before = replica.heard("another");
    let session = manager.attend_with(open).await.expect("opened");
    dies(manager, session);
    until("the other words", || replica.heard("another") >= before + 4).await;
}

async fn one_blocks(host: &Host, manager: &Manager) {
    let begun = host.journal.begun.load(Ordering::SeqCst);
    manager.commit("probe", "stuck", r#"{"mode": "block"}"#, 2, b"").await.expect("accepted");
    until("it to block", || host.journal.begun.load(Ordering::SeqCst) > begun).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_replica_is_told_of_a_manager_that_died_once_everything_has_stopped() {
    let host = Host::start();
    let replicas = [Replica::start(&host.journal, 2), Replica::start(&host.journal, 2)];
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&replicas[0], &replicas[1]])).await;
    dies(manager, session);
    for replica in &replicas {
        until("the word", || replica.heard("g") > 0).await;
        let word = &replica.words()[0];
        assert_eq!((word.said.cluster.as_str(), word.said.term), ("x", 1));
        assert_eq!((word.said.grant.as_str(), &*word.said.token), ("g", &b"secret of g"[..]));
        assert_eq!(word.alive, 0, "everything had stopped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadline_that_passed_is_told_too() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 2);
    let (_manager, session) = attended(&host, 1, SHORT, will("g", &[&replica])).await;
    session.fall_silent();
    until("the word", || replica.heard("g") > 0).await;
    assert_eq!(replica.words()[0].alive, 0);
    assert!(host.journal.handle("a").permit().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_newest_will_says_whom_to_tell() {
    let host = Host::start();
    let (first, later) = (Replica::start(&host.journal, 2), Replica::start(&host.journal, 2));
    let (_manager, session) = attended(&host, 1, SHORT, will("g", &[&first])).await;
    session.leave(will("g", &[&later])).await;
    session.fall_silent();
    until("the word", || later.heard("g") > 0).await;
    assert_eq!(first.heard("g"), 0, "it is not there any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_that_hangs_delays_the_word() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 2);
    let (manager, session) = attended(&host, 1, SHORT, will("g", &[&replica])).await;
    one_blocks(&host, &manager).await;
    session.fall_silent();
    // Said two seconds after all others have stopped.
    let end = session.until_ended().await.expect("ends").expect("with a reason");
    assert!(end.message().contains("stuck does not stop"), "{end}");
    assert_eq!(replica.heard("g"), 0, "it has not stopped");
    host.journal.unblock();
    until("the word", || replica.heard("g") > 0).await;
    assert_eq!(replica.words()[0].alive, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_that_hangs_since_an_earlier_session_delays_the_word_about_the_next() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 3);
    let (first, _session) = attended(&host, 1, LONG, Will::default()).await;
    one_blocks(&host, &first).await;
    let (_second, session) = attended(&host, 2, SHORT, will("g", &[&replica])).await;
    session.fall_silent();
    let end = session.until_ended().await.expect("ends").expect("with a reason");
    assert!(end.message().contains("stuck does not stop"), "{end}");
    assert!(!session.seen().stopped, "one hangs");
    // It was not committed in this term, so nothing waits for it but the word.
    other_sessions_end(&host).await;
    assert_eq!(replica.heard("g"), 0, "what term 1 began goes on");
    host.journal.unblock();
    until("the word", || replica.heard("g") > 0).await;
}

/// Another store's manager comes, acts and goes.
async fn other_sessions_end(host: &Host) {
    let manager = host.manager("another", 1).await;
    let session = manager.attend(LONG).await.expect("opened");
    manager.commit("probe", "other", "{}", 1, b"").await.expect("accepted");
    until("some acts", || host.journal.count("other", 1) > 10).await;
    session.release().await;
    session.until_ended().await.expect("ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_said_again_until_a_replica_is_there_and_knows_of_a_higher_term() {
    let host = Host::start();
    let mut away = Replica::absent(&host.journal, 2);
    let ignorant = Replica::start(&host.journal, 1);
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&away, &ignorant])).await;
    dies(manager, session);
    until("some tries", || ignorant.heard("g") >= 4).await;
    away.serve();
    until("the word", || away.heard("g") > 0).await;
    // Told there, it is told here once more at most.
    other_words(&host, &ignorant).await;
    let told = (away.heard("g"), ignorant.heard("g"));
    other_words(&host, &ignorant).await;
    assert_eq!((away.heard("g"), ignorant.heard("g")), told);
    assert_eq!(told.0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_learns_of_a_higher_term_ends_the_telling() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 1);
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&replica])).await;
    dies(manager, session);
    until("some tries", || replica.heard("g") >= 4).await;
    replica.knows(2);
    other_words(&host, &replica).await;
    let told = replica.heard("g");
    other_words(&host, &replica).await;
    assert_eq!(replica.heard("g"), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_session_ends_the_telling() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 1);
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&replica])).await;
    dies(manager, session);
    until("some tries", || replica.heard("g") >= 4).await;
    let _next = attended(&host, 2, LONG, Will::default()).await;
    let told = replica.heard("g");
    let (manager, session) = attended(&host, 3, LONG, will("h", &[&replica])).await;
    dies(manager, session);
    // So long that there had been the time for many more.
    until("words about the next", || replica.heard("h") >= 12).await;
    assert_eq!(replica.heard("g"), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_of_another_store_does_not_end_the_telling() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 1);
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&replica])).await;
    dies(manager, session);
    // Said once the session is over: until then, the plugin is not another store's to attend.
    until("a word", || replica.heard("g") > 0).await;
    let other = host.manager("another", 1).await;
    let _session = other.attend(LONG).await.expect("opened");
    other.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    let told = replica.heard("g");
    until("more words", || replica.heard("g") >= told + 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_new_session_ended_or_was_released_or_names_nobody_is_not_told() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 1);
    let _superseded = attended(&host, 1, LONG, will("superseded", &[&replica])).await;
    let (_second, session) = attended(&host, 2, LONG, will("released", &[&replica])).await;
    // The first call of the second ends the first: until it has opened, that may be told.
    let told = replica.heard("superseded");
    session.release().await;
    session.until("released", |seen| seen.released).await.expect("said");
    session.until_ended().await.expect("ends");
    let (third, session) = attended(&host, 3, LONG, will("nobody", &[])).await;
    dies(third, session);
    until("the tasks to end", || host.journal.alive() == 0).await;
    for _ in 0..3 {
        other_words(&host, &replica).await;
    }
    assert_eq!(replica.heard("superseded"), told);
    let grants: Vec<_> = replica.words().into_iter().map(|word| word.said.grant).collect();
    assert!(!grants.iter().any(|grant| grant == "released" || grant == "nobody"), "{grants:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_release_that_the_manager_did_not_live_to_hear_of_is_told() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 2);
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&replica])).await;
    one_blocks(&host, &manager).await;
    let handle = host.journal.handle("a");
    session.release().await;
    until("the wish to arrive", || handle.permit().is_err()).await;
    dies(manager, session);
    host.journal.unblock();
    until("the word", || replica.heard("g") > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_endpoint_that_cannot_be_read_leaves_the_others() {
    let host = Host::start();
    let replica = Replica::start(&host.journal, 2);
    let mut left = will("g", &[&replica]);
    left.endpoints.insert(0, "ftp://nowhere".to_owned());
    let (manager, session) = attended(&host, 1, LONG, left).await;
    dies(manager, session);
    until("the word", || replica.heard("g") > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_who_has_a_certificate_of_the_authority_in_the_will_gets_the_token() {
    let host = Host::start();
    let (ca, forged) = (Ca::new(), Ca::new());
    let replica = Replica::start_tls(&host.journal, 1, &ca.issue(&["127.0.0.1"])).await;
    let impostor = Replica::start_tls(&host.journal, 1, &forged.issue(&["127.0.0.1"])).await;
    let left = Will { ca_pem: ca.pem().into(), ..will("g", &[&impostor, &replica]) };
    let (manager, session) = attended(&host, 1, LONG, left).await;
    dies(manager, session);
    until("the words", || replica.heard("g") >= 4).await;
    assert_eq!(impostor.heard("g"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_authority_that_cannot_be_read_leaves_the_replicas_on_this_host() {
    let host = Host::start();
    let near = Replica::start(&host.journal, 1);
    let far = Replica::start_tls(&host.journal, 1, &Ca::new().issue(&["127.0.0.1"])).await;
    let left = Will { ca_pem: "no certificate".into(), ..will("g", &[&far, &near]) };
    let (manager, session) = attended(&host, 1, LONG, left).await;
    dies(manager, session);
    until("the words", || near.heard("g") >= 4).await;
    assert_eq!(far.heard("g"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plugin_that_is_stopped_just_then_tells_before_it_ends() {
    let host = Host::start();
    let mut replica = Replica::absent(&host.journal, 2);
    let (manager, session) = attended(&host, 1, LONG, will("g", &[&replica])).await;
    dies(manager, session);
    until("the tasks to end", || host.journal.alive() == 0).await;
    host.shutdown.cancel();
    replica.serve();
    until("the word", || replica.heard("g") > 0).await;
    let Host { served, .. } = host;
    tokio::time::timeout(PATIENCE, served).await.expect("in time").expect("no panic").expect("no error");
}
