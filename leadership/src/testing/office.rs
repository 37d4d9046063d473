//! An office that grants, hangs and fails as a test tells it to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Office, OfficeError};

/// How the office answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// At once, with yes (a confirmation still only for the newest term).
    Grant,
    /// So too, but after this time.
    Slow(Duration),
    /// Not at all, until the mood changes; then as that says.
    Hang,
    /// With this error.
    Fail(OfficeError),
    /// It panics.
    Panic,
}

/// Does as it is told. Its terms begin at 1.
#[derive(Debug)]
pub struct ScriptedOffice {
    claim: watch::Sender<Mood>,
    confirm: watch::Sender<Mood>,
    newest: AtomicU64,
    claims: AtomicUsize,
    confirms: AtomicUsize,
    lasts: Duration,
}

impl ScriptedOffice {
    /// An office that grants everything, and confirms for `lasts`.
    #[must_use]
    pub fn new(lasts: Duration) -> Self {
        Self {
            claim: watch::Sender::new(Mood::Grant),
            confirm: watch::Sender::new(Mood::Grant),
            newest: AtomicU64::new(0),
            claims: AtomicUsize::new(0),
            confirms: AtomicUsize::new(0),
            lasts,
        }
    }

    /// Answers claims so from now on.
    pub fn on_claim(&self, mood: Mood) {
        self.claim.send_replace(mood);
    }

    /// Answers confirmations so from now on.
    pub fn on_confirm(&self, mood: Mood) {
        self.confirm.send_replace(mood);
    }

    /// Another replica claims: every term granted so far is fenced. Returns the new one.
    pub fn fence(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The newest term.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// How many claims were asked for.
    #[must_use]
    pub fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// How many confirmations were asked for.
    #[must_use]
    pub fn confirms(&self) -> usize {
        self.confirms.load(Ordering::SeqCst)
    }

    async fn in_mood(mood: &watch::Sender<Mood>) -> Result<(), OfficeError> {
        let mut mood = mood.subscribe();
        loop {
            let now = mood.borrow_and_update().clone();
            match now {
                Mood::Grant => return Ok(()),
                Mood::Slow(time) => {
                    tokio::time::sleep(time).await;
                    return Ok(());
                }
                // The sender is owned by the office, which outlives its own calls.
                Mood::Hang => mood.changed().await.unwrap_or_default(),
                Mood::Fail(error) => return Err(error),
                Mood::Panic => panic!("the office was told to panic"),
            }
        }
    }
}

#[async_trait]
impl Office for ScriptedOffice {
    async fn claim(&self) -> Result<u64, OfficeError> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        Self::in_mood(&self.claim).await?;
        Ok(self.newest.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn confirm(&self, term: u64) -> Result<Duration, OfficeError> {
        self.confirms.fetch_add(1, Ordering::SeqCst);
        Self::in_mood(&self.confirm).await?;
        match self.newest() {
            newest if newest > term => Err(OfficeError::Fenced(format!("term {newest} was claimed"))),
            _ => Ok(self.lasts),
        }
    }
}
