//! Writes of which it was not known what became, and what follows from them.
//!
//! The store finds out by itself, later: the write may have taken effect long after its caller was told that it is
//! unclear. Two things follow. What was decided by the state as it was known then may be stale: it is decided again. And
//! nobody has brought what was written to its plugin: that is made good, whether or not the caller asks again.

use std::time::Duration;

use om_api::clock::wall_unix_ms;
use om_api::{Error, Reason};
use om_store::{Change, Error as StoreError, Revision};
use tracing::{debug, info};

use super::Reign;
use crate::errors;

/// How often one call is decided at most: there is one write at a time that may have been unclear.
pub(super) const DECISIONS: usize = 8;
/// How often it is asked whether an unclear write is settled.
const AGAIN: Duration = Duration::from_millis(200);

/// Why a write was not made that had been decided by what is stored.
pub(super) enum Stopped {
    /// What is stored is newer than what was known.
    Stale,
    /// For good.
    Told(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

/// The state changed under each decision.
pub(super) fn restless(name: &str) -> Error {
    let message = format!("{name} was changed again and again meanwhile; nothing was stored");
    Error::new(Reason::StoreUnavailable, message).hint("ask again")
}

impl Reign {
    /// Writes what was decided about a service.
    pub(super) async fn append_about(&self, name: &str, change: Change) -> Result<Revision, Stopped> {
        self.append(change).await.map_err(|error| match error {
            StoreError::Conflict { .. } => Stopped::Stale,
            error => {
                if matches!(error, StoreError::Unclear(_)) {
                    self.spawn(make_good(self.clone(), name.to_owned()));
                }
                Stopped::Told(errors::of_store(&error))
            }
        })
    }

    /// Waits until it is known what became of all earlier writes. `None`: nothing can be written under this term any more.
    pub(super) async fn settled(&self, name: &str) -> Option<()> {
        loop {
            tokio::time::sleep(AGAIN).await;
            // A write waits for those before it; this one changes nothing.
            match self.append(Change::at(wall_unix_ms())).await {
                Ok(_) => break,
                Err(StoreError::Fenced { .. } | StoreError::Outrun { .. }) => return None,
                Err(error) => debug!(service = %name, %error, "a write is still unclear"),
            }
        }
        info!(service = %name, "an unclear write is settled");
        Some(())
    }
}

/// Brings the service to its plugin as it is once everything is settled.
async fn make_good(reign: Reign, name: String) {
    if reign.settled(&name).await.is_some() {
        reign.look_after(&name).await;
    }
}
