//! A term that is over is refused everywhere; terms of two stores are not compared.

use om_api::v1;
use om_plugin_sdk::testing::{Manager, declaration};

use crate::support::{Host, LONG, SHORT, fenced, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_term_is_refused_on_each_method() {
    let host = Host::start();
    let leader = host.manager("x", 5).await;
    let session = leader.attend(LONG).await.expect("opened");
    leader.commit("probe", "a", "{}", 1, b"").await.expect("accepted");

    let old = leader.at(4);
    let mut client = old.client.clone();
    let over = |error: om_api::Error| assert!(error.message.contains("term 4 is over"), "{error}");
    over(fenced(client.handshake(old.stamped(v1::HandshakeRequest::default())).await));
    over(fenced(old.attend(LONG).await.map(drop)));
    over(fenced(old.commit("probe", "a", "{}", 2, b"").await));
    over(fenced(old.plan("probe", "a", "{}").await));
    over(fenced(old.free("a").await));
    over(fenced(old.destroy("probe", "a", "{}", b"").await));
    over(fenced(old.describe("a").await));
    over(fenced(client.list(old.stamped(v1::ListRequest::default())).await));
    over(fenced(client.watch(old.stamped(v1::WatchRequest::default())).await.map(drop)));
    over(fenced(old.run("a", "count", &[("n", "1")]).await));
    over(fenced(old.run("a", "work", &[("n", "1")]).await));
    assert!(session.seen().ended.is_none(), "the leader is not disturbed");
    assert_eq!(leader.describe("a").await.expect("there").summary.expect("filled").revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_term_on_any_call_ends_the_lower_ones_session() {
    let host = Host::start();
    let old = host.manager("x", 5).await;
    let session = old.attend(LONG).await.expect("opened");
    old.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    let new = old.at(6);
    new.client.clone().handshake(new.stamped(v1::HandshakeRequest::default())).await.expect("answered");
    fenced::<()>(Err(session.until_ended().await.expect("ends").expect("with a reason")));
    fenced(old.commit("probe", "a", "{}", 2, b"").await);
    fenced(old.attend(LONG).await.map(drop));
    new.attend(LONG).await.expect("opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_term_reads_and_does_not_change() {
    let host = Host::start();
    let leader = host.manager("x", 5).await;
    let _session = leader.attend(LONG).await.expect("opened");
    leader.commit("probe", "a", "{}", 1, b"").await.expect("accepted");

    let mut client = leader.client.clone();
    let named = || v1::DescribeRequest { name: "a".to_owned() };
    client.describe(named()).await.expect("a read");
    client.list(v1::ListRequest::default()).await.expect("a read");
    client.watch(v1::WatchRequest::default()).await.expect("a read");
    let service = Some(declaration("probe", "b", "{}"));
    let dry = v1::CommitRequest { service: service.clone(), dry_run: true, ..Default::default() };
    client.commit(dry).await.expect("a dry run changes nothing");

    let hinted = |error: om_api::Error| assert!(error.hint.contains("through its manager"), "{error:?}");
    let wet = v1::CommitRequest { service: service.clone(), revision: 2, ..Default::default() };
    hinted(fenced(client.commit(wet).await));
    hinted(fenced(client.free(v1::FreeRequest { name: "a".to_owned(), ..Default::default() }).await));
    hinted(fenced(
        client.destroy(v1::DestroyRequest { name: "a".to_owned(), service, ..Default::default() }).await,
    ));
    let args = [("n".to_owned(), "1".to_owned())].into();
    let work = v1::RunRequest { name: "a".to_owned(), action: "work".to_owned(), args, ..Default::default() };
    hinted(fenced(client.run(work.clone()).await.map(drop)));
    client.run(v1::RunRequest { action: "count".to_owned(), ..work }).await.expect("a reading action");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_a_session_of_its_own_term_and_store() {
    let host = Host::start();
    let first = host.manager("x", 5).await;
    let error = fenced(first.commit("probe", "a", "{}", 1, b"").await);
    assert!(error.message.contains("nobody attends"), "{error}");
    let session = first.attend(LONG).await.expect("opened");
    let stranger = Manager { cluster: "y".to_owned(), ..first.clone() };
    let error = fenced(stranger.commit("probe", "a", "{}", 1, b"").await);
    assert!(error.message.contains("another store"), "{error}");
    assert!(session.seen().ended.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stores_manager_waits_until_the_authority_has_ended() {
    let host = Host::start();
    let first = host.manager("x", 5).await;
    let session = first.attend(SHORT).await.expect("opened");
    first.commit("probe", "a", "{}", 1, b"").await.expect("accepted");

    let other = host.manager("y", 1).await;
    let error = fenced(other.attend(LONG).await.map(drop));
    assert!(error.message.contains("attended by another store's manager"), "{error}");
    session.fall_silent();
    session.until_ended().await.expect("ends");
    let _taken = other.attend(LONG).await.expect("a store of its own counts its own terms");
    other.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    until("an act", || host.journal.count("a", 1) > 0).await;
    fenced(first.attend(LONG).await.map(drop));
}
