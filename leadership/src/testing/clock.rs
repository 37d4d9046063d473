//! A clock that follows tokio's, and can jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::Clock;

/// Follows tokio's clock, which a test can pause, and can jump ahead of it: as when the machine slept, or the process
/// was stopped.
#[derive(Clone, Debug)]
pub struct TestClock {
    start: Instant,
    ahead_ns: Arc<AtomicU64>,
}

impl TestClock {
    /// A clock that reads zero now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), ahead_ns: Arc::default() }
    }

    /// What it reads.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed() + Duration::from_nanos(self.ahead_ns.load(Ordering::SeqCst))
    }

    /// Jumps ahead. No timer of tokio notices.
    pub fn jump(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.ahead_ns.fetch_add(ns, Ordering::SeqCst);
    }

    /// As a campaign takes it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}
