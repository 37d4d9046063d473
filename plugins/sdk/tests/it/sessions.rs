//! One session at a time, and nothing of an earlier one beside it.

use om_api::v1;
use om_plugin_sdk::testing::Manager;

use crate::support::{Host, LONG, fenced, until};

async fn acting(host: &Host, manager: &Manager, services: &[&str]) {
    for service in services {
        manager.commit("probe", service, "{}", 1, b"").await.expect("accepted");
    }
    for service in services {
        until("an act", || host.journal.count(service, manager.term) > 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_says_who_is_here() {
    let host = Host::start();
    let mut client = host.manager("x", 1).await.client;
    let hello = client.handshake(v1::HandshakeRequest::default()).await.expect("answered").into_inner();
    assert_eq!((hello.protocol.as_str(), hello.role()), ("om.v1", v1::Role::Plugin));
    assert_eq!(
        (hello.name.as_str(), hello.version.as_str(), hello.host.as_str()),
        ("probe", "1.2.3", "here")
    );
    assert!(!hello.instance.is_empty());
    assert_eq!(hello.kinds[0].name, "probe");
    let again = client.handshake(v1::HandshakeRequest::default()).await.expect("answered").into_inner();
    assert_eq!(again.instance, hello.instance, "the same process");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_old_session_acts_after_the_new_one_is_opened() {
    let host = Host::start();
    let old = host.manager("x", 1).await;
    let old_session = old.attend(LONG).await.expect("opened");
    acting(&host, &old, &["a", "b", "c"]).await;

    let new = old.at(2);
    let new_session = new.attend(LONG).await.expect("opened");
    let acts_at_opened = host.journal.acts().len();
    let left_over = host.journal.handle("a");
    assert!(left_over.permit().is_err(), "a handle that the plugin kept is of no use");

    new_session.until("stopped", |seen| seen.stopped).await.expect("said");
    assert_eq!(host.journal.alive(), 0, "every task was dropped before");
    let end = old_session.until_ended().await.expect("ends").expect("with a reason");
    fenced::<()>(Err(end));
    acting(&host, &new, &["a"]).await;
    let later = &host.journal.acts()[acts_at_opened..];
    assert!(later.iter().all(|act| act.term == 2), "{later:?}");
    assert!(left_over.permit().is_err(), "not even while another session looks after it");
    assert!(left_over.save("x").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_reconnects_replaces_its_own_session() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let first = manager.attend(LONG).await.expect("opened");
    acting(&host, &manager, &["a"]).await;
    let second = manager.attend(LONG).await.expect("opened again");
    second.until("stopped", |seen| seen.stopped).await.expect("said");
    assert_eq!(host.journal.alive(), 0);
    assert_eq!(second.opened.instance, first.opened.instance);
    fenced::<()>(Err(first.until_ended().await.expect("ends").expect("with a reason")));
    acting(&host, &manager, &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_goes_away_leaves_nothing_steered() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(LONG).await.expect("opened");
    acting(&host, &manager, &["a", "b"]).await;
    drop(session);
    until("the tasks to end", || host.journal.alive() == 0).await;
    assert!(host.journal.handle("a").permit().is_err());
    fenced(manager.commit("probe", "a", "{}", 2, b"").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_answered_when_everything_has_stopped() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(LONG).await.expect("opened");
    acting(&host, &manager, &["a", "b"]).await;
    session.release().await;
    session.until("released", |seen| seen.released).await.expect("said");
    assert_eq!(host.journal.alive(), 0);
    assert!(session.until_ended().await.expect("ends").is_none(), "without an error");
    fenced(manager.commit("probe", "a", "{}", 2, b"").await);
    // The same term may come back.
    let again = manager.attend(LONG).await.expect("opened");
    again.until("stopped", |seen| seen.stopped).await.expect("said, though they had stopped before");
    acting(&host, &manager, &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_without_term_store_or_authority_is_refused() {
    let host = Host::start();
    let manager = host.manager("x", 0).await;
    let status = manager.attend(LONG).await.err().expect("no term");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let status = manager.at(1).attend(std::time::Duration::ZERO).await.err().expect("no authority");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let nameless = Manager { cluster: String::new(), ..manager.at(1) };
    assert_eq!(nameless.attend(LONG).await.err().expect("no store").code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_many_quick_takeovers_terms_only_ever_grow() {
    const SERVICES: usize = 10;
    let host = Host::start();
    let first = host.manager("x", 1).await;
    let mut sessions = Vec::new();
    for term in 1..=60 {
        let manager = first.at(term);
        // Every leader commits at once, while the one before still believes in itself.
        let session = manager.attend(LONG).await.expect("opened");
        for n in 0..SERVICES {
            manager.commit("probe", &format!("s{n}"), "{}", term, b"").await.expect("accepted");
        }
        if term > 1 {
            let deposed = first.at(term - 1);
            fenced(deposed.commit("probe", "s0", "{}", term + 1, b"").await);
        }
        if term % 3 == 0 {
            until("an act of this term", || host.journal.count("s0", term) > 0).await;
        }
        sessions.push(session);
    }
    until("an act of the last term", || host.journal.count("s0", 60) > 0).await;
    let terms: Vec<_> = host.journal.acts().into_iter().map(|act| act.term).collect();
    assert!(terms.is_sorted(), "an older term acted after a newer one: {terms:?}");
    assert_eq!(host.journal.alive(), SERVICES);
}
