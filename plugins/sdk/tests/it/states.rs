//! What a plugin must remember is kept by the manager.

use om_api::MAX_STATE_BYTES;
use om_api::v1::Phase;

use crate::commits::attended;
use crate::support::{Host, LONG, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_saved_before_it_is_acted_upon_and_handed_back_after_a_takeover() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    let spec = r#"{"mode": "save", "state": "s1"}"#;
    manager.commit("probe", "a", spec, 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    assert_eq!(host.journal.whats("a")[..2], ["held ", "saved s1"]);
    let saved = session.saved("a").expect("kept");
    assert_eq!(&saved[..], b"s1");

    let next = manager.at(2);
    let session = next.attend(LONG).await.expect("opened");
    next.commit("probe", "a", spec, 3, &saved).await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let acts = host.journal.acts();
    let first = acts.iter().find(|act| act.service == "a" && act.term == 2).expect("acted");
    assert_eq!(first.what, "held s1");
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_session_the_plugins_own_newer_state_wins() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "save", "state": "s1"}"#, 3, b"s0").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    manager.commit("probe", "a", r#"{"mode": "save", "state": "s2"}"#, 4, b"s0").await.expect("accepted");
    until("the second save", || host.journal.whats("a").iter().any(|what| what == "saved s2")).await;
    let whats = host.journal.whats("a");
    let holds: Vec<_> = whats.iter().filter(|what| what.starts_with("held")).collect();
    assert_eq!(holds, ["held s0", "held s1"]);
    assert_eq!(&host.journal.handle("a").state()[..], b"s2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_save_is_seen_and_what_it_announced_is_not_done() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    session.refuse_saves(Some("the disk is full"));
    manager.commit("probe", "a", r#"{"mode": "save", "state": "s1"}"#, 3, b"").await.expect("accepted");
    let status = session.until_phase("a", Phase::Failed).await.expect("said");
    assert!(status.message.contains("the disk is full"), "{status:?}");
    assert!(!host.journal.whats("a").iter().any(|what| what.starts_with("saved")));
    assert!(host.journal.handle("a").state().is_empty());
    session.refuse_saves(None);
    session.until_phase("a", Phase::Ready).await.expect("tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_state_is_refused_before_it_is_sent() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let handle = host.journal.handle("a");
    let error = handle.save(vec![0; MAX_STATE_BYTES + 1]).await.expect_err("too large");
    assert!(error.0.contains("262144"), "{error}");
    handle.save(vec![7; MAX_STATE_BYTES]).await.expect("just fits");
    assert_eq!(handle.state().len(), MAX_STATE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn saves_of_one_service_are_kept_in_order() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let handle = host.journal.handle("a");
    for n in 0..100 {
        handle.save(format!("{n}")).await.expect("saved");
        assert_eq!(session.saved("a").expect("kept"), format!("{n}"));
        assert_eq!(handle.state(), format!("{n}"));
    }
}
