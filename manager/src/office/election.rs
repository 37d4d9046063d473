//! An office whose terms are won in an election: it claims by the election's warrant, and confirms by its promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use om_kv::layout::Layout;
use om_leadership::election::{ElectionDetector, Guard, Warrant};
use om_leadership::{Office, OfficeError};
use om_store::kv::{Grounds, KvStore};
use om_store::{Candidate, Store, Term};

use super::plain::tell;
use super::{Before, Bench, Granted, Newest, judge, not_held};

/// Grants terms by claiming the store on the grounds of the election.
pub(crate) struct ElectionOffice {
    store: Arc<KvStore>,
    election: Arc<ElectionDetector>,
    layout: Layout,
    candidate: Candidate,
    instance: String,
    newest: Newest,
}

impl ElectionOffice {
    pub(crate) fn new(
        store: Arc<KvStore>,
        election: Arc<ElectionDetector>,
        layout: Layout,
        candidate: Candidate,
        instance: String,
    ) -> Self {
        Self { store, election, layout, candidate, instance, newest: Newest::default() }
    }

    fn grounds(&self, warrant: &Warrant) -> Result<Grounds, OfficeError> {
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
        })
    }
}

#[async_trait]
impl Office for ElectionOffice {
    async fn claim(&self) -> Result<u64, OfficeError> {
        let bid = self.election.bid().await;
        let bid =
            bid.ok_or_else(|| OfficeError::Unavailable("the election gives no right to claim".into()))?;
        self.store.stand_on(Some(self.grounds(bid.warrant())?));
        let token = self.store.claim(&self.candidate, Term(bid.warrant().term)).await.map_err(judge)?;
        let term = token.term().0;
        // What the leader before released, and what the store knows of it, says itself that everything has stopped.
        let before = bid.won(term).await.map_or(Before::Unknown, Before::Until);
        tell(&*self.store, term);
        self.newest.set(Granted { token, before });
        Ok(term)
    }

    async fn confirm(&self, term: u64) -> Result<Duration, OfficeError> {
        self.newest.get(term).ok_or_else(|| not_held(term))?;
        self.election.confirm(term).await
    }
}

#[async_trait]
impl Bench for ElectionOffice {
    fn granted(&self, term: u64) -> Option<Granted> {
        self.newest.get(term)
    }

    fn forfeit(&self, term: u64) {
        self.newest.forfeit(term);
    }

    async fn ended(&self, term: u64, released: bool) {
        if !released {
            self.election.farewell(term).await;
        }
    }
}
