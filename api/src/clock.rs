//! The one place where programs of OpenManage read a clock.
//!
//! A deadline on authority must run on while the machine sleeps, or a manager that wakes after an hour would believe
//! its leadership still confirmed. `std::time::Instant` stops then (`CLOCK_MONOTONIC`); `CLOCK_BOOTTIME` does not.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock for deadlines: time since some fixed moment, never going back, running on during suspend.
///
/// Passed to whoever keeps a deadline, so that a test or a simulation can supply its own.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The machine's own clock: [`since_boot`].
#[must_use]
pub fn boot() -> Clock {
    Arc::new(since_boot)
}

/// Time since the machine was booted, with the time it slept (`CLOCK_BOOTTIME`).
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Wall time in milliseconds since 1970 UTC. For people; nothing is ever decided by it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads wall time")]
pub fn wall_unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
