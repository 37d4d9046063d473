//! Keys, kept by a cluster of others: the port that `leadership` and `store`, which must not know each other, have in
//! common. `etcd` is one way to it, the state of a Docker Swarm another.
//!
//! All keys of a [`Keyspace`] change together, one revision after another, as etcd has it. What must hold:
//!
//! * **A [transaction](Txn) is done whole, at one revision, or not at all.** It may be sent several times, and so may be
//!   applied more than once, or late: its guards must make that harmless. Whoever sends one reads from the answer what
//!   holds now, not what this attempt did.
//! * **An error says what is known.** [`Error::Unavailable`]: it was not done. [`Error::Unclear`]: it may have been
//!   done, or may still be.
//! * **A watch has no gap**: what would be one ends it.
//!
//! [`layout`] has the keys that both look at.

mod error;
pub mod layout;
mod range;
mod txn;
mod watch;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use error::{Error, Failure, Result};
pub use range::{End, Found, Header, Kv, Range};
pub use txn::{Answer, Guard, Op, Txn, TxnAnswer};
pub use watch::{Batch, Event, Watching};

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its number, never 0.
    pub id: i64,
    /// How long it lasts without being kept alive; it may be more than was asked for.
    pub ttl: Duration,
    /// Who answered.
    pub header: Header,
}

/// Where keys are kept. As text it says what and where it is: `etcd http://10.0.0.1:2379`.
///
/// The `patience` of a call is how long it may take in all.
#[async_trait]
pub trait Keyspace: fmt::Display + Send + Sync {
    /// What keeps the keys, for messages: `etcd`.
    fn name(&self) -> &'static str;

    /// Makes ready, so that calls cost nothing more when it matters. What does not answer is left for later.
    async fn warm(&self, patience: Duration);

    /// Whether what is read was the newest at some moment after it was asked for. If not it may be older, and only a
    /// transaction that writes proves what holds.
    fn reads_prove(&self) -> bool {
        true
    }

    /// Reads keys. The newest values (linearizable, if [reads prove](Self::reads_prove) anything), or as they were at a revision if the range says so; then the
    /// answer's header need not be the newest.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], [`Error::Compacted`], [`Error::TooLarge`].
    async fn range(&self, range: &Range, patience: Duration) -> Result<Found>;

    /// Does a transaction. It may be sent several times, and so may be applied more than once, or even after this
    /// returned an error or the answer to another attempt: its guards must make that harmless, for instance by comparing
    /// the mod-revision of a key that it puts. `succeeded: false` can mean that an attempt of ours was applied before:
    /// the caller has the `otherwise` branch read what tells.
    ///
    /// # Errors
    /// [`Error::Unclear`] if an attempt may have been applied, or may yet be; [`Error::NoSpace`] if it may have been; all
    /// others mean that none was and none will be.
    async fn txn(&self, txn: &Txn, patience: Duration) -> Result<TxnAnswer>;

    /// Watches all keys that begin with `prefix`, from revision `from` on, that one included. Must be called within a
    /// runtime.
    fn watch(&self, prefix: &str, from: i64) -> Watching;

    /// Grants a lease of whole seconds, at least one. Where an answer is lost, one more lease than is known may be there
    /// until it runs out.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], [`Error::NoSpace`].
    async fn grant(&self, ttl: Duration, patience: Duration) -> Result<Granted>;

    /// Keeps a lease alive, once: it lasts its whole time again from some moment after this was called.
    ///
    /// # Errors
    /// [`Error::LeaseGone`], [`Error::Unavailable`], [`Error::Refused`].
    async fn keep_alive_once(&self, id: i64, patience: Duration) -> Result<()>;

    /// Ends a lease and deletes the keys under it. A lease that is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`].
    async fn revoke(&self, id: i64, patience: Duration) -> Result<()>;
}
