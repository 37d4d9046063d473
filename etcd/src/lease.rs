//! Leases: keys that vanish with their owner.

use std::time::Duration;

use etcd_client::Client;

use om_kv::{Error, Granted, Result};

use crate::convert::header;
use crate::etcd::{Effort, Etcd};

impl Etcd {
    pub(crate) async fn new_lease(&self, ttl: Duration, patience: Duration) -> Result<Granted> {
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        // A lease too many does no harm: to repeat it is as good as to repeat a read.
        let effort = Effort { read: true, least: Duration::ZERO, patience };
        self.attempts("grant a lease", effort, async |client: Client, _| {
            let granted = client.lease_client().grant(seconds, None).await?;
            let ttl = Duration::from_secs(granted.ttl().unsigned_abs());
            Ok(Granted { id: granted.id(), ttl, header: header(granted.header()) })
        })
        .await
    }

    pub(crate) async fn keep_lease(&self, id: i64, patience: Duration) -> Result<()> {
        let effort = Effort { read: true, least: Duration::ZERO, patience };
        self.attempts("keep a lease alive", effort, async |client: Client, _| {
            client.lease_client().keep_alive(id).await.map(drop)
        })
        .await
    }

    pub(crate) async fn end_lease(&self, id: i64, patience: Duration) -> Result<()> {
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
