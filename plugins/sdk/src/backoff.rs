//! How long to wait before trying again.

use std::time::Duration;

/// Doubling pauses.
pub(crate) struct Backoff {
    next: Duration,
    shortest: Duration,
    longest: Duration,
}

impl Backoff {
    /// For the plugin's own work: from 0.2 s to 30 s.
    pub(crate) fn new() -> Self {
        Self::between(Duration::from_millis(200), Duration::from_secs(30))
    }

    pub(crate) fn between(shortest: Duration, longest: Duration) -> Self {
        Self { next: shortest, shortest, longest }
    }

    /// The pause to make now; the next one is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// What ran for this long before it failed starts over with short pauses, if it was longer than any pause.
    pub(crate) fn ran_for(&mut self, ran: Duration) {
        if ran > self.longest {
            self.next = self.shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_fifth_of_a_second_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        backoff.ran_for(Duration::from_secs(31));
        assert_eq!(backoff.pause().as_millis(), 200);
    }
}
