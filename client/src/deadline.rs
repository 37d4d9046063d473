//! When a call must be over.

use std::time::Duration;

use om_api::clock::since_boot;

/// The moment at which the time runs out, or none.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Option<Duration>,
    timeout: Duration,
}

impl Deadline {
    /// `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self { at: Some(since_boot() + timeout), timeout }
    }

    /// Never.
    #[must_use]
    pub fn never() -> Self {
        Self { at: None, timeout: Duration::ZERO }
    }

    /// What is left; `None`: there is no end.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_sub(since_boot()))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// How long it was at first.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long it was at first, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        human(self.timeout)
    }

    /// Waits for `future`; `None` when the time was up first.
    pub async fn bound<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match self.left() {
            None => Some(future.await),
            Some(left) => tokio::time::timeout(left, future).await.ok(),
        }
    }

    /// Sleeps for `pause`, or until the time is up.
    pub async fn pause(&self, pause: Duration) {
        tokio::time::sleep(self.left().map_or(pause, |left| left.min(pause))).await;
    }
}

/// A duration for people: `30s`, `1m 30s`, `250ms`.
#[must_use]
pub fn human(duration: Duration) -> String {
    let (secs, millis) = (duration.as_secs(), duration.subsec_millis());
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, 0) => format!("{millis}ms"),
        (0, 0, s) if millis != 0 && s < 10 => format!("{s}.{:01}s", millis / 100),
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_for_people() {
        for (millis, text) in
            [(250, "250ms"), (1_500, "1.5s"), (30_000, "30s"), (90_000, "1m 30s"), (7_200_000, "2h")]
        {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }
}
