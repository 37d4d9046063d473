//! Keeps one session with every plugin that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use om_proxy::discovery::{Peer, PeerState};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Reign;
use super::attend::{self, Ended};

const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LAST_BACK_OFF: Duration = Duration::from_secs(2);
/// How often it is looked whether a lost plugin's kinds can be passed on.
const PASS_ON: Duration = Duration::from_millis(250);
/// A session that broke sooner was no good one: the next is waited for.
const GOOD: Duration = Duration::from_secs(5);

/// Attends each ready plugin, again after a loss, until the reign is over; then waits until each was released.
pub(super) async fn oversee(reign: Reign) {
    let mut peers = reign.0.realm.registry.peers();
    let mut sessions: JoinSet<(String, Ended, Duration)> = JoinSet::new();
    let mut running: BTreeSet<String> = BTreeSet::new();
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    while !reign.0.over.is_cancelled() {
        let now: Arc<BTreeMap<String, Peer>> = peers.borrow_and_update().clone();
        for peer in now.values().filter(|peer| matches!(peer.state, PeerState::Ready(_))) {
            if running.insert(peer.name.clone()) {
                let failed = failures.get(&peer.name).copied().unwrap_or(0);
                sessions.spawn(session(reign.clone(), peer.clone(), back_off(failed)));
            }
        }
        tokio::select! {
            () = reign.0.over.cancelled() => {}
            () = tokio::time::sleep(PASS_ON), if reign.0.sessions.has_lost() => pass_on(&reign),
            changed = peers.changed() => if changed.is_err() { break },
            Some(ended) = sessions.join_next() => {
                let Ok((plugin, ended, lasted)) = ended else { continue };
                running.remove(&plugin);
                match ended {
                    Ended::Released => {}
                    Ended::Lost(why) => {
                        info!(%plugin, why, "session lost");
                        if lasted >= GOOD {
                            failures.remove(&plugin);
                        } else {
                            *failures.entry(plugin).or_default() += 1;
                        }
                    }
                    Ended::NotOpened(why) => {
                        warn!(%plugin, why, "session not opened");
                        *failures.entry(plugin).or_default() += 1;
                    }
                }
            }
        }
    }
    while sessions.join_next().await.is_some() {}
}

/// Gives the services of plugins that were lost, and can no longer act, to others that serve their kind.
fn pass_on(reign: &Reign) {
    let now = (reign.0.realm.clock)();
    let authority = reign.0.realm.authority;
    let passed = reign.0.sessions.pass_on(now.saturating_sub(authority + authority / 8));
    if !passed.is_empty() {
        info!(kinds = ?passed, "passed on to another plugin");
        let (names, heir) = (reign.names_of(passed), reign.clone());
        reign.spawn(async move { heir.look_after_all(names).await });
    }
}

fn back_off(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    FIRST_BACK_OFF.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(LAST_BACK_OFF)
}

async fn session(reign: Reign, peer: Peer, wait: Duration) -> (String, Ended, Duration) {
    let name = peer.name.clone();
    let clock = reign.0.realm.clock.clone();
    let waited = reign.0.over.run_until_cancelled(tokio::time::sleep(wait)).await;
    let begun = clock();
    let ended = if waited.is_some() { attend::session(&reign, peer).await } else { Ended::Released };
    (name, ended, clock().saturating_sub(begun))
}
