//! What can go wrong between a replica and its store.

use std::sync::Arc;

use crate::{Expect, Revision, Term};

/// A result of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store did not do what was asked. Cheap to clone: one failure may answer many waiting writes.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A newer claim was made, or the own claim was released: this one no longer writes. Nothing was written.
    #[error("fenced: term {own} is over, term {newest} was claimed")]
    Fenced {
        /// The token's term.
        own: Term,
        /// The newest term.
        newest: Term,
    },
    /// Another candidate claimed first.
    #[error("another replica claimed first: the newest term is {newest}, not {seen}")]
    Outrun {
        /// The term that the claim was to replace.
        seen: Term,
        /// The newest term.
        newest: Term,
    },
    /// A precondition does not hold. Nothing was written.
    #[error("{key} is not as expected ({expected:?}): {}", actual.map_or("it does not exist".to_owned(), |r| format!("it was last written at revision {r}")))]
    Conflict {
        /// Which key.
        key: Arc<str>,
        /// What was expected.
        expected: Expect,
        /// The key's last write; `None` if it does not exist.
        actual: Option<Revision>,
    },
    /// The write was under way when the claim was lost or the backend failed: it took effect once or not at all.
    #[error("the write is unclear: {0}")]
    Unclear(String),
    /// The backend cannot be read or written now. Nothing was written.
    #[error("{what}: {cause}")]
    Unavailable {
        /// What was tried, and where.
        what: String,
        /// Why it failed.
        cause: Arc<std::io::Error>,
    },
    /// What the backend holds cannot be what was written. Nothing is touched.
    #[error("the state is damaged: {what}")]
    Corrupt {
        /// What and where.
        what: String,
    },
    /// The backend is not as far as this handle has seen it, or is another one: it was emptied, replaced or restored from
    /// an older backup. Acknowledged writes are missing, and terms would be given out again. Nothing is touched.
    #[error(
        "the state went back: {what}. If it was restored from a backup on purpose, restart all managers and plugins; else restore a newer one"
    )]
    WentBack {
        /// What and where.
        what: String,
    },
    /// A newer program wrote this.
    #[error("{what} has format {found}; this program reads up to {known}")]
    NewerFormat {
        /// What and where.
        what: String,
        /// Its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The change is more than the backend takes. Nothing was written.
    #[error("too large: {size} bytes, the limit is {limit}")]
    TooLarge {
        /// What was to be written, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// With the change the state would be more than the backend holds, or takes at once. Nothing was written.
    #[error("too large: {what}")]
    Full {
        /// What was tried where, why it is too much, and what to do.
        what: String,
    },
    /// The entries after this revision are no longer kept.
    #[error(
        "the entries after revision {after} are compacted away; the oldest that can be resumed from is {oldest}"
    )]
    Compacted {
        /// What was asked for.
        after: Revision,
        /// The lowest revision that a watch can start after.
        oldest: Revision,
    },
}

impl Error {
    /// An I/O failure, with what was tried.
    #[must_use]
    pub fn io(what: impl Into<String>, cause: std::io::Error) -> Self {
        Self::Unavailable { what: what.into(), cause: Arc::new(cause) }
    }
}
