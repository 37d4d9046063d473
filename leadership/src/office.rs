//! The port to the judge: claims and confirmations.

use std::time::Duration;

use async_trait::async_trait;

/// Grants terms and confirms them. The manager implements it on its store.
///
/// Both calls may take long or never return: the campaign bounds them with its own deadlines and drops the future, at
/// any await. What the dropped call had begun (on another thread, say) may still be going on beside the next call, and
/// may still take effect; its answer is never used.
#[async_trait]
pub trait Office: Send + Sync + 'static {
    /// Claims a new term and makes this replica ready to rule under it (the state is loaded).
    ///
    /// # Errors
    /// [`OfficeError`]; nothing is held then.
    async fn claim(&self) -> Result<u64, OfficeError>;

    /// Proves that nobody else rules for so long from the beginning of the call: that `term` was still the newest at some
    /// moment after it, or that whoever could take over has promised not to.
    ///
    /// # Errors
    /// [`OfficeError::Fenced`] for good, [`OfficeError::Unavailable`] for now.
    async fn confirm(&self, term: u64) -> Result<Duration, OfficeError>;
}

/// Why the office did not grant or confirm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfficeError {
    /// A newer term exists.
    #[error("{0}")]
    Fenced(String),
    /// It cannot be said now. Asked again.
    #[error("{0}")]
    Unavailable(String),
    /// The state must not be ruled over by this program: damaged, unreadable, or of a newer format. Asked again, slowly.
    #[error("{0}")]
    Refused(String),
}
