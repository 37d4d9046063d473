//! The campaign's judge, made of the store.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use om_leadership::{Office, OfficeError};
use om_store::{Candidate, Error, Store, Token};
use tracing::{info, warn};

use crate::records::SERVICES;

/// Grants terms by claiming the store, and keeps the token of the newest for the reign.
pub(crate) struct StoreOffice {
    store: Arc<dyn Store>,
    candidate: Candidate,
    newest: Mutex<Option<Token>>,
}

impl StoreOffice {
    /// An office over `store` for `candidate`.
    pub(crate) fn new(store: Arc<dyn Store>, candidate: Candidate) -> Self {
        Self { store, candidate, newest: Mutex::new(None) }
    }

    /// The fencing token of `term`, if that is the newest term that was granted here.
    pub(crate) fn token(&self, term: u64) -> Option<Token> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clone().filter(|token| token.term().0 == term)
    }

    /// Gives a term up: it is no longer confirmed, so the campaign ends it, and claims anew after a while.
    pub(crate) fn forfeit(&self, term: u64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.take_if(|token| token.term().0 == term);
    }
}

#[async_trait]
impl Office for StoreOffice {
    async fn claim(&self) -> Result<u64, OfficeError> {
        let seen = self.store.head().await.map_err(judge)?.term();
        let token = self.store.claim(&self.candidate, seen).await.map_err(judge)?;
        let view = self.store.view();
        let term = token.term().0;
        let (revision, services) = (view.revision(), view.count(SERVICES));
        info!(term, revision, services, store = %self.store.location(), "loaded snapshot");
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(term)
    }

    async fn confirm(&self, term: u64) -> Result<(), OfficeError> {
        let token =
            self.token(term).ok_or_else(|| OfficeError::Fenced(format!("term {term} is not held here")))?;
        self.store.confirm(&token).await.map_err(judge)
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
