//! Keys in the state of a Docker Swarm.
//!
//! All keys of one cluster are in one label of the Swarm's specification, `openmanage.CLUSTER`: compressed, encoded,
//! and swapped by the Swarm's version, so that the rest of the specification, which belongs to others, survives as it
//! is. The label stays small: what is older or larger goes into **pages**, config objects of up to a megabyte that never
//! change, which the label names. So a write costs the same however much there is.
//!
//! | object | what for |
//! | --- | --- |
//! | the label | the newest keys, the names of the pages, the revision |
//! | `om-CLUSTER-page-…` | older and larger keys; see `sweep` for when one is removed |
//! | `om-CLUSTER-lease-…` | a lease; see `lease` |
//! | `om-CLUSTER-bell` | tells other managers at once that something was written; see `poll` |
//!
//! A read asks the Swarm's leader. A leader that is cut off from the others answers until it notices, for up to twenty
//! seconds: so a read can be that old there, though never older than what this handle knew before. What must be certain
//! is proven by a write, which no such leader takes.

mod core;
mod follow;
mod judge;
mod known;
mod lease;
mod membership;
mod names;
mod poll;
mod shelves;
mod sweep;
#[cfg(test)]
mod tests;
mod txn;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use om_kv::{Error, Found, Granted, Keyspace, Range, Result, Txn, TxnAnswer, Watching};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::core::{Core, Effort, Failed};
use self::follow::Follow;
use self::judge::Fate;
use crate::engine::Engine;
use crate::state::{Shelf, State};

/// How a [`SwarmKeyspace`] goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmOptions {
    /// How long the engine may take for an answer before it is asked again. What is large gets ten times as long.
    pub attempt: Duration,
    /// How often the Swarm is looked at where no event tells of a change.
    pub poll: Duration,
    /// How long pages that are not needed any more stay, for whoever still reads an older state.
    pub linger: Duration,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(2),
            poll: Duration::from_secs(1),
            linger: Duration::from_secs(15),
        }
    }
}

/// The keys of one cluster in the state of a Swarm. Clones share what they know. Making one connects to nothing.
#[derive(Clone)]
pub struct SwarmKeyspace {
    core: Arc<Core>,
    /// Ends with the last clone.
    task: Arc<Mutex<JoinSet<()>>>,
}

impl SwarmKeyspace {
    /// The keys of the group of replicas named `cluster`, in the Swarm of this engine.
    #[must_use]
    pub fn new(engine: Engine, cluster: &str, options: SwarmOptions) -> Self {
        Self { core: Arc::new(Core::new(engine, cluster, options)), task: Arc::default() }
    }

    /// Looks at the Swarm by itself from now on.
    fn wake(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_empty() {
            task.spawn(poll::poll(Arc::clone(&self.core)));
        }
    }

    /// The state that a range is about; anew if it was read before what it names was swept.
    async fn state(&self, range: &Range, effort: &mut Effort) -> Result<Arc<State>> {
        if range.revision == 0 {
            return Ok(self.core.read(effort).await?.state);
        }
        if let Some(state) = self.core.known().at(range.revision) {
            return Ok(state);
        }
        let newest = self.core.read(effort).await?.state;
        if newest.revision == range.revision {
            return Ok(newest);
        }
        let why = format!("revision {} is not known here any more", range.revision);
        let failure = self.core.failure(effort, why, "");
        Err(Error::Compacted { failure, oldest: None })
    }
}

#[async_trait]
impl Keyspace for SwarmKeyspace {
    fn name(&self) -> &'static str {
        "Docker Swarm"
    }

    fn reads_prove(&self) -> bool {
        false
    }

    async fn warm(&self, patience: Duration) {
        self.wake();
        let mut effort = Effort::new("look at the Swarm", patience);
        if let Err(error) = Box::pin(self.core.read(&mut effort)).await {
            tracing::debug!(%error, "does not answer yet");
        }
    }

    async fn range(&self, range: &Range, patience: Duration) -> Result<Found> {
        self.wake();
        let mut effort = Effort::new(format!("read {range}"), patience);
        let mut shelf = Shelf::new();
        loop {
            let state = Box::pin(self.state(range, &mut effort)).await?;
            let needs = match state.read(range, &shelf) {
                // No answer says less than one before it.
                Ok(found) if range.revision != 0 => return Ok(Found { header: self.core.header(), ..found }),
                Ok(found) => return Ok(found),
                Err(needs) => needs,
            };
            match Box::pin(self.core.supply(&needs, &mut shelf, &effort)).await {
                Ok(()) => {}
                Err(Failed::Over(error)) => return Err(error),
                Err(Failed::Again(Fate::Missing, failure)) if range.revision != 0 => {
                    return Err(Error::Compacted { failure, oldest: None });
                }
                Err(Failed::Again(fate, failure)) if effort.is_over() => {
                    return Err(judge::error(fate, failure));
                }
                Err(Failed::Again(..)) => effort.pause().await,
            }
        }
    }

    async fn txn(&self, txn: &Txn, patience: Duration) -> Result<TxnAnswer> {
        self.wake();
        Box::pin(self.core.transact(txn, Effort::new(txn.to_string(), patience))).await
    }

    fn watch(&self, prefix: &str, from: i64) -> Watching {
        self.wake();
        let (sender, batches) = mpsc::channel(64);
        let follow = Follow { core: Arc::clone(&self.core), prefix: prefix.to_owned(), from, sender };
        let mut task = JoinSet::new();
        let poll = Arc::clone(&self.task);
        task.spawn(async move {
            // The handle may be gone before its watches.
            let _poll = poll;
            follow.run().await;
        });
        Watching::new(batches, task)
    }

    async fn grant(&self, ttl: Duration, patience: Duration) -> Result<Granted> {
        self.wake();
        Box::pin(self.core.grant_lease(ttl, Effort::new("grant a lease", patience))).await
    }

    async fn keep_alive_once(&self, id: i64, patience: Duration) -> Result<()> {
        self.wake();
        Box::pin(self.core.keep_lease(id, Effort::new("keep a lease alive", patience))).await
    }

    async fn revoke(&self, id: i64, patience: Duration) -> Result<()> {
        self.wake();
        Box::pin(self.core.revoke_lease(id, Effort::new("revoke a lease", patience))).await
    }
}

impl fmt::Display for SwarmKeyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Docker Swarm of {}", self.core.engine)
    }
}

impl fmt::Debug for SwarmKeyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmKeyspace({}, {})", self.core.engine, self.core.names.label)
    }
}
