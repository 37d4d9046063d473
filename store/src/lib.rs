//! WHAT was decided: the declared state, and whose word counts.
//!
//! A [`Store`] keeps a map of keys to opaque values and judges who may change it. Whoever wants to write first makes a
//! [`Claim`]; the claim with the highest term is the only one that counts. Every accepted write is one more
//! [`Revision`]; it is durable before it is answered.
//!
//! What must hold, in every backend, and what the conformance suite (`testing`, a feature) checks:
//!
//! * **One term writes.** `append`, `compact` and `release` under any claim but the newest fail with
//!   [`Error::Fenced`] and change nothing. No clock takes part in the decision.
//! * **Acknowledged is durable.** What `append` answered with a revision is read by every later `load`.
//! * **Unreadable is never empty.** `load` reads the whole state or fails; it never repairs by forgetting, and it
//!   changes nothing.
//! * **Watch has no gaps.** Each entry after the given revision comes once, in order, or the watch fails with
//!   [`Error::Compacted`].

mod change;
mod claim;
mod envelope;
mod error;
pub mod file;
mod image;
pub mod kv;
pub mod memory;
mod records;
mod staged;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod value;
mod view;
mod wire;

pub use change::{Change, Entry, Expect, Op, Precondition, Revision};
pub use claim::{Candidate, Claim, Head, Term, Token};
pub use error::{Error, Result};
pub use value::Value;
pub use view::{Record, View};

use claim::wall_unix_ms;

use std::pin::Pin;

use async_trait::async_trait;
use tokio_stream::Stream;

/// The entries after some revision, each once and in order; then, as they come, the new ones.
///
/// Ends with an error when it cannot go on without a gap.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Entry>> + Send>>;

/// What keeps the state, and judges who may change it. See the [crate] for what must hold.
///
/// One handle belongs to one replica. All methods may be called at the same time; appends that wait together may be
/// made durable together.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Where the state is, for people: `file /var/lib/openmanage`.
    fn location(&self) -> String;

    /// What this handle knows: as of its last `load` or later, with its own appends since. Reading it never waits for
    /// the backend.
    fn view(&self) -> &View;

    /// The newest claim and the identity of the store. Cheap enough to ask several times a second.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`], [`Error::NewerFormat`].
    async fn head(&self) -> Result<Head>;

    /// Brings the view up to date with everything that was acknowledged to anybody. Reads only what is new where it
    /// can. On an error the view stays as it was and the backend is unchanged.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`], [`Error::NewerFormat`].
    async fn load(&self) -> Result<Head>;

    /// Makes `candidate` the holder, with a term higher than any before, if the newest term still is `seen`
    /// (compare-and-swap). From then on every write under an older term is refused. Loads the state first and again
    /// after the claim, so that the view is complete when this returns; a state that cannot be loaded is not claimed
    /// and nothing is changed.
    ///
    /// # Errors
    /// [`Error::Outrun`] if another claim was made meanwhile, and what `load` fails with.
    async fn claim(&self, candidate: &Candidate, seen: Term) -> Result<Token>;

    /// Proves that the token's claim was still the newest at some moment after this was called.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Unavailable`].
    async fn confirm(&self, token: &Token) -> Result<()>;

    /// Records that everything done under this claim has stopped, so that the next holder need not wait for it.
    /// Nothing can be appended under the token afterwards. `successor` is the name of the replica that is to be the
    /// next holder, if one is wanted: advice, which the next claim's [`previous`](Token::previous) shows.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Unavailable`].
    async fn release(&self, token: Token, successor: Option<&str>) -> Result<()>;

    /// Writes one change: all of it or nothing, durable before it is answered.
    ///
    /// # Errors
    /// [`Error::Fenced`] (not written), [`Error::Conflict`] (a precondition does not hold; not written),
    /// [`Error::TooLarge`] and [`Error::Full`] (not written), [`Error::Unavailable`] (not written), [`Error::Unclear`]
    /// (written or not: the next `load` tells).
    async fn append(&self, token: &Token, change: Change) -> Result<Revision>;

    /// Writes a snapshot and drops the entries that it covers, but for the newest `keep`, which stay for watchers.
    ///
    /// # Errors
    /// As `append`. On an error the state is as readable as before.
    async fn compact(&self, token: &Token, keep: u64) -> Result<Revision>;

    /// The entries after `after`, then what comes, also from other replicas.
    ///
    /// # Errors
    /// [`Error::Compacted`] if entries after it are no longer kept; [`Error::Unavailable`], [`Error::Corrupt`].
    async fn watch(&self, after: Revision) -> Result<Watch>;
}
