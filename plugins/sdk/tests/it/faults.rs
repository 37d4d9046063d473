//! A service whose plugin code misbehaves harms nobody else.

use std::sync::atomic::Ordering;

use om_api::Reason;
use om_api::v1::Phase;
use om_plugin_sdk::testing::Seen;

use crate::commits::attended;
use crate::support::{Host, LONG, refused, until};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_panics_fails_is_tried_again_and_the_others_go_on() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "good", "{}", 2, b"").await.expect("accepted");
    manager.commit("probe", "mad", r#"{"mode": "panic"}"#, 3, b"").await.expect("accepted");
    let status = session.until_phase("mad", Phase::Failed).await.expect("said");
    assert!(status.message.contains("look_after of mad is mad"), "{status:?}");
    until("more tries", || host.journal.begun.load(Ordering::SeqCst) >= 5).await;
    let acts = host.journal.count("good", 1);
    until("the good one to go on", || host.journal.count("good", 1) > acts + 5).await;
    // A corrected declaration is taken up at once, whatever the back-off.
    manager.commit("probe", "mad", "{}", 4, b"").await.expect("accepted");
    session.until_phase("mad", Phase::Ready).await.expect("made");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_is_failed_with_its_reason() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "fail"}"#, 2, b"").await.expect("accepted");
    let status = session.until_phase("a", Phase::Failed).await.expect("said");
    assert_eq!((status.message.as_str(), status.revision), ("it does not work", 2));
    manager.commit("probe", "b", r#"{"mode": "return"}"#, 3, b"").await.expect("accepted");
    let status = session.until_phase("b", Phase::Failed).await.expect("said");
    assert!(status.message.contains("stopped looking after it"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_blocks_is_reported_and_holds_up_only_itself() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "good", "{}", 2, b"").await.expect("accepted");
    session.until_phase("good", Phase::Ready).await.expect("made");
    let begun = host.journal.begun.load(Ordering::SeqCst);
    manager.commit("probe", "stuck", r#"{"mode": "block"}"#, 3, b"").await.expect("accepted");
    until("it to block", || host.journal.begun.load(Ordering::SeqCst) > begun).await;

    let error = refused(manager.free("stuck").await, Reason::PluginFailed);
    assert!(error.message.contains("does not stop"), "{error}");
    // Declared again, it waits for its own earlier task.
    manager.commit("probe", "stuck", "{}", 4, b"").await.expect("accepted");
    let waits = |seen: &Seen| {
        let status = seen.statuses.get("stuck").filter(|status| status.revision == 4);
        status.is_some_and(|status| status.message.contains("waits for an earlier task"))
    };
    session.until("it to wait", waits).await.expect("said");

    // A new leader is not held up by it.
    let next = manager.at(2);
    let session = next.attend(LONG).await.expect("opened");
    next.commit("probe", "good", "{}", 2, b"").await.expect("accepted");
    next.commit("probe", "stuck", "{}", 4, b"").await.expect("accepted");
    session.until_phase("good", Phase::Ready).await.expect("made");
    until("the good one to act", || host.journal.count("good", 2) > 3).await;
    assert_eq!(host.journal.count("stuck", 2), 0);
    assert!(!session.seen().stopped, "the stuck one has not");

    host.journal.unblock();
    session.until("stopped", |seen| seen.stopped).await.expect("said");
    session.until_phase("stuck", Phase::Ready).await.expect("made");
    until("its acts", || host.journal.count("stuck", 2) > 3).await;
    assert_eq!(host.journal.count("stuck", 1), 0, "what woke up late had no permit");
}
