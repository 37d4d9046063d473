//! How long leadership lasts without news, as one validated value.

use std::time::Duration;

/// Three durations that only make sense together: `ttl > renew deadline > retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    ttl: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

/// Why three durations are not a timing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// One is too short to be kept on a busy machine.
    #[error("{what} is {given:?}; it cannot be less than {least:?}")]
    TooShort {
        /// Which.
        what: &'static str,
        /// As given.
        given: Duration,
        /// The floor.
        least: Duration,
    },
    /// One must be greater than another.
    #[error("{greater} ({greater_is:?}) must be more than {less} ({less_is:?})")]
    Order {
        /// The name of the greater one.
        greater: &'static str,
        /// Its value.
        greater_is: Duration,
        /// The name of the lesser one.
        less: &'static str,
        /// Its value.
        less_is: Duration,
    },
}

impl Timing {
    /// The shortest retry.
    pub const MIN_RETRY: Duration = Duration::from_millis(10);

    /// Checks and makes a timing.
    ///
    /// # Errors
    /// [`TimingError`] names the two that do not fit.
    pub fn new(ttl: Duration, renew_deadline: Duration, retry: Duration) -> Result<Self, TimingError> {
        if retry < Self::MIN_RETRY {
            return Err(TimingError::TooShort { what: "retry", given: retry, least: Self::MIN_RETRY });
        }
        let above = |greater, greater_is, less, less_is| {
            if greater_is > less_is {
                Ok(())
            } else {
                Err(TimingError::Order { greater, greater_is, less, less_is })
            }
        };
        above("renew deadline", renew_deadline, "retry", retry)?;
        above("ttl", ttl, "renew deadline", renew_deadline)?;
        Ok(Self { ttl, renew_deadline, retry })
    }

    /// The usual proportions for a ttl: renew deadline 7/8 of it, retry 1/2. So a confirmation may take 3/8. Each costs every
    /// replica a wake-up and a message or two, whether anything happens or not; and one that is lost is not made good by a
    /// sooner next one, since both go over one connection.
    ///
    /// # Errors
    /// [`TimingError::TooShort`] for a ttl under 20 ms.
    pub fn from_ttl(ttl: Duration) -> Result<Self, TimingError> {
        Self::new(ttl, ttl / 8 * 7, Self::retry_of(ttl))
    }

    /// The usual time between two confirmations that last for `ttl`.
    #[must_use]
    pub fn retry_of(ttl: Duration) -> Duration {
        ttl / 2
    }

    /// The same proportions for another ttl, to the millisecond.
    ///
    /// # Errors
    /// [`TimingError`] if it is too short for them.
    pub fn at(&self, ttl: Duration) -> Result<Self, TimingError> {
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let share = |part: Duration| ttl.saturating_mul(millis(part)) / millis(self.ttl).max(1);
        Self::new(ttl, share(self.renew_deadline), share(self.retry))
    }

    /// How long a confirmation counts, from before it was asked for: the authority deadline.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A leader that could not confirm for this long steps down: before its authority runs out.
    #[must_use]
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// Time between two confirmations, and the shortest time between two attempts.
    #[must_use]
    pub fn retry(&self) -> Duration {
        self.retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn another_ttl_keeps_the_proportions() {
        let usual = Timing::from_ttl(280 * MS).unwrap();
        assert_eq!(usual.at(560 * MS), Timing::new(560 * MS, 490 * MS, 280 * MS));
        assert_eq!(usual.at(280 * MS), Ok(usual));
        assert!(matches!(usual.at(19 * MS), Err(TimingError::TooShort { what: "retry", .. })));
    }

    #[test]
    fn a_timing_out_of_order_is_refused() {
        assert!(Timing::new(2000 * MS, 1600 * MS, 400 * MS).is_ok());
        assert!(matches!(
            Timing::new(1000 * MS, 1000 * MS, 100 * MS),
            Err(TimingError::Order { greater: "ttl", .. })
        ));
        assert!(matches!(
            Timing::new(1000 * MS, 200 * MS, 200 * MS),
            Err(TimingError::Order { greater: "renew deadline", .. })
        ));
        assert!(matches!(
            Timing::new(1000 * MS, 500 * MS, MS),
            Err(TimingError::TooShort { what: "retry", .. })
        ));
    }
}
