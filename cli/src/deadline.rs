//! When a command must be over.

use std::time::Duration;

use om_api::clock::since_boot;

use crate::failure::{Failure, Result};

/// The moment at which `--timeout` runs out, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Option<Duration>,
    timeout: Duration,
}

impl Deadline {
    /// `timeout` from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { at: Some(since_boot() + timeout), timeout }
    }

    /// Never.
    pub(crate) fn never() -> Self {
        Self { at: None, timeout: Duration::ZERO }
    }

    /// What is left; `None`: there is no end.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_sub(since_boot()))
    }

    /// Whether it has passed.
    pub(crate) fn passed(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// How long it was at first, for people.
    pub(crate) fn describe(&self) -> String {
        human(self.timeout)
    }

    /// Waits for `future`; `None` when the time was up first.
    pub(crate) async fn bound<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match self.left() {
            None => Some(future.await),
            Some(left) => tokio::time::timeout(left, future).await.ok(),
        }
    }

    /// Sleeps for `pause`, or until the time is up.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::time::sleep(self.left().map_or(pause, |left| left.min(pause))).await;
    }
}

/// Reads `30s`, `500ms`, `1m 30s`, or a plain number of seconds.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration> {
    let wrong = || {
        Failure::usage(format!("the timeout {text:?} is no duration above zero"))
            .hint("write it as 30s, 500ms or 2m")
    };
    let text = text.trim();
    let duration = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => {
            let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
            Duration::try_from(parsed).map_err(|_| wrong())?
        }
    };
    if duration.is_zero() || duration > Duration::from_secs(10 * 365 * 24 * 3600) {
        return Err(wrong());
    }
    Ok(duration)
}

/// A duration for people: `30s`, `1m 30s`, `250ms`.
pub(crate) fn human(duration: Duration) -> String {
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
    fn timeouts_are_read_as_people_write_them() {
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("30", 30_000), ("1m 30s", 90_000)]
        {
            assert_eq!(parse_timeout(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "0", "0s", "-3s", "soon", "3 fortnights"] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_short_for_people() {
        for (millis, text) in
            [(250, "250ms"), (1_500, "1.5s"), (30_000, "30s"), (90_000, "1m 30s"), (7_200_000, "2h")]
        {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }
}
