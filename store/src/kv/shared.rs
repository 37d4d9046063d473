//! What the tasks and calls of a handle share: what is known of the store, and up to where.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use om_kv::Keyspace;
use om_kv::layout::LeaderRecord;
use tokio::sync::watch;

use super::keys::Keys;
use crate::{Entry, Error, Op, Result, Revision, Term, View};

/// What a handle can be made to do faster, for tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// How long a call to the keyspace may take in all.
    pub(crate) patience: Duration,
    /// How many of the newest entries are kept for watches; older ones are read from the keyspace.
    pub(crate) ring: usize,
    /// Bytes of a chunk of a base.
    pub(crate) chunk: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { patience: Duration::from_secs(5), ring: 4096, chunk: super::wire::PIECE }
    }
}

/// The most bytes of entries that are kept for watches.
const RING_BYTES: usize = 16 * 1024 * 1024;

pub(crate) struct Shared {
    pub(crate) kv: Arc<dyn Keyspace>,
    pub(crate) keys: Keys,
    pub(crate) tuning: Tuning,
    pub(crate) view: View,
    known: Mutex<Known>,
    /// Moved when there is something new for watches.
    pub(crate) changed: watch::Sender<u64>,
    /// Held while the state is read: reading it twice at once helps nobody.
    pub(crate) loading: tokio::sync::Mutex<()>,
}

/// What this handle has seen. The view changes only while this is locked.
#[derive(Default)]
pub(crate) struct Known {
    /// The store's identity.
    pub(crate) cluster: Option<String>,
    /// The newest term.
    pub(crate) term: u64,
    /// The keyspace's newest revision.
    pub(crate) kv_revision: i64,
    /// The keyspace's revision of the view's newest entry; 0 if the view is empty or came from a base alone.
    pub(crate) mark: i64,
    /// The lowest revision that a watch can start after.
    pub(crate) floor: Revision,
    /// Whether the view was complete at some moment.
    pub(crate) loaded: bool,
    /// Why watches cannot go on.
    pub(crate) failed: Option<Error>,
    pub(crate) reign: Option<Reign>,
    /// The newest entries, the last of them the view's newest.
    ring: VecDeque<Entry>,
    ring_bytes: usize,
}

/// The claim that this handle holds, as far as it knows.
#[derive(Clone, Debug)]
pub(crate) struct Reign {
    pub(crate) term: Term,
    pub(crate) record: LeaderRecord,
    /// The keyspace's revision of the tip as this claim, or its last write, left it.
    pub(crate) tip: i64,
    /// Why nothing can be written any more under it.
    pub(crate) spoiled: Option<Error>,
}

/// What became of an entry that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    Old,
    /// There is none before it.
    Gap,
}

impl Shared {
    pub(crate) fn new(kv: Arc<dyn Keyspace>, keys: Keys, tuning: Tuning) -> Self {
        Self {
            kv,
            keys,
            tuning,
            view: View::default(),
            known: Mutex::default(),
            changed: watch::Sender::new(0),
            loading: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry into the view, if it is the next one.
    pub(crate) fn take_in(&self, entry: &Entry, modified: i64) -> Taken {
        let mut known = self.known();
        let newest = self.view.revision();
        if entry.revision <= newest {
            return Taken::Old;
        }
        if entry.revision != newest + 1 {
            return Taken::Gap;
        }
        self.view.apply(entry);
        known.mark = modified;
        known.keep(entry.clone(), self.tuning.ring);
        drop(known);
        self.announce();
        Taken::New
    }

    /// Replaces the view by a newer state.
    pub(crate) fn replace(&self, state: View, mark: i64) {
        let mut known = self.known();
        if state.revision() <= self.view.revision() {
            return;
        }
        self.view.replace(state.into_image());
        known.mark = mark;
        known.ring.clear();
        known.ring_bytes = 0;
        drop(known);
        self.announce();
    }

    /// The entries after a revision, at most so many, if they are at hand: `None` if they have to be read from the keyspace.
    pub(crate) fn recent(&self, after: Revision, most: usize) -> Result<Option<Vec<Entry>>> {
        let known = self.known();
        if let Some(error) = &known.failed {
            return Err(error.clone());
        }
        let newest = self.view.revision();
        let oldest = newest - known.ring.len() as u64;
        if after < oldest {
            return Ok(None);
        }
        let skip = usize::try_from(after - oldest).unwrap_or(usize::MAX);
        Ok(Some(known.ring.iter().skip(skip).take(most).cloned().collect()))
    }

    pub(crate) fn announce(&self) {
        self.changed.send_modify(|moved| *moved += 1);
    }

    /// Watches end with this error.
    pub(crate) fn fail(&self, error: Error) {
        self.known().failed = Some(error);
        self.announce();
    }

    pub(crate) fn fenced(&self, own: Term) -> Error {
        Error::Fenced { own, newest: Term(self.known().term.max(own.0)) }
    }
}

impl Known {
    fn keep(&mut self, entry: Entry, most: usize) {
        self.ring_bytes += weight(&entry);
        self.ring.push_back(entry);
        while self.ring.len() > most || (self.ring_bytes > RING_BYTES && self.ring.len() > 1) {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= weight(&oldest);
        }
    }

    /// The claim with this term, if it is held here and can be written under.
    pub(crate) fn held(&self, term: Term) -> Result<&Reign> {
        match &self.reign {
            Some(reign) if reign.term == term => match &reign.spoiled {
                Some(error) => Err(error.clone()),
                None => Ok(reign),
            },
            _ => Err(Error::Fenced { own: term, newest: Term(self.term.max(term.0)) }),
        }
    }

    /// Another claim was seen: what was held is over.
    pub(crate) fn saw_term(&mut self, term: u64, released: bool) {
        self.term = self.term.max(term);
        let newest = self.term;
        // A late answer may tell of an older term's release.
        self.reign.take_if(|reign| reign.term.0 < newest || (reign.term.0 == term && released));
    }
}

fn weight(entry: &Entry) -> usize {
    let op = |op: &Op| match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    };
    64 + entry.ops.iter().map(op).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_word_of_an_older_release_does_not_end_a_newer_reign() {
        let record = LeaderRecord {
            name: "a".to_owned(),
            instance: String::new(),
            endpoint: String::new(),
            authority_ms: 0,
            time_unix_ms: 0,
            nonce: String::new(),
            released: None,
        };
        let reign = Some(Reign { term: Term(7), record, tip: 0, spoiled: None });
        let known = || Known { term: 7, reign: reign.clone(), ..Known::default() };
        for (term, released, held) in
            [(5, true, true), (5, false, true), (7, false, true), (7, true, false), (8, false, false)]
        {
            let mut known = known();
            known.saw_term(term, released);
            assert_eq!(known.held(Term(7)).is_ok(), held, "term {term}, released: {released}");
        }
    }
}
