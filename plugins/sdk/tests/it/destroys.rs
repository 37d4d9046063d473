//! Destroy.

use om_api::Reason;
use om_api::v1::{self, Phase};

use crate::commits::attended;
use crate::support::{Host, refused, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_torn_down_quickly_is_answered_as_done() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "save", "state": "s1"}"#, 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let answer = manager.destroy("probe", "a", "{}", b"older").await.expect("accepted");
    assert!(answer.done, "{answer:?}");
    let whats = host.journal.whats("a");
    assert!(whats.contains(&"destroy with s1".to_owned()), "the newest state: {whats:?}");
    assert_eq!(whats.last().map(String::as_str), Some("gone"), "nothing looked after it meanwhile");
    refused(manager.describe("a").await, Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_an_earlier_session_is_torn_down_by_what_the_manager_knows() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    let answer = manager.destroy("probe", "a", "{}", b"kept").await.expect("accepted");
    assert!(answer.done);
    assert_eq!(host.journal.whats("a"), ["destroy with kept", "gone"]);
    let nameless = v1::DestroyRequest { name: "a".to_owned(), ..Default::default() };
    refused(manager.client.clone().destroy(manager.stamped(nameless)).await, Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_is_asked_after_until_it_is_done() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    let spec = r#"{"destroy": "slow"}"#;
    manager.commit("probe", "a", spec, 3, b"").await.expect("accepted");
    let answer = manager.destroy("probe", "a", spec, b"").await.expect("accepted");
    assert!(!answer.done);
    session.until_phase("a", Phase::Destroying).await.expect("said");
    assert!(!manager.destroy("probe", "a", spec, b"").await.expect("again").done);
    refused(manager.commit("probe", "a", spec, 4, b"").await, Reason::Refused);
    refused(manager.run("a", "toil", &[]).await, Reason::Refused);
    assert_eq!(
        manager.describe("a").await.expect("there").summary.expect("filled").phase(),
        Phase::Destroying
    );
    host.journal.unblock();
    let gone = |seen: &om_plugin_sdk::testing::Seen| seen.statuses["a"].message == "nothing is left of it";
    session.until("the end of it", gone).await.expect("said");
    assert!(manager.destroy("probe", "a", spec, b"").await.expect("again").done);
    assert_eq!(
        host.journal.whats("a").iter().filter(|what| what.starts_with("destroy")).count(),
        1,
        "one run"
    );
    refused(manager.describe("a").await, Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_is_tried_again() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    let spec = r#"{"destroy": "stubborn"}"#;
    let mut answer = manager.destroy("probe", "a", spec, b"").await.expect("accepted");
    let give_up = om_api::clock::since_boot() + om_plugin_sdk::testing::PATIENCE;
    while !answer.done {
        assert!(om_api::clock::since_boot() < give_up, "{answer:?}");
        answer = manager.destroy("probe", "a", spec, b"").await.expect("again");
    }
    assert_eq!(host.journal.whats("a").iter().filter(|what| what.starts_with("destroy")).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tearing_down_ends_with_the_session() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    let spec = r#"{"destroy": "slow"}"#;
    assert!(!manager.destroy("probe", "a", spec, b"").await.expect("accepted").done);
    drop(session);
    until("the task to end", || host.journal.alive() == 0).await;
    host.journal.unblock();
    let _session = manager.attend(crate::support::LONG).await.expect("opened");
    assert!(!host.journal.whats("a").contains(&"gone".to_owned()));
}
