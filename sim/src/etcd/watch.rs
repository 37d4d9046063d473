//! Watches: what happened is sent on in order; who cannot be reached gets it later, or is told that it is compacted away.

use std::time::Duration;

use om_kv::{Batch, Result, Watching};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::hub::{ETCD, Hub, Place};

/// Batches that may wait for a reader; more than that and the watch ends.
const BACKLOG: usize = 4096;
/// So often a watcher gets a sign of life.
const PROGRESS: Duration = Duration::from_millis(700);
/// The longest until a watch that has lost its connection goes on over another one.
const LONGEST: Duration = Duration::from_millis(2500);
/// In so many turns a watch loses its connection by itself.
const SELDOM: u64 = 4000;

pub(super) struct Watcher {
    place: Place,
    prefix: String,
    /// The revision that it has not been sent yet.
    next: i64,
    to: mpsc::Sender<Result<Batch>>,
    told: Duration,
    /// When the last batch arrives.
    last: Duration,
    /// It was told that it cannot go on.
    failed: bool,
    /// Its connection has begun, and it was told so.
    begun: bool,
    /// The way to it was cut when it was looked at last.
    cut: bool,
    /// It is told nothing until then: its connection is lost, which it does not know yet, or its member is gone.
    silent_until: Duration,
}

impl Hub {
    pub(super) fn watch(&self, place: Place, prefix: &str, from: i64) -> Watching {
        let (to, batches) = mpsc::channel(BACKLOG);
        let prefix = prefix.to_owned();
        self.send((place, ETCD), Duration::ZERO, move |hub| {
            let told = hub.now();
            let (last, silent_until) = (Duration::ZERO, Duration::ZERO);
            let watcher = Watcher {
                place,
                prefix,
                next: from,
                to,
                told,
                last,
                failed: false,
                begun: false,
                cut: false,
                silent_until,
            };
            hub.lock().etcd.watchers.push(watcher);
        });
        Watching::new(batches, JoinSet::new())
    }

    /// Leases end, and whoever watches is told what is new.
    pub(crate) fn turn_etcd(&self) {
        let now = self.now();
        let mut batches = Vec::new();
        {
            let mut state = self.lock();
            let away = state.etcd.away_until > now;
            let etcd = &mut state.etcd;
            if away {
                return;
            }
            etcd.model.expire(now);
            let header = etcd.model.header();
            let mut watchers = std::mem::take(&mut etcd.watchers);
            let mut kept = 0;
            watchers.retain_mut(|watcher| {
                if watcher.to.is_closed() || watcher.failed {
                    return false;
                }
                kept += 1;
                let lively = watcher.begun && now < watcher.told + PROGRESS;
                let cut = state.is_cut(ETCD, watcher.place);
                let healed = std::mem::replace(&mut watcher.cut, cut) && !cut;
                if state.dice.one_in(if healed { 2 } else { SELDOM }) {
                    watcher.silent_until = now + state.dice.within(Duration::ZERO, LONGEST);
                    watcher.begun = false;
                }
                let silent = cut || now < watcher.silent_until;
                if (watcher.next > header.revision && lively) || silent {
                    return true;
                }
                let events = state.etcd.model.since(&watcher.prefix, watcher.next);
                watcher.next = watcher.next.max(header.revision + 1);
                watcher.failed = events.is_err();
                if events.as_ref().is_ok_and(Vec::is_empty) && lively {
                    return true;
                }
                watcher.told = now;
                let begun = !std::mem::replace(&mut watcher.begun, true);
                let batch = events.map(|events| Batch { header, events, begun });
                batches.push((kept - 1, watcher.place, watcher.to.clone(), watcher.last, batch));
                true
            });
            state.etcd.watchers = watchers;
        }
        for (index, place, to, last, batch) in batches {
            let last = self.send((ETCD, place), last, move |_| {
                // Full: whoever is so far behind has been gone for long.
                let _ = to.try_send(batch);
            });
            if let Some(watcher) = self.lock().etcd.watchers.get_mut(index) {
                watcher.last = last;
            }
        }
    }
}
