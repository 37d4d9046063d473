//! Where the keys are kept: a model of an etcd cluster, and the way to it.
//!
//! [`model`] is what a cluster of any size is by its own promises: one history of revisions, leases, compaction. What
//! goes wrong on the way (slow, away, answers lost, requests done twice or late) is [`keyspace`]'s part.

mod keyspace;
mod model;
mod plant;
mod watch;

pub(crate) use keyspace::SimKeyspace;

use std::time::Duration;

use model::Model;
use om_kv::{Op, Txn, TxnAnswer};
use watch::Watcher;

use crate::hub::Place;

/// The cluster, and who watches it.
#[derive(Default)]
pub(crate) struct Etcd {
    model: Model,
    watchers: Vec<Watcher>,
    /// It has no leader until then: nothing is answered.
    pub(crate) away_until: Duration,
    /// Its disks hang until then: writes are done only after that, reads at once.
    pub(crate) stuck_until: Duration,
    /// There is no room until then: one write in four is told so and done all the same, as by etcd the one by which it ran out.
    pub(crate) full_until: Duration,
    /// Everything takes so long beside the way there.
    pub(crate) slow: Duration,
    pub(crate) ambush: Ambush,
}

/// What waits for the next leader that writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ambush {
    #[default]
    None,
    Laid,
    /// It has just written, and has not been told so yet.
    Sprung(Place),
}

impl Etcd {
    /// A transaction of a replica was done.
    fn did(&mut self, place: Place, txn: &Txn, answer: &TxnAnswer) {
        let appends = txn.then.iter().any(|op| matches!(op, Op::Put { key, .. } if plant::is_entry(key)));
        if self.ambush == Ambush::Laid && answer.succeeded && appends {
            self.ambush = Ambush::Sprung(place);
        }
    }

    /// Forgets what is older than this many revisions.
    pub(crate) fn compact(&mut self, keep: i64) {
        self.model.compact(keep);
    }

    /// What the last writes did is gone.
    pub(crate) fn forget(&mut self, revisions: i64) {
        self.model.forget(revisions);
    }

    /// Another member leads: for so long nobody does, and every lease lasts its whole time again.
    pub(crate) fn elect(&mut self, now: Duration, away: Duration) {
        self.away_until = self.away_until.max(now + away);
        self.model.extend(now + away);
    }
}
