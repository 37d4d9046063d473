//! An office whose terms are won in an election: it claims by the election's warrant, and confirms by its promises.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use om_kv::layout::Layout;
use om_leadership::election::{ElectionDetector, Guard, Warrant};
use om_leadership::{Office, OfficeError};
use om_store::kv::{Grounds, KvStore};
use om_store::{Candidate, Store, Term};
use tracing::info;

use super::plain::tell;
use super::{Before, Bench, Granted, MakeOpening, Newest, Writes, judge, not_held, release};
use crate::reign::{End, Opening};

/// Grants terms by claiming the store on the grounds of the election.
pub(crate) struct ElectionOffice {
    store: Arc<KvStore>,
    election: Arc<ElectionDetector>,
    layout: Layout,
    candidate: Candidate,
    instance: String,
    writes: Writes,
    newest: Newest,
    open_with: OnceLock<MakeOpening>,
}

impl ElectionOffice {
    pub(crate) fn new(
        store: Arc<KvStore>,
        election: Arc<ElectionDetector>,
        layout: Layout,
        candidate: Candidate,
        instance: String,
        writes: Writes,
    ) -> Self {
        Self {
            store,
            election,
            layout,
            candidate,
            instance,
            writes,
            newest: Newest::default(),
            open_with: OnceLock::new(),
        }
    }

    /// What the reign would begin with, if that can be told before the claim.
    fn opening(&self, warrant: &Warrant) -> Option<Arc<Opening>> {
        let made = self.open_with.get()?(warrant.old_until.is_none());
        // After the claim the same shows again.
        made.inspect_err(|error| tracing::debug!(%error, "what opens the reign is made after the claim"))
            .ok()
            .map(Arc::new)
    }

    fn grounds(&self, warrant: &Warrant, opening: Option<&Opening>) -> Result<Grounds, OfficeError> {
        let key = |guard: &Guard| match guard {
            Guard::Electorate => self.layout.electorate(),
            Guard::Beat => self.layout.beat(),
            Guard::Replica(instance) => self.layout.replica(instance),
        };
        let electorate = serde_json::to_vec(&warrant.electorate());
        let electorate = electorate.map_err(|cause| OfficeError::Unavailable(cause.to_string()))?;
        Ok(Grounds {
            leader_revision: warrant.leader,
            guards: warrant.guards.iter().map(|(guard, revision)| (key(guard), *revision)).collect(),
            puts: vec![(self.layout.electorate(), electorate)],
            instance: self.instance.clone(),
            opening: opening.map(|opening| (opening.revision, opening.change.clone())),
        })
    }
}

#[async_trait]
impl Office for ElectionOffice {
    async fn claim(&self) -> Result<u64, OfficeError> {
        let bid = self.election.bid().await;
        let bid =
            bid.ok_or_else(|| OfficeError::Unavailable("the election gives no right to claim".into()))?;
        let opening = self.opening(bid.warrant());
        self.store.stand_on(Some(self.grounds(bid.warrant(), opening.as_deref())?));
        let token = self.store.claim(&self.candidate, Term(bid.warrant().term)).await.map_err(judge)?;
        let term = token.term().0;
        let stopped = bid.warrant().old_until.is_none();
        let until = bid.won(term).await;
        let before = if stopped { Before::Stopped } else { until.map_or(Before::Unknown, Before::Until) };
        tell(&*self.store, term);
        self.newest.set(Granted { token, before, opening });
        Ok(term)
    }

    async fn confirm(&self, term: u64) -> Result<Duration, OfficeError> {
        self.newest.get(term).ok_or_else(|| not_held(term))?;
        // The election may have seen less of the keyspace than the store has.
        if let Some(why) = self.store.went_back() {
            return Err(OfficeError::Fenced(why));
        }
        self.writes.flow()?;
        self.election.confirm(term).await
    }
}

#[async_trait]
impl Bench for ElectionOffice {
    fn open_with(&self, make: MakeOpening) {
        // Told once, by the succession.
        let _ = self.open_with.set(make);
    }

    fn granted(&self, term: u64) -> Option<Granted> {
        self.newest.get(term)
    }

    fn forfeit(&self, term: u64) {
        self.newest.forfeit(term);
    }

    async fn ended(&self, end: End) {
        let End { token, successor, stopped } = end;
        let (term, successor) = (token.term().0, successor.as_deref());
        if !stopped {
            return self.election.farewell(term).await;
        }
        // What is said cannot be taken back.
        self.store.retire(&token);
        if self.election.bequeath(term, successor).await {
            info!(term, successor, "freed; the claim is bequeathed");
        } else {
            release(&*self.store, token, successor).await;
        }
    }
}
