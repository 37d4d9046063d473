//! Stopping the plugin, and starting it beside another one.

use om_plugin_sdk::testing::PATIENCE;

use crate::commits::attended;
use crate::support::{Host, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_stops_says_released_and_leaves_no_socket() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    until("an act", || host.journal.count("a", 1) > 0).await;
    let mut events =
        manager.client.clone().watch(om_api::v1::WatchRequest::default()).await.expect("a read").into_inner();
    host.shutdown.cancel();
    session.until("released", |seen| seen.released).await.expect("said");
    assert_eq!(host.journal.alive(), 0);
    while events.message().await.is_ok_and(|event| event.is_some()) {}
    drop((manager, session, events));
    let Host { served, socket, .. } = host;
    tokio::time::timeout(PATIENCE, served).await.expect("in time").expect("no panic").expect("no error");
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_does_not_hold_up_the_stop_for_long() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    let mut hanging = manager.start("a", "hang", &[]).await.expect("started");
    host.shutdown.cancel();
    let Host { served, .. } = host;
    tokio::time::timeout(PATIENCE, served).await.expect("in time").expect("no panic").expect("no error");
    assert!(hanging.message().await.is_err(), "cut off, not ended as if done");
    drop(session);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_plugin_does_not_take_a_live_socket() {
    use std::sync::Arc;

    let host = Host::start();
    let options = om_plugin_sdk::Options {
        name: "probe".to_owned(),
        version: String::new(),
        plugins_dir: host.socket.parent().expect("a directory").to_owned(),
        socket_mode: 0o600,
        socket_group: None,
        host: "here".to_owned(),
        clock: om_api::clock::boot(),
    };
    let other = Arc::new(crate::probe::Probe(Arc::default()));
    let refused = om_plugin_sdk::bind(other, &options).err().expect("refused");
    assert!(refused.to_string().contains("already served"), "{refused}");
    host.manager("x", 1).await.attend(crate::support::LONG).await.expect("the first one is not disturbed");
}
