//! States on their way to the manager.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::record::Record;

/// What a save ends with: stored, or why not.
pub(crate) type Answer = oneshot::Receiver<Result<(), String>>;

/// The saves that wait for an answer; at most one a service, for each holds its service's turn.
#[derive(Default)]
pub(crate) struct Saves(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    last: u64,
    waiting: HashMap<u64, Waiting>,
    closed: bool,
}

struct Waiting {
    record: Arc<Record>,
    state: Bytes,
    answer: oneshot::Sender<Result<(), String>>,
    _turn: OwnedMutexGuard<()>,
}

impl Saves {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a save; `None` for the number when the session is over already.
    pub(crate) fn begin(
        &self,
        record: &Arc<Record>,
        state: Bytes,
        turn: OwnedMutexGuard<()>,
    ) -> (Option<u64>, Answer) {
        let (sender, answer) = oneshot::channel();
        let mut inner = self.lock();
        if inner.closed {
            return (None, answer);
        }
        inner.last += 1;
        let number = inner.last;
        let waiting = Waiting { record: record.clone(), state, answer: sender, _turn: turn };
        inner.waiting.insert(number, waiting);
        (Some(number), answer)
    }

    /// The manager's answer; an empty error means stored. The state counts as saved even if nobody waits any more.
    pub(crate) fn answered(&self, number: u64, error: String) {
        let Some(Waiting { record, state, answer, _turn }) = self.lock().waiting.remove(&number) else {
            return;
        };
        let result = if error.is_empty() { Ok(()) } else { Err(error) };
        if result.is_ok() {
            record.saved(state);
        }
        let _ = answer.send(result);
    }

    /// Nothing is answered any more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
    }
}
