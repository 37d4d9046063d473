//! Everything that only a leader does, as one value.
//!
//! A [`Reign`] begins with a confirmed mandate and a fencing token, and owns all that follows from them: the sessions
//! with the plugins, the calls under way, the retries. [`Reign::end`] stops it all, frees every service and waits for
//! the plugins' word. Nothing of it starts anything after the mandate has ended: every task watches the mandate, and
//! every write needs the token.

mod attend;
mod commit;
mod commit_stream;
mod compaction;
mod destroy;
mod forward;
mod free;
mod grants;
mod opening;
mod operations;
mod overseer;
mod requests;
mod restore;
mod sessions;
mod unclear;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use om_api::Error;
use om_api::clock::Clock;
use om_api::socket::Dialer;
use om_leadership::Mandate;
use om_proxy::discovery::Registry;
use om_store::{Change, Revision, Store, Token};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::board::Board;
use crate::errors;
use crate::hub::Hub;
use crate::locks::Locks;
use crate::office::{Before, Granted, Writes};
use crate::records::{FREED, SERVICES, Stored, key};
use crate::wills::{FindHeirs, Wills};

pub(crate) use opening::Opening;
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
    /// The last words of plugins whose leader died.
    pub(crate) wills: Arc<Wills>,
    /// Whom plugins tell if this leader dies; `None`: there is nobody.
    pub(crate) heirs: Option<FindHeirs>,
    pub(crate) clock: Clock,
    /// The way to other programs.
    pub(crate) dialer: Dialer,
    pub(crate) writes: Writes,
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
    hub: Arc<Hub>,
    locks: Locks,
    sessions: sessions::Sessions,
    grants: grants::Grants,
    requests: requests::Requests,
    retries: forward::Retries,
    tearing: destroy::Tearing,
    /// Cancelled when the reign is to end: by the mandate, or by `end`.
    over: CancellationToken,
    tasks: TaskTracker,
    /// The calls under way that change something.
    calls: TaskTracker,
    /// Cancelled when no new call is taken any more.
    closing: CancellationToken,
    /// The replica that is to follow, if one was chosen.
    successor: OnceLock<String>,
}

impl Reign {
    /// Begins to rule: records the term, attends the plugins, commits every stored service.
    ///
    /// # Errors
    /// If the store refuses the first write. The reign has not begun then.
    pub(crate) async fn begin(
        realm: Realm,
        mandate: Mandate,
        granted: Granted,
    ) -> Result<Self, om_store::Error> {
        let over = mandate.ended().child_token();
        let written = granted.opening.clone().filter(|_| granted.token.is_opened());
        let (opening, first) = match written {
            Some(opening) => (Arc::unwrap_or_clone(opening), None),
            None => {
                let opening = Opening::make(&realm, granted.before == Before::Stopped)?;
                let first = opening.change.clone();
                (opening, Some(first))
            }
        };
        let grants = grants::Grants::inherit(&realm, &granted, opening);
        let reign = Self(Arc::new(Inner {
            board: Board::new(realm.store.clone()),
            hub: Hub::new(realm.store.clone()),
            locks: Locks::default(),
            sessions: sessions::Sessions::default(),
            grants,
            requests: requests::Requests::default(),
            retries: forward::Retries::default(),
            tearing: destroy::Tearing::default(),
            over,
            tasks: TaskTracker::new(),
            calls: TaskTracker::new(),
            closing: CancellationToken::new(),
            successor: OnceLock::new(),
            realm,
            mandate,
            token: granted.token,
        }));
        if let Some(first) = first {
            reign.append(first).await?;
        }
        info!(term = reign.term(), "reign begins");
        // At the end of the reign it asks each plugin to stop, and waits for its word.
        reign.to_the_end(overseer::oversee(reign.clone()));
        reign.spawn(grants::discharge(reign.clone()));
        reign.spawn(requests::inherit(reign.clone()));
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

    /// Why no new call is taken, if none is.
    pub(crate) fn closing(&self) -> Option<String> {
        self.0.closing.is_cancelled().then(|| {
            let to = self.0.successor.get().map_or(String::new(), |name| format!(" to {name}"));
            format!("{} is handing over{to}", self.0.realm.name)
        })
    }

    /// Takes no new call, and waits until those under way are over, at most this long. `successor` is to follow.
    pub(crate) async fn close(&self, successor: Option<String>, patience: Duration) {
        if let Some(name) = successor {
            // Chosen once: a second handover of the same reign changes nothing.
            let _ = self.0.successor.set(name);
        }
        self.0.closing.cancel();
        self.0.calls.close();
        if tokio::time::timeout(patience, self.0.calls.wait()).await.is_err() {
            warn!(calls = self.0.calls.len(), "calls that did not end in time are cut");
        }
    }

    /// Cancelled when the reign is over.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.0.over
    }

    pub(crate) fn board(&self) -> &Board {
        &self.0.board
    }

    /// The entries of the store, for watchers.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
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
        let task = self.0.calls.spawn(async move { over.run_until_cancelled_owned(work).await });
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
        let under_way = self.0.realm.writes.begin();
        let written = self.0.realm.store.append(&self.0.token, change).await;
        drop(under_way);
        // Of a state that went back nothing can be written either, for as long as this reign lasts.
        if let Err(error @ (om_store::Error::Fenced { .. } | om_store::Error::WentBack { .. })) = &written {
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

    /// Ends the reign: calls under way are cancelled, and every service is freed.
    pub(crate) async fn end(self) -> End {
        let services = self.0.realm.store.view().count(SERVICES);
        info!(term = self.term(), services, "freeing every service");
        self.0.over.cancel();
        self.0.tasks.close();
        self.0.calls.close();
        let all = async { tokio::join!(self.0.tasks.wait(), self.0.calls.wait()) };
        let ended = tokio::time::timeout(RELEASE_PATIENCE + Duration::from_secs(1), all).await.is_ok();
        if !ended {
            warn!("a task of the reign that ended does not stop; its writes are fenced");
        }
        let returned = self.0.grants.all_returned();
        if !returned {
            info!(
                term = self.term(),
                "not every plugin said that it stopped; its authority runs out by itself"
            );
        }
        let (token, successor) = (self.0.token.clone(), self.0.successor.get().cloned());
        End { token, successor, stopped: ended && returned }
    }
}

/// How a reign ended.
pub(crate) struct End {
    /// The claim that it ruled by.
    pub(crate) token: Token,
    /// The replica that is to follow, if one was chosen.
    pub(crate) successor: Option<String>,
    /// Everything that was done under it has stopped: all plugins said so.
    pub(crate) stopped: bool,
}
