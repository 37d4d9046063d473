//! A plugin acts only while its authority is renewed, and stops by itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{Host, LONG, OneThread, SHORT, fenced, until};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_steered_before_the_first_renewal() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend_silently(SHORT).await.expect("opened");
    let error = fenced(manager.commit("probe", "a", "{}", 1, b"").await);
    assert!(error.message.contains("not confirmed in time"), "{error}");
    let end = session.until_ended().await.expect("ends").expect("with a reason");
    let error = fenced::<()>(Err(end));
    assert!(error.message.contains("not confirmed in time"), "{error}");
    assert!(host.journal.acts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_without_any_message_stops_everything() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(SHORT).await.expect("opened");
    manager.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    until("an act", || host.journal.count("a", 1) > 0).await;
    let handle = host.journal.handle("a");
    session.fall_silent();
    let end = session.until_ended().await.expect("ends").expect("with a reason");
    let error = fenced::<()>(Err(end));
    assert!(error.message.contains("not renewed before its deadline"), "{error}");
    assert_eq!(host.journal.alive(), 0, "dropped before the session is closed");
    assert!(handle.permit().is_err());
    assert!(handle.save("s").await.is_err());
    fenced(manager.commit("probe", "b", "{}", 1, b"").await);
    // The same manager attends anew, and the old handle stays dead.
    let _again = manager.attend(LONG).await.expect("opened");
    manager.commit("probe", "b", "{}", 1, b"").await.expect("accepted");
    assert!(handle.permit().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_keep_it_going_past_many_deadlines() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(Duration::from_secs(3)).await.expect("opened");
    manager.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    // Three asks an authority: 7 of them are more than two deadlines.
    session.until("7 asks", |seen| seen.asks >= 7 || seen.ended.is_some()).await.expect("asked");
    assert!(session.seen().ended.is_none(), "{:?}", session.seen().ended);
    host.journal.handle("a").permit().expect("still");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_fills_all_threads_of_its_own_does_not_cost_the_authority() {
    let (front, works) = (OneThread::start(), OneThread::start());
    let host = {
        let front = front.handle();
        let _entered = front.enter();
        Host::start_apart(works.handle())
    };
    let manager = host.manager("x", 1).await;
    let session = manager.attend(Duration::from_secs(3)).await.expect("opened");
    manager.commit("probe", "a", r#"{"mode": "block"}"#, 1, b"").await.expect("accepted");
    until("it to block", || host.journal.begun.load(Ordering::SeqCst) > 0).await;
    // Three asks an authority: 7 of them are more than two deadlines.
    let asks = session.seen().asks;
    session.until("7 asks", |seen| seen.asks >= asks + 7 || seen.ended.is_some()).await.expect("asked");
    assert!(session.seen().ended.is_none(), "{:?}", session.seen().ended);
    host.journal.handle("a").permit().expect("still");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_that_was_answered_may_be_answered_again_for_longer() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let session = manager.attend_silently(minutes(600)).await.expect("opened");
    session.until("an ask", |seen| seen.asks > 0).await.expect("asked");
    session.renew(1, minutes(90)).await;
    manager.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    until("an act", || host.journal.count("a", 1) > 0).await;
    let handle = host.journal.handle("a");
    host.an_hour_passes();
    handle.permit().expect("half an hour is left");
    session.renew(1, minutes(150)).await;
    // Its answer comes after the renewal.
    handle.save("s").await.expect("saved");
    host.an_hour_passes();
    handle.permit().expect("half an hour is left of what was added");
    host.an_hour_passes();
    assert!(handle.permit().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_ends_it_and_no_late_renewal_brings_it_back() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(LONG).await.expect("opened");
    manager.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    until("an act", || host.journal.count("a", 1) > 0).await;
    let handle = host.journal.handle("a");
    handle.permit().expect("held");
    host.an_hour_passes();
    // At once, before any watchdog has looked.
    assert!(handle.permit().is_err());
    let acts = host.journal.acts().len();
    fenced::<()>(Err(session.until_ended().await.expect("ends").expect("with a reason")));
    until("the task to end", || host.journal.alive() == 0).await;
    assert_eq!(host.journal.acts().len(), acts, "no act after the deadline");
    assert!(handle.permit().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_says_none_is_left_ends_it_at_once() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(Duration::from_secs(5)).await.expect("opened");
    manager.commit("probe", "a", "{}", 1, b"").await.expect("accepted");
    session.grant(Duration::ZERO);
    let error = fenced::<()>(Err(session.until_ended().await.expect("ends").expect("with a reason")));
    assert!(error.message.contains("no authority left"), "{error}");
    assert_eq!(host.journal.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_lasts_no_longer_than_the_session_said_at_its_opening() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let session = manager.attend(SHORT).await.expect("opened");
    session.grant(LONG);
    session.until("an ask", |seen| seen.asks > 1 || seen.ended.is_some()).await.expect("asked");
    session.fall_silent();
    let error = fenced::<()>(Err(session.until_ended().await.expect("ends").expect("with a reason")));
    assert!(error.message.contains("deadline"), "{error}");
}
