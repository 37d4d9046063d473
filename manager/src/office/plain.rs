//! An office that needs nothing but the store: something else names the leader.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use om_leadership::{Office, OfficeError};
use om_store::{Candidate, Store};
use tracing::info;

use super::{Before, Bench, Granted, Newest, Writes, judge, not_held, release};
use crate::records::SERVICES;
use crate::reign::End;

/// Grants terms by claiming the store, and confirms them by asking it.
pub(crate) struct StoreOffice {
    store: Arc<dyn Store>,
    candidate: Candidate,
    writes: Writes,
    newest: Newest,
}

impl StoreOffice {
    /// An office over `store` for `candidate`, whose `writes` come to their end or do not.
    pub(crate) fn new(store: Arc<dyn Store>, candidate: Candidate, writes: Writes) -> Self {
        Self { store, candidate, writes, newest: Newest::default() }
    }
}

#[async_trait]
impl Office for StoreOffice {
    async fn claim(&self) -> Result<u64, OfficeError> {
        let seen = self.store.head().await.map_err(judge)?.term();
        let token = self.store.claim(&self.candidate, seen).await.map_err(judge)?;
        let term = token.term().0;
        tell(&*self.store, term);
        let stopped = token.previous().is_none_or(|claim| claim.released);
        let before = if stopped { Before::Stopped } else { Before::Unknown };
        self.newest.set(Granted { token, before, opening: None });
        Ok(term)
    }

    async fn confirm(&self, term: u64) -> Result<Duration, OfficeError> {
        let granted = self.newest.get(term).ok_or_else(|| not_held(term))?;
        self.writes.flow()?;
        self.store.confirm(&granted.token).await.map_err(judge)?;
        Ok(Duration::from_millis(self.candidate.authority_ms))
    }
}

#[async_trait]
impl Bench for StoreOffice {
    fn granted(&self, term: u64) -> Option<Granted> {
        self.newest.get(term)
    }

    fn forfeit(&self, term: u64) {
        self.newest.forfeit(term);
    }

    async fn ended(&self, end: End) {
        if end.stopped {
            release(&*self.store, end.token, end.successor.as_deref()).await;
        }
    }
}

/// Says what a claim found.
pub(super) fn tell(store: &dyn Store, term: u64) {
    let view = store.view();
    let (revision, services) = (view.revision(), view.count(SERVICES));
    info!(term, revision, services, store = %store.location(), "loaded snapshot");
}
