//! Commit and free.

use om_api::Reason;
use om_api::v1::{self, Phase};
use om_plugin_sdk::Report;
use om_plugin_sdk::testing::{Attendance, Manager};

use crate::support::{Host, LONG, refused, until};

pub(crate) async fn attended(host: &Host) -> (Manager, Attendance) {
    let manager = host.manager("x", 1).await;
    let session = manager.attend(LONG).await.expect("opened");
    (manager, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_answered_at_once_and_reported_when_made() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    let answer = manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    assert_eq!((answer.name.as_str(), answer.revision, answer.changed), ("a", 3, true));
    let status = session.until_phase("a", Phase::Ready).await.expect("made");
    assert_eq!((status.revision, status.message.as_str()), (3, "revision 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_has_a_status_soon_also_one_that_reports_nothing() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "mute"}"#, 3, b"").await.expect("accepted");
    let status = session.until_phase("a", Phase::Pending).await.expect("said");
    assert_eq!(status.revision, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_declaration_reaches_the_task_that_runs() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let begun = host.journal.begun.load(std::sync::atomic::Ordering::SeqCst);
    let answer = manager.commit("probe", "a", "{}", 4, b"").await.expect("accepted");
    assert_eq!((answer.revision, answer.changed), (4, true));
    session
        .until("ready at 4", |seen| {
            seen.statuses.get("a").is_some_and(|s| s.revision == 4 && s.phase() == Phase::Ready)
        })
        .await
        .expect("made");
    until("an act on it", || host.journal.whats("a").iter().any(|what| what == "revision 4")).await;
    assert_eq!(host.journal.begun.load(std::sync::atomic::Ordering::SeqCst), begun, "the same task");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_revision_again_changes_nothing_and_an_older_one_is_refused() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let again = manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    assert_eq!((again.revision, again.changed, again.phase()), (3, false, Phase::Ready));
    let error = refused(manager.commit("probe", "a", "{}", 2, b"").await, Reason::RevisionConflict);
    assert_eq!(error.metadata["revision"], "3");
    refused(manager.commit("probe", "b", "{}", 0, b"").await, Reason::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_as_of_an_older_declaration_is_shown_as_pending() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "mute"}"#, 3, b"").await.expect("accepted");
    until("an act", || host.journal.count("a", 1) > 0).await;
    manager.commit("probe", "a", r#"{"mode": "mute"}"#, 4, b"").await.expect("accepted");
    let handle = host.journal.handle("a");
    handle.report_at(3, Report { phase: Phase::Ready, ..Report::default() });
    let pending = |seen: &om_plugin_sdk::testing::Seen| {
        seen.statuses.get("a").is_some_and(|s| s.message.contains("ready as of revision 3"))
    };
    let seen = session.until("the late report", pending).await.expect("said");
    assert_eq!(seen.statuses["a"].phase(), Phase::Pending);
    handle.report_at(4, Report { phase: Phase::Ready, ..Report::default() });
    session.until_phase("a", Phase::Ready).await.expect("said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_plans_or_blames_a_field_and_does_nothing() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let plan = manager.plan("probe", "a", "{}").await.expect("fine");
    assert_eq!((plan.plan, plan.revision, plan.changed), (vec!["make it".to_owned()], 0, true));
    let error = refused(manager.plan("probe", "a", r#"{"state": "bad"}"#).await, Reason::InvalidSpec);
    assert_eq!(error.metadata["field"], "spec.state");
    let error = refused(manager.plan("probe", "a", r#"{"modus": "bad"}"#).await, Reason::InvalidSpec);
    assert_eq!(error.metadata["field"], "spec.modus");
    let error = refused(manager.plan("probe", "a", r#"{"state": "panic"}"#).await, Reason::PluginFailed);
    assert!(error.message.contains("the plan is mad"), "{error}");
    assert!(host.journal.acts().is_empty());
    assert!(manager.describe("a").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_declaration_is_said_with_its_reason() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    let error = refused(manager.commit("prob", "a", "{}", 1, b"").await, Reason::UnknownKind);
    assert_eq!(error.metadata["kind"], "prob");
    assert!(error.message.contains("it knows probe"), "{error}");
    let error = refused(manager.commit("probe", "A", "{}", 1, b"").await, Reason::InvalidSpec);
    assert_eq!(error.metadata["field"], "name");
    let large = " ".repeat(om_api::MAX_SPEC_BYTES + 1);
    let error = refused(manager.plan("probe", "a", &large).await, Reason::InvalidSpec);
    assert_eq!(error.metadata["field"], "spec");
    let empty = v1::CommitRequest { dry_run: true, ..Default::default() };
    refused(manager.client.clone().commit(empty).await, Reason::InvalidSpec);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freed_service_is_left_alone_and_forgotten() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    manager.commit("probe", "b", "{}", 4, b"").await.expect("accepted");
    until("acts", || host.journal.count("a", 1) > 0 && host.journal.count("b", 1) > 0).await;
    let handle = host.journal.handle("a");
    manager.free("a").await.expect("freed");
    let acts = host.journal.count("a", 1);
    assert!(handle.permit().is_err() && handle.save("s").await.is_err());
    refused(manager.describe("a").await, Reason::NotFound);
    manager.free("a").await.expect("again is fine");
    manager.free("never-heard-of").await.expect("so is an unknown one");
    let others = host.journal.count("b", 1);
    until("the other one to go on", || host.journal.count("b", 1) > others + 5).await;
    assert_eq!(host.journal.count("a", 1), acts);
    manager.commit("probe", "a", "{}", 5, b"").await.expect("accepted anew");
    until("acts again", || host.journal.count("a", 1) > acts).await;
}
