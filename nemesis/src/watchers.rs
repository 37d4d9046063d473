//! Watchers that resume where they were, at whichever replica lets them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use om_api::{Reason, v1};
use om_checker::{Kind, Stored, What};
use om_system_tests::Random;
use tokio::time::{sleep, timeout};

use crate::clients::Shared;
use crate::plan::{at, ms};

/// How long a stream may be silent before another replica is asked.
const SILENCE: Duration = Duration::from_millis(1500);
const OPENING: Duration = Duration::from_millis(1000);

/// One watcher. Every other one leaves its stream now and then in the middle.
pub(crate) async fn watch(shared: Arc<Shared>, mut random: Random, number: u64) {
    let mut after = Some(0);
    let mut asked = at(&mut random, shared.replicas.len());
    while !shared.ended.load(Ordering::SeqCst) {
        match shared.replicas[asked].watch(after, OPENING).await {
            Ok(stream) => {
                let leaves = if number % 2 == 1 { 1 + random.below(300) } else { u64::MAX };
                follow(&shared, stream, &mut after, leaves).await;
            }
            // Too far behind: what was in between is lost to this one.
            Err(Some(Reason::Compacted)) => after = None,
            Err(_) => {}
        }
        asked = (asked + 1) % shared.replicas.len();
        sleep(ms(&mut random, 30)).await;
    }
}

async fn follow(
    shared: &Shared,
    mut stream: tonic::Streaming<v1::WatchResponse>,
    after: &mut Option<u64>,
    mut leaves: u64,
) {
    let watch = shared.history.number();
    shared.history.add(What::Opened { watch, service: None, after: *after });
    while let Ok(Ok(Some(message))) = timeout(SILENCE, stream.message()).await {
        if let Some(stored) = message.event.as_ref().and_then(stored) {
            *after = Some(stored.revision);
            shared.history.add(What::Watched { watch, stored });
        }
        leaves -= 1;
        if leaves == 0 || shared.ended.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// What the store keeps of an event; an observation is not kept.
pub(crate) fn stored(event: &v1::Event) -> Option<Stored> {
    let kind = match event.r#type() {
        v1::EventType::Committed => Kind::Committed,
        v1::EventType::Freed => Kind::Freed,
        v1::EventType::Destroyed => Kind::Destroyed,
        v1::EventType::Leadership => Kind::Leadership(event.leader.clone()),
        v1::EventType::Status | v1::EventType::Unspecified => return None,
    };
    Some(Stored { revision: event.revision, term: event.term, service: event.service.clone(), kind })
}
