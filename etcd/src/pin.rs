//! Which endpoint is asked, and for how long: decided here, without asking anybody.

use std::time::Duration;

/// The longest attempt.
const LONGEST: Duration = Duration::from_secs(2);

/// The endpoint that is asked at present, and how patient to be with it.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    endpoints: usize,
    attempt: Duration,
    index: usize,
    /// Failures since the last success: each doubles the time of an attempt.
    failures: u32,
    /// How long what worked lately took, about.
    pace: Duration,
}

impl Pin {
    pub(crate) fn new(endpoints: usize, attempt: Duration) -> Self {
        Self { endpoints, attempt, index: 0, failures: 0, pace: Duration::ZERO }
    }

    /// The endpoint to ask, and how long the attempt may take.
    pub(crate) fn next(&self) -> (usize, Duration) {
        // A cluster that needs 90 ms for everything must not be asked everything twice.
        let usual = self.attempt.max(self.pace * 3);
        let longer = usual.saturating_mul(1 << self.failures.min(8));
        (self.index, longer.min(LONGEST.max(self.attempt)))
    }

    /// After how long a silence another is asked beside the one that was asked.
    pub(crate) fn beside(&self) -> Duration {
        (self.attempt / 4).max(self.pace * 4)
    }

    /// The leader is there: it is asked first, if nothing speaks against it.
    pub(crate) fn prefer(&mut self, index: usize) {
        self.index = index;
        self.failures = 0;
    }

    /// An attempt there worked.
    pub(crate) fn worked(&mut self, index: usize, took: Duration) {
        self.pace = (self.pace * 7 + took.min(LONGEST)) / 8;
        if index == self.index {
            self.failures = 0;
        }
    }

    /// An attempt there failed. Of several that fail at the same time, one moves the pin.
    pub(crate) fn failed(&mut self, index: usize) {
        if index == self.index {
            self.index = (index + 1) % self.endpoints;
            self.failures = self.failures.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_leader_is_asked_first_until_it_fails() {
        let mut pin = Pin::new(3, 100 * MS);
        pin.failed(0);
        pin.prefer(2);
        assert_eq!(pin.next(), (2, 100 * MS));
        pin.failed(2);
        assert_eq!(pin.next(), (0, 200 * MS));
    }

    #[test]
    fn a_failure_moves_to_the_next_endpoint_with_more_patience_and_success_resets_it() {
        let mut pin = Pin::new(3, 100 * MS);
        let mut seen = Vec::new();
        for _ in 0..6 {
            let (index, length) = pin.next();
            seen.push((index, length.as_millis()));
            pin.failed(index);
        }
        assert_eq!(seen, [(0, 100), (1, 200), (2, 400), (0, 800), (1, 1600), (2, 2000)]);
        pin.worked(0, MS);
        assert_eq!(pin.next(), (0, 100 * MS));
    }

    #[test]
    fn many_that_fail_at_once_move_it_by_one() {
        let mut pin = Pin::new(3, 100 * MS);
        (0..50).for_each(|_| pin.failed(0));
        assert_eq!(pin.next(), (1, 200 * MS));
    }

    #[test]
    fn a_slow_cluster_gets_attempts_that_fit_it() {
        let mut pin = Pin::new(1, 100 * MS);
        (0..50).for_each(|_| pin.worked(0, 90 * MS));
        assert!(pin.next().1 > 200 * MS, "{:?}", pin.next());
        (0..50).for_each(|_| pin.worked(0, MS));
        assert_eq!(pin.next().1, 100 * MS);
    }
}
