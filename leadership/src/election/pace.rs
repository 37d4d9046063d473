//! How long one renewal lasts: the floor, and as much more as the delays that were seen ask for. Pure.

use std::time::Duration;

/// A delay is forgotten by half in this time.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Renewals last at least this many times the longest delay seen lately.
const TIMES: u32 = 4;

/// The leader's renewals follow the delays that it sees between asking and hearing enough promises, so that a busy
/// machine gets longer deadlines instead of needless takeovers.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    floor: Duration,
    most: Duration,
    delay: Duration,
    seen_at: Duration,
}

impl Pace {
    pub(super) fn new(floor: Duration, most: Duration) -> Self {
        Self { floor, most: most.max(floor), delay: Duration::ZERO, seen_at: Duration::ZERO }
    }

    /// So long a delay was seen now.
    pub(super) fn saw(&mut self, now: Duration, delay: Duration) {
        while self.delay > Duration::ZERO && now.saturating_sub(self.seen_at) >= HALF_LIFE {
            self.delay /= 2;
            self.seen_at += HALF_LIFE;
        }
        if delay >= self.delay {
            self.delay = delay;
            self.seen_at = now;
        }
    }

    /// How long a renewal lasts now.
    pub(super) fn authority(&self) -> Duration {
        self.delay.saturating_mul(TIMES).clamp(self.floor, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_last_longer_after_a_delay_and_shorten_again() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(ms(200), ms(2000));
        assert_eq!(pace.authority(), ms(200));
        pace.saw(ms(1000), ms(30));
        assert_eq!(pace.authority(), ms(200));
        pace.saw(ms(1100), ms(120));
        assert_eq!(pace.authority(), ms(480));
        pace.saw(ms(1200), ms(3000));
        assert_eq!(pace.authority(), ms(2000));
        pace.saw(ms(61_200), ms(1));
        assert_eq!(pace.authority(), ms(200));
    }
}
