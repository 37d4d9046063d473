//! Leases: keys that vanish with their owner.

use std::time::Duration;

use etcd_client::Client;

use crate::error::{Error, Result};
use crate::etcd::{Effort, Etcd};
use crate::range::Header;

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its number, never 0.
    pub id: i64,
    /// How long it lasts without being kept alive; etcd may give more than was asked for.
    pub ttl: Duration,
    /// Who answered.
    pub header: Header,
}

impl Etcd {
    /// Grants a lease of whole seconds, at least one. Where an answer is lost, one more lease than is known may be there
    /// until it runs out.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], [`Error::NoSpace`].
    pub async fn grant(&self, ttl: Duration, patience: Duration) -> Result<Granted> {
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        // A lease too many does no harm: to repeat it is as good as to repeat a read.
        let effort = Effort { read: true, least: Duration::ZERO, patience };
        self.attempts("grant a lease", effort, async |client: Client, _| {
            let granted = client.lease_client().grant(seconds, None).await?;
            let ttl = Duration::from_secs(granted.ttl().unsigned_abs());
            Ok(Granted { id: granted.id(), ttl, header: granted.header().into() })
        })
        .await
    }

    /// Keeps a lease alive, once: it lasts its whole time again from some moment after this was called.
    ///
    /// # Errors
    /// [`Error::LeaseGone`], [`Error::Unavailable`], [`Error::Refused`].
    pub async fn keep_alive_once(&self, id: i64, patience: Duration) -> Result<()> {
        let effort = Effort { read: true, least: Duration::ZERO, patience };
        self.attempts("keep a lease alive", effort, async |client: Client, _| {
            client.lease_client().keep_alive(id).await.map(drop)
        })
        .await
    }

    /// Ends a lease and deletes the keys under it. A lease that is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`].
    pub async fn revoke(&self, id: i64, patience: Duration) -> Result<()> {
        let effort = Effort { read: true, least: Duration::ZERO, patience };
        let revoked = self
            .attempts("revoke a lease", effort, async |client: Client, _| {
                client.lease_client().revoke(id).await.map(drop)
            })
            .await;
        match revoked {
            Err(Error::LeaseGone(_)) => Ok(()),
            other => other,
        }
    }
}
