//! What happens, written down by everybody at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_checker::{Event, What};

/// The history of a run. Its clock is the machine's own (CLOCK_BOOTTIME), whatever clocks the programs see.
#[derive(Clone, Default)]
pub(crate) struct History(Arc<Pages>);

#[derive(Default)]
struct Pages {
    events: Mutex<Vec<Event>>,
    numbers: AtomicU64,
}

impl History {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A number that nothing else has: of a call, a stream, a value.
    pub(crate) fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// It happens now.
    pub(crate) fn add(&self, what: What) {
        self.add_at(since_boot(), what);
    }

    /// It happened then.
    pub(crate) fn add_at(&self, at: Duration, what: What) {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).push(Event::new(at, what));
    }

    /// Everything that happened.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
