//! The exam that every detector passes, against the real thing.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Detector, Leadership};

/// How long a change may take to be seen. Generous: the exam is about what is seen, not how fast.
const PATIENCE: Duration = Duration::from_secs(20);
const ME: &str = "me";

/// Moves the thing that a detector looks at.
#[async_trait]
pub trait Harness: Send {
    /// The detector under exam.
    type Detector: Detector;

    /// A detector for the replica `name`.
    async fn start(&mut self, name: &str) -> Self::Detector;

    /// Makes `name` the leader.
    async fn name(&mut self, name: &str);

    /// Makes nobody the leader.
    async fn name_nobody(&mut self);

    /// Makes it impossible to tell.
    async fn blind(&mut self);
}

/// Runs every part of the exam, each with a harness of its own.
///
/// # Panics
/// When the detector fails one, with its name.
pub async fn detector_suite<H: Harness>(mut make: impl FnMut() -> H) {
    it_starts_unknown_or_right(make()).await;
    it_sees_each_change(make()).await;
    it_does_not_repeat_itself(make()).await;
    a_slow_reader_sees_the_newest(make()).await;
    all_readers_see_the_same(make()).await;
    resigning_twice_is_as_once_and_it_goes_on_looking(make()).await;
    dropping_it_closes_the_receiver(make()).await;
}

async fn it_starts_unknown_or_right<H: Harness>(mut harness: H) {
    const EXAM: &str = "it starts unknown or right";
    harness.name(ME).await;
    let detector = harness.start(ME).await;
    let mut seen = detector.leadership();
    let first = seen.borrow_and_update().clone();
    assert!(matches!(first, Leadership::Unknown { .. } | Leadership::Leading), "{EXAM}: {first:?} at first");
    until(EXAM, &mut seen, &leading()).await;
    assert!(!detector.describe().is_empty(), "{EXAM}: it says what it looks at");
}

async fn it_sees_each_change<H: Harness>(mut harness: H) {
    const EXAM: &str = "it sees each change";
    harness.name("other").await;
    let detector = harness.start(ME).await;
    let mut seen = detector.leadership();
    until(EXAM, &mut seen, &following("other")).await;
    harness.name(ME).await;
    until(EXAM, &mut seen, &leading()).await;
    harness.name("third").await;
    until(EXAM, &mut seen, &following("third")).await;
    harness.name_nobody().await;
    until(EXAM, &mut seen, &nobody()).await;
    harness.name(ME).await;
    until(EXAM, &mut seen, &leading()).await;
    harness.blind().await;
    until(EXAM, &mut seen, &unknown()).await;
    harness.name("other").await;
    until(EXAM, &mut seen, &following("other")).await;
}

async fn it_does_not_repeat_itself<H: Harness>(mut harness: H) {
    const EXAM: &str = "it does not repeat itself";
    harness.name(ME).await;
    let detector = harness.start(ME).await;
    let mut seen = detector.leadership();
    until(EXAM, &mut seen, &leading()).await;
    for _ in 0..5 {
        harness.name(ME).await;
        tokio::task::yield_now().await;
    }
    harness.name("other").await;
    let mut last = leading();
    while last != following("other") {
        let new = next(EXAM, &mut seen).await;
        assert_ne!(new, last, "{EXAM}: the same observation twice in a row");
        last = new;
    }
}

async fn a_slow_reader_sees_the_newest<H: Harness>(mut harness: H) {
    const EXAM: &str = "a slow reader sees the newest";
    harness.name_nobody().await;
    let detector = harness.start(ME).await;
    let mut slow = detector.leadership();
    for round in 0..20 {
        harness.name(&format!("other{round}")).await;
    }
    harness.name(ME).await;
    until(EXAM, &mut detector.leadership(), &leading()).await;
    assert_eq!(*slow.borrow_and_update(), leading(), "{EXAM}");
}

async fn all_readers_see_the_same<H: Harness>(mut harness: H) {
    const EXAM: &str = "all readers see the same";
    let detector = harness.start(ME).await;
    let mut early = detector.leadership();
    harness.name(ME).await;
    until(EXAM, &mut early, &leading()).await;
    assert_eq!(*detector.leadership().borrow(), leading(), "{EXAM}: one that came late");
}

async fn resigning_twice_is_as_once_and_it_goes_on_looking<H: Harness>(mut harness: H) {
    const EXAM: &str = "resigning twice is as once and it goes on looking";
    harness.name(ME).await;
    let detector = harness.start(ME).await;
    let mut seen = detector.leadership();
    until(EXAM, &mut seen, &leading()).await;
    for _ in 0..2 {
        let resigned = tokio::time::timeout(PATIENCE, detector.resign()).await;
        assert!(resigned.is_ok(), "{EXAM}: resigning takes too long");
    }
    harness.name("other").await;
    until(EXAM, &mut seen, &following("other")).await;
    harness.name(ME).await;
    until(EXAM, &mut seen, &leading()).await;
}

async fn dropping_it_closes_the_receiver<H: Harness>(mut harness: H) {
    const EXAM: &str = "dropping it closes the receiver";
    harness.name(ME).await;
    let detector = harness.start(ME).await;
    let mut seen = detector.leadership();
    until(EXAM, &mut seen, &leading()).await;
    drop(detector);
    let closed = async { while seen.changed().await.is_ok() {} };
    assert!(tokio::time::timeout(PATIENCE, closed).await.is_ok(), "{EXAM}: it is still open");
}

fn leading() -> Leadership {
    Leadership::Leading
}

fn nobody() -> Leadership {
    Leadership::Following { leader: None }
}

fn following(leader: &str) -> Leadership {
    Leadership::Following { leader: Some(leader.to_owned()) }
}

fn unknown() -> Leadership {
    Leadership::Unknown { why: String::new() }
}

/// Waits until `wanted` is seen; for `Unknown`, whatever the reason, if it has one.
async fn until(exam: &str, seen: &mut watch::Receiver<Leadership>, wanted: &Leadership) {
    let is = |seen: &Leadership| match (seen, wanted) {
        (Leadership::Unknown { why }, Leadership::Unknown { .. }) => !why.is_empty(),
        (seen, wanted) => seen == wanted,
    };
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(is)).await.is_ok_and(|found| found.is_ok());
    assert!(found, "{exam}: {wanted:?} is not seen, but {:?}", *seen.borrow());
}

async fn next(exam: &str, seen: &mut watch::Receiver<Leadership>) -> Leadership {
    let changed = tokio::time::timeout(PATIENCE, seen.changed()).await;
    assert!(changed.is_ok_and(|changed| changed.is_ok()), "{exam}: no change is seen");
    seen.borrow_and_update().clone()
}
