//! The keyspace backend: several replicas on several hosts, and the store where their election is.
//!
//! ```text
//! election/leader            the claim; its mod-revision is the term (om_kv::layout)
//! meta                       the store's identity, made with the first claim
//! tip                        the newest revision
//! journal/<revision>         one entry each
//! part/<revision>/<id>/<n>   an entry that is too large for one value
//! base/<revision>/<n>        the whole state at a revision, in chunks
//! manifest                   which base counts, and from where on the journal is kept
//! ```
//!
//! **One term writes.** Every write is one transaction that compares the leader key's mod-revision with the writer's
//! term. A claim moves it, so whatever a deposed holder sends, whenever it wakes, is refused by the keyspace itself.
//!
//! **Acknowledged is durable.** What the keyspace's transaction answered is on the disks of a majority of its members. An answer
//! that was lost is asked for again, by sending the same transaction, which is applied once (`writer.rs`).
//!
//! **Unreadable is never empty.** Every value is under a checksum; a state is read at one revision of the keyspace, and a key
//! that is missing, cut or changed stops the load, and with it a claim, before anything is written. A keyspace that was
//! wiped or restored from an older backup is told from the one that was seen (`look.rs`).
//!
//! **Why a journal and not a key for each service.** A change of several keys, its precondition and the order of changes
//! have to be kept, and a watch must find every change again in order: a journal entry is all of that in one put, and a
//! load reads one range. With a key for each, a watch over a compaction of the keyspace would lose changes. It costs little:
//! measured beside each other (values of 1.15 kB, three members), one write takes 1.35 ms against 1.27 ms for a fenced
//! put of one key; 5000 that wait together take 0.3 s against 1.9 s, for a hundred share a transaction; a load of 5500
//! takes 39 ms against 24 ms for a bare read of as many keys, and 11 ms from a base.
//!
//! etcd itself keeps every version of every key until it is compacted: run it with `--auto-compaction-retention`, for
//! the other users of a shared etcd would not want it compacted from here.

mod base;
mod claims;
mod errors;
mod follow;
mod keys;
mod load;
mod look;
mod opening;
mod shared;
mod watch;
mod wire;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use om_kv::Keyspace;
use om_kv::layout::Layout;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::keys::Keys;
use self::shared::{Shared, Tuning};
use self::watch::Following;
use self::writer::{Append, QUEUE, Writer};
use crate::{Candidate, Change, Error, Head, Result, Revision, Store, Term, Token, View, Watch};

/// What a claim stands on beside the leader key, as whoever decided to claim has seen it. The claim is made only if all
/// of it still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// The leader key's mod-revision as seen; 0: there was none.
    pub leader_revision: i64,
    /// Keys, and the mod-revision of each as seen; 0: it does not exist.
    pub guards: Vec<(String, i64)>,
    /// What is written in the same transaction.
    pub puts: Vec<(String, Vec<u8>)>,
    /// Identity of the claiming process, for its record.
    pub instance: String,
    /// A change, and the revision of the state that it was made for: written with the claim if that is the newest state
    /// then ([`Token::is_opened`]), else not at all. So a takeover waits for one write and not for two.
    pub opening: Option<(Revision, Change)>,
}

/// A replica's handle on a store in the keyspace.
pub struct KvStore {
    engine: Arc<Engine>,
    grounds: Mutex<Option<Grounds>>,
}

/// What works for a handle, and for its watches as long as there are some.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
    /// Compactions and large writes wait for each other: two compactions would only get in each other's way.
    compacting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    follows: bool,
    writer: Option<mpsc::Sender<Append>>,
}

impl KvStore {
    /// A handle on the store of the group whose keys these are. Touches nothing: the first claim makes the store.
    #[must_use]
    pub fn new(kv: Arc<dyn Keyspace>, layout: &Layout) -> Self {
        Self::tuned(kv, layout, Tuning::default())
    }

    pub(crate) fn tuned(kv: Arc<dyn Keyspace>, layout: &Layout, tuning: Tuning) -> Self {
        let shared = Arc::new(Shared::new(kv, Keys::of(layout), tuning));
        let engine = Engine { shared, tasks: Mutex::default(), compacting: tokio::sync::Mutex::default() };
        Self { engine: Arc::new(engine), grounds: Mutex::default() }
    }

    /// Why nothing that is read there counts any more, if it was found to have gone back behind what was read before.
    #[must_use]
    pub fn went_back(&self) -> Option<String> {
        let known = self.shared().known();
        known.failed.as_ref().filter(|error| matches!(error, Error::WentBack { .. })).map(ToString::to_string)
    }

    /// What the next claim is to stand on, and only the next. Then its `seen` is not looked at, for this says what was
    /// seen. Without grounds a claim reads the leader key itself.
    pub fn stand_on(&self, grounds: Option<Grounds>) {
        *self.grounds.lock().unwrap_or_else(PoisonError::into_inner) = grounds;
    }

    /// From now on nothing is written under this claim but its release: what is still to be sent is refused.
    pub fn retire(&self, token: &Token) {
        self.shared().retire(token.term());
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.engine.shared
    }
}

impl Engine {
    fn tasks(&self) -> std::sync::MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the journal from now on.
    fn follow(&self) {
        let mut tasks = self.tasks();
        if !std::mem::replace(&mut tasks.follows, true) {
            tasks.running.spawn(follow::follow(self.shared.clone()));
        }
    }

    fn writer(&self) -> mpsc::Sender<Append> {
        let mut tasks = self.tasks();
        if let Some(writer) = &tasks.writer {
            return writer.clone();
        }
        let (sender, appends) = mpsc::channel(QUEUE);
        tasks.running.spawn(Writer::new(self.shared.clone()).run(appends));
        tasks.writer.insert(sender).clone()
    }
}

fn ended() -> Error {
    Error::Unclear("the store's writer has ended".to_owned())
}

#[async_trait]
impl Store for KvStore {
    fn location(&self) -> String {
        format!("{} {}", self.shared().kv, self.shared().keys.root)
    }

    fn view(&self) -> &View {
        &self.engine.shared.view
    }

    async fn head(&self) -> Result<Head> {
        self.shared().look().await.map(|look| look.head())
    }

    async fn load(&self) -> Result<Head> {
        let look = self.shared().load().await?;
        self.engine.follow();
        Ok(look.head())
    }

    async fn claim(&self, candidate: &Candidate, seen: Term) -> Result<Token> {
        let grounds = self.grounds.lock().unwrap_or_else(PoisonError::into_inner).take();
        let token = self.shared().claim(candidate, seen, grounds).await?;
        self.engine.follow();
        Ok(token)
    }

    async fn confirm(&self, token: &Token) -> Result<()> {
        self.shared().confirm(token).await
    }

    async fn release(&self, token: Token, successor: Option<&str>) -> Result<()> {
        self.shared().release(&token, successor).await
    }

    async fn append(&self, token: &Token, change: Change) -> Result<Revision> {
        let (reply, answer) = oneshot::channel();
        let append = Append { term: token.term(), change, reply };
        self.engine.writer().send(append).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn compact(&self, token: &Token, keep: u64) -> Result<Revision> {
        let _alone = self.engine.compacting.lock().await;
        self.shared().compact(token.term(), keep).await
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        if !self.shared().known().loaded {
            self.shared().load().await?;
        }
        self.engine.follow();
        Ok(Box::pin(Following::start(self.engine.clone(), after).await?))
    }
}

#[cfg(test)]
mod tests;
