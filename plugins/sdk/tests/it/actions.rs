//! Run.

use std::sync::atomic::Ordering;
use std::time::Duration;

use om_api::Reason;
use om_api::v1::run_response::Message;

use crate::commits::attended;
use crate::support::{Host, error, refused, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_action_has_its_arguments_typed_and_streams_its_output() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    assert_eq!(
        manager.run("a", "count", &[("n", "3"), ("loud", "true")]).await.expect("done"),
        "0!\n1!\n2!\n"
    );
    let mut pieces = manager.start("a", "count", &[("n", "1")]).await.expect("started");
    let first = pieces.message().await.expect("no error").and_then(|piece| piece.message);
    assert_eq!(first, Some(Message::Progress("counting".to_owned())));
    // It needs no authority, only that the service is known.
    session.release().await;
    session.until("released", |seen| seen.released).await.expect("said");
    assert_eq!(manager.run("a", "count", &[("n", "1")]).await.expect("done"), "0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_run_is_said_with_what_is_allowed() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    refused(manager.run("a", "count", &[]).await, Reason::NotFound);
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    let why = refused(manager.run("a", "cuont", &[]).await, Reason::InvalidAction);
    assert!(why.hint.contains("count, flood"), "{why:?}");
    let why = refused(manager.run("a", "count", &[("m", "1")]).await, Reason::InvalidAction);
    assert!(why.message.contains("it takes") && why.message.contains('n'), "{why}");
    let why = refused(manager.run("a", "count", &[("n", "many")]).await, Reason::InvalidAction);
    assert!(why.message.contains("not a whole number"), "{why}");
    let why = refused(manager.run("a", "count", &[]).await, Reason::InvalidAction);
    assert!(why.message.contains("\"n\" is missing"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_fails_or_panics_ends_its_stream_with_the_error() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    let why = refused(manager.run("a", "count", &[("n", "13")]).await, Reason::PluginFailed);
    assert!(why.message.contains("13 is too many"), "{why}");
    let why = refused(manager.run("a", "burst", &[]).await, Reason::PluginFailed);
    assert!(why.message.contains("the action is mad"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_waits_for_a_slow_reader() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    let mut pieces = manager.start("a", "flood", &[]).await.expect("started");
    let mut still = usize::MAX;
    until("the writer to wait", || {
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut still, host.journal.written.load(Ordering::SeqCst)) == still
    })
    .await;
    assert!(still < 64, "{still} MiB were written though nobody read");
    let mut read = 0;
    while read < 64 * 1024 * 1024 {
        let piece = pieces.message().await.expect("no error").and_then(|piece| piece.message);
        let Some(Message::Output(bytes)) = piece else { panic!("{piece:?}") };
        read += bytes.len();
    }
    assert!(host.journal.written.load(Ordering::SeqCst) > still);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changing_action_runs_under_the_authority_and_is_dropped_with_it() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "mute"}"#, 3, b"").await.expect("accepted");
    manager.run("a", "work", &[("n", "1")]).await.expect("done");
    assert!(host.journal.whats("a").contains(&"work".to_owned()));

    let mut toil = manager.start("a", "toil", &[]).await.expect("started");
    until("it to act", || host.journal.whats("a").iter().filter(|what| *what == "toil").count() > 3).await;
    let next = manager.at(2).attend(crate::support::LONG).await.expect("opened");
    let acts = host.journal.acts().len();
    next.until("stopped", |seen| seen.stopped).await.expect("said");
    assert_eq!(host.journal.alive(), 0, "dropped and joined before");
    let end = loop {
        match toil.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it did not succeed"),
            Err(status) => break error(&status),
        }
    };
    assert_eq!(end.reason, Reason::PluginUnavailable, "interrupted, not failed: {end}");
    assert!(end.message.contains("stopped before it ended"), "{end}");
    next.until("another ask", |seen| seen.asks > 0).await.expect("asked");
    assert_eq!(host.journal.acts().len(), acts);
    drop(session);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_caller_went_away_is_dropped() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "mute"}"#, 3, b"").await.expect("accepted");
    until("it to be looked after", || host.journal.alive() == 1).await;
    let toil = manager.start("a", "toil", &[]).await.expect("started");
    until("it to run", || host.journal.alive() == 2).await;
    drop(toil);
    until("it to be dropped", || host.journal.alive() == 1).await;
}
