//! The journal does not grow for ever: the leader writes a snapshot now and then.

use std::time::Duration;

use tracing::{debug, warn};

use super::Reign;

/// Entries between two snapshots: a takeover reads at most about twice as many beyond the snapshot.
const EVERY: u64 = 10_000;
/// Entries that are kept for watchers and for history, beyond the snapshot.
const KEPT: u64 = 10_000;
const LOOK: Duration = Duration::from_secs(1);
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

pub(super) async fn compact_now_and_then(reign: Reign) {
    // At every multiple of EVERY, whoever leads then: many short reigns compact as often as one long one.
    let mut last = reign.0.realm.store.view().revision() / EVERY;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = reign.0.realm.store.view().revision() / EVERY;
        if now <= last {
            continue;
        }
        match reign.0.realm.store.compact(&reign.0.token, KEPT).await {
            Ok(revision) => {
                debug!(revision, "compacted");
                last = now;
            }
            Err(error) => {
                warn!(%error, "cannot compact; the journal grows on");
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }
}
