//! The campaign's judge, made of the store: who grants terms, and by what a reign rules.

mod election;
mod plain;
mod writes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use om_leadership::OfficeError;
use om_store::{Error, Store, Token};
use tracing::{info, warn};

pub(crate) use election::ElectionOffice;
pub(crate) use plain::StoreOffice;
pub(crate) use writes::Writes;

use crate::reign::{End, Opening};

/// What is known of the authority of earlier leaders when a term is granted, beside what their plugins say themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// The leader before said that everything has stopped, or there was none.
    Stopped,
    /// It is over a whole authority after the claim.
    Unknown,
    /// It is over at this moment of the clock.
    Until(Duration),
}

/// By what a reign rules.
#[derive(Clone)]
pub(crate) struct Granted {
    pub(crate) token: Token,
    pub(crate) before: Before,
    /// What was to be written with the claim.
    pub(crate) opening: Option<Arc<Opening>>,
}

/// Makes up what a reign begins with.
pub(crate) type MakeOpening = Arc<dyn Fn(bool) -> Result<Opening, Error> + Send + Sync>;

/// What the newest term that was granted here rests on.
#[derive(Default)]
pub(crate) struct Newest(Mutex<Option<Granted>>);

impl Newest {
    fn set(&self, granted: Granted) {
        *self.lock() = Some(granted);
    }

    fn get(&self, term: u64) -> Option<Granted> {
        self.lock().clone().filter(|granted| granted.token.term().0 == term)
    }

    /// Gives a term up: it is no longer confirmed, so the campaign ends it, and claims anew after a while.
    fn forfeit(&self, term: u64) {
        self.lock().take_if(|granted| granted.token.term().0 == term);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Granted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the succession needs of an office.
#[async_trait]
pub(crate) trait Bench: om_leadership::Office {
    /// Says how to make up what a reign begins with; `stopped`: everything has that was done before. Where it
    /// can, the office has it written with the claim.
    fn open_with(&self, _: MakeOpening) {}

    /// What `term` rests on, if that is the newest term that was granted here.
    fn granted(&self, term: u64) -> Option<Granted>;

    /// Gives a term up.
    fn forfeit(&self, term: u64);

    /// A reign has ended: tells whoever is to know.
    async fn ended(&self, end: End);
}

/// How long the store may take for a release.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// Records that everything has stopped that was done under a claim, so that the next leader need not wait.
async fn release(store: &dyn Store, token: Token, successor: Option<&str>) {
    let term = token.term().0;
    match tokio::time::timeout(RELEASE_PATIENCE, store.release(token, successor)).await {
        Ok(Ok(())) => info!(term, successor, "freed; the claim is released"),
        Ok(Err(error)) => info!(term, %error, "freed"),
        Err(_) => warn!(term, "freed; the store does not take the release"),
    }
}

/// What a store's error means for a candidate.
fn judge(error: Error) -> OfficeError {
    match error {
        Error::Fenced { .. } | Error::Outrun { .. } => OfficeError::Fenced(error.to_string()),
        Error::Corrupt { .. } | Error::NewerFormat { .. } | Error::WentBack { .. } => {
            warn!(%error, "cannot lead: the state is not touched");
            OfficeError::Refused(error.to_string())
        }
        other => OfficeError::Unavailable(other.to_string()),
    }
}

fn not_held(term: u64) -> OfficeError {
    OfficeError::Fenced(format!("term {term} is not held here"))
}
