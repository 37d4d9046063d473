//! Everything that only a leader does, as one value.
//!
//! A [`Reign`] begins with a confirmed mandate and a fencing token, and owns all that follows from them: the sessions
//! with the plugins, the calls under way, the retries. [`Reign::end`] stops it all, frees every service and waits for
//! the plugins' word. Nothing of it starts anything after the mandate has ended: every task watches the mandate, and
//! every write needs the token.

mod attend;
mod commit;
mod compaction;
mod destroy;
mod forward;
mod free;
mod grants;
mod operations;
mod overseer;
mod requests;
mod restore;
mod sessions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use om_api::Error;
use om_api::clock::{Clock, wall_unix_ms};
use om_leadership::Mandate;
use om_proxy::discovery::Registry;
use om_store::{Change, Revision, Store, Token};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::board::Board;
use crate::errors;
use crate::locks::Locks;
use crate::records::{FREED, REIGN, ReignRecord, SERVICES, Stored, key};

pub(crate) use operations::unknown_action;
pub(crate) use sessions::{Session, why_not};

/// How long a call to a plugin may take before the service is called pending.
const PLUGIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of a reign waits for the plugins' word that they have stopped.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// What a reign needs of the replica.
#[derive(Clone)]
pub(crate) struct Realm {
    /// The replica's name.
    pub(crate) name: String,
    /// Where it serves.
    pub(crate) endpoint: String,
    /// This host's identity.
    pub(crate) host: String,
    /// The longest authority that is handed to a plugin.
    pub(crate) authority: Duration,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
}

/// One reign. Clones share it.
#[derive(Clone)]
pub(crate) struct Reign(Arc<Inner>);

struct Inner {
    realm: Realm,
    mandate: Mandate,
    token: Token,
    board: Board,
    locks: Locks,
    sessions: sessions::Sessions,
    grants: grants::Grants,
    requests: requests::Requests,
    retries: forward::Retries,
    tearing: destroy::Tearing,
    /// Cancelled when the reign is to end: by the mandate, or by `end`.
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Reign {
    /// Begins to rule: records the term, attends the plugins, commits every stored service.
    ///
    /// # Errors
    /// If the store refuses the first write. The reign has not begun then.
    pub(crate) async fn begin(realm: Realm, mandate: Mandate, token: Token) -> Result<Self, om_store::Error> {
        let over = mandate.ended().child_token();
        let record = ReignRecord { manager: realm.name.clone(), endpoint: realm.endpoint.clone() };
        let grants = grants::Grants::inherit(&realm, &token)?;
        let requests = requests::Requests::inherit(realm.store.view());
        let reign = Self(Arc::new(Inner {
            board: Board::new(),
            locks: Locks::default(),
            sessions: sessions::Sessions::default(),
            grants,
            requests,
            retries: forward::Retries::default(),
            tearing: destroy::Tearing::default(),
            over,
            tasks: TaskTracker::new(),
            realm,
            mandate,
            token,
        }));
        let change = Change::at(wall_unix_ms()).put(REIGN, record.encode_to_vec());
        let change = reign.0.grants.swept(reign.interrupted_operations(change));
        reign.append(change).await?;
        info!(term = reign.term(), "reign begins");
        // At the end of the reign it asks each plugin to stop, and waits for its word.
        reign.to_the_end(overseer::oversee(reign.clone()));
        reign.spawn(grants::discharge(reign.clone()));
        reign.spawn(compaction::compact_now_and_then(reign.clone()));
        Ok(reign)
    }

    pub(crate) fn term(&self) -> u64 {
        self.0.mandate.term()
    }

    pub(crate) fn cluster(&self) -> &str {
        self.0.token.cluster()
    }

    /// Whether this replica may act as the leader right now.
    pub(crate) fn holds(&self) -> bool {
        !self.0.over.is_cancelled() && self.0.mandate.remaining().is_some()
    }

    /// Cancelled when the reign is over.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.0.over
    }

    pub(crate) fn board(&self) -> &Board {
        &self.0.board
    }

    pub(crate) fn sessions(&self) -> &sessions::Sessions {
        &self.0.sessions
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.realm.store
    }

    /// Runs a task that the end of the reign does not cut, but waits for: it must watch [`Reign::over`] itself.
    pub(crate) fn to_the_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    /// Runs a task that ends with the reign at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let over = self.0.over.clone();
        self.0.tasks.spawn(async move { over.run_until_cancelled_owned(task).await });
    }

    /// Does something to its end even if the caller goes away, but not beyond the reign.
    pub(crate) async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let over = self.0.over.clone();
        let task = self.0.tasks.spawn(async move { over.run_until_cancelled_owned(work).await });
        match task.await {
            Ok(Some(done)) => done,
            Ok(None) => Err(Error::new(
                om_api::Reason::Unclear,
                "leadership was lost while the call was under way".to_owned(),
            )
            .hint("repeat the call with the same request id: it takes effect once")),
            Err(panic) => {
                Err(Error::new(om_api::Reason::PluginFailed, format!("the call broke down: {panic}")))
            }
        }
    }

    /// Writes under this reign's fence.
    async fn append(&self, change: Change) -> Result<Revision, om_store::Error> {
        let written = self.0.realm.store.append(&self.0.token, change).await;
        if let Err(error @ om_store::Error::Fenced { .. }) = &written {
            warn!(%error, "a write was refused: this reign is over");
            self.0.over.cancel();
        }
        written
    }

    /// A declared service.
    pub(crate) fn service(&self, name: &str) -> Result<Option<Stored>, Error> {
        self.read(&key(SERVICES, name))
    }

    /// Whether a service was freed and never destroyed.
    pub(crate) fn is_freed(&self, name: &str) -> bool {
        self.freed(name).is_ok_and(|freed| freed.is_some())
    }

    /// A service that was freed and never destroyed.
    fn freed(&self, name: &str) -> Result<Option<Stored>, Error> {
        self.read(&key(FREED, name))
    }

    fn read(&self, key: &str) -> Result<Option<Stored>, Error> {
        let record = self.0.realm.store.view().get(key);
        record.map(|record| Stored::read(key, &record)).transpose().map_err(|error| errors::of_store(&error))
    }

    /// Ends the reign: calls under way are cancelled, every service is freed, and if all plugins said that they have
    /// stopped, the claim is released, so that the next leader need not wait.
    pub(crate) async fn end(self) {
        let services = self.0.realm.store.view().count(SERVICES);
        info!(term = self.term(), services, "freeing every service");
        self.0.over.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(RELEASE_PATIENCE + Duration::from_secs(1), self.0.tasks.wait()).await.is_err()
        {
            warn!("a task of the reign that ended does not stop; its writes are fenced");
        }
        if !self.0.grants.all_returned() {
            info!(
                term = self.term(),
                "not every plugin said that it stopped; its authority runs out by itself"
            );
            return;
        }
        let released = self.0.realm.store.release(self.0.token.clone(), None);
        match tokio::time::timeout(RELEASE_PATIENCE, released).await {
            Ok(Ok(())) => info!(term = self.term(), "freed; the claim is released"),
            Ok(Err(error)) => info!(term = self.term(), %error, "freed"),
            Err(_) => warn!(term = self.term(), "freed; the store does not take the release"),
        }
    }
}
