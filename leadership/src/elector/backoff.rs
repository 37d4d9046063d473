//! A pause that doubles.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    current: Duration,
}

impl Backoff {
    /// From `first`, doubling up to `most`, but never under `first`.
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most: most.max(first), current: first }
    }

    pub(super) fn current(&self) -> Duration {
        self.current
    }

    /// The pause to make now; the next one is longer.
    pub(super) fn advance(&mut self) -> Duration {
        let pause = self.current;
        self.current = pause.saturating_mul(2).min(self.most);
        pause
    }

    pub(super) fn reset(&mut self) {
        self.current = self.first;
    }
}
