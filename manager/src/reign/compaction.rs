//! The journal does not grow for ever: the leader writes a snapshot now and then.
//!
//! When that was last done is written down in the state, so that many short reigns compact as often as one long one.

use std::time::Duration;

use om_api::clock::wall_unix_ms;
use om_store::{Change, Revision, View};
use prost::Message as _;
use tracing::{debug, warn};

use super::Reign;
use crate::records::{COMPACTED, CompactionRecord};

/// Entries between two snapshots: a takeover reads at most about twice as many beyond the snapshot.
const EVERY: u64 = 10_000;
/// Entries that are kept for watchers and for history, beyond the snapshot.
const KEPT: u64 = 10_000;
const LOOK: Duration = Duration::from_secs(1);
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

pub(super) async fn compact_now_and_then(reign: Reign) {
    loop {
        tokio::time::sleep(LOOK).await;
        if !is_due(reign.0.realm.store.view()) {
            continue;
        }
        match reign.0.realm.store.compact(&reign.0.token, KEPT).await {
            Ok(revision) => {
                debug!(revision, "compacted");
                let record = CompactionRecord { revision }.encode_to_vec();
                if let Err(error) = reign.append(Change::at(wall_unix_ms()).put(COMPACTED, record)).await {
                    debug!(%error, "that the journal was compacted is not written down; it is compacted again");
                }
            }
            Err(error) => {
                warn!(%error, "cannot compact; the journal grows on");
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }
}

fn is_due(view: &View) -> bool {
    view.revision() >= last(view) + EVERY
}

/// The last compaction. A record that cannot be read counts as none: the worst of it is one compaction more.
fn last(view: &View) -> Revision {
    let record = view.get(COMPACTED).and_then(|record| CompactionRecord::decode(&*record.value).ok());
    record.unwrap_or_default().revision
}

#[cfg(test)]
mod tests {
    use om_store::{Entry, Op};

    use super::*;

    #[test]
    fn it_is_due_so_many_entries_after_the_last_one_whoever_did_that() {
        let view = View::default();
        assert!(!is_due(&view));
        let entry = |revision, record: Option<u64>| Entry {
            revision,
            term: 1,
            time_unix_ms: 0,
            ops: record
                .map(|revision| Op::Put {
                    key: COMPACTED.into(),
                    value: CompactionRecord { revision }.encode_to_vec().into(),
                })
                .into_iter()
                .collect(),
        };
        view.apply(&entry(EVERY - 1, None));
        assert!(!is_due(&view));
        view.apply(&entry(EVERY + 500, None));
        assert!(is_due(&view));
        view.apply(&entry(EVERY + 600, Some(EVERY + 500)));
        assert!(!is_due(&view));
        view.apply(&entry(2 * EVERY + 499, None));
        assert!(!is_due(&view));
        view.apply(&entry(2 * EVERY + 500, None));
        assert!(is_due(&view));
    }
}
