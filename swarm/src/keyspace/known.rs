//! What a handle knows: the newest state, and the ones before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::shelves::Shelves;
use crate::engine::SwarmObject;
use crate::state::State;

/// So many states can be read by their revision.
const HISTORY: usize = 256;

/// A leader of the Swarm that was cut off answers with what it has until it notices, which takes it an election timeout
/// of ten to twenty seconds. What is older for longer is not coming back.
const STALE: Duration = Duration::from_secs(30);

/// A state, and the object of the Swarm that it was read from, by whose version it can be swapped.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) swarm: Arc<SwarmObject>,
    pub(super) state: Arc<State>,
}

#[derive(Default)]
pub(super) struct Known {
    /// Where the next transaction can begin; nothing after a write of ours, whose version is not told.
    base: Option<Base>,
    newest: Option<Arc<State>>,
    /// The newest version that was seen.
    version: u64,
    history: VecDeque<Arc<State>>,
    older_since: Option<Instant>,
    pub(super) shelves: Shelves,
}

/// How what was read goes with what is known.
#[derive(Debug)]
pub(super) enum Fit {
    /// It is the newest now, or something newer is known by now.
    Good(Base),
    /// It is older than what was known before it was asked for: ask again.
    Older,
    /// It cannot have come from what was known.
    Other(String),
}

impl Known {
    pub(super) fn base(&self) -> Option<Base> {
        self.base.clone()
    }

    pub(super) fn newest(&self) -> Option<&Arc<State>> {
        self.newest.as_ref()
    }

    pub(super) fn revision(&self) -> i64 {
        self.newest.as_ref().map_or(0, |state| state.revision)
    }

    /// The state at a revision, if it is still known.
    pub(super) fn at(&self, revision: i64) -> Option<Arc<State>> {
        self.history.iter().rev().find(|state| state.revision == revision).cloned()
    }

    /// A state that we wrote.
    pub(super) fn wrote(&mut self, state: Arc<State>) {
        if state.revision > self.revision() {
            self.base = None;
            self.take(state);
        }
    }

    /// What was read; `asked_at` is the revision that was known when it was asked for.
    pub(super) fn read(&mut self, base: Base, asked_at: i64, now: Instant) -> Fit {
        let (version, revision) = (base.swarm.version(), base.state.revision);
        if let Some(newest) = &self.newest {
            if newest.cluster != base.state.cluster {
                return Fit::Other(format!(
                    "it is {:x} now, and was {:x}",
                    base.state.cluster, newest.cluster
                ));
            }
            if revision < asked_at {
                let since = *self.older_since.get_or_insert(now);
                let forever = now.saturating_duration_since(since) > STALE;
                if version > self.version || forever {
                    return Fit::Other(format!("it is at revision {revision}, and was at {asked_at}"));
                }
                return Fit::Older;
            }
        }
        self.older_since = None;
        if self.newest.as_ref().is_some_and(|newest| newest.is_rewritten_in(&base.state)) {
            return Fit::Other(format!("revision {} was written anew", self.revision()));
        }
        if revision < self.revision() {
            // Asked for before a write of ours was through: whoever asked may as well get that.
            let state = self.newest.clone().unwrap_or_else(|| Arc::clone(&base.state));
            return Fit::Good(Base { state, ..base });
        }
        if version >= self.version {
            self.version = version;
            self.base = Some(base.clone());
        }
        if self.newest.is_none() || revision > self.revision() {
            self.take(Arc::clone(&base.state));
        }
        Fit::Good(base)
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self, state: Arc<State>) {
        self.history.push_back(Arc::clone(&state));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.newest = Some(state);
    }
}
