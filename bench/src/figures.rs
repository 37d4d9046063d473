//! What was measured, and how it is told.

use std::time::Duration;

/// The figures of one row.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// One a round.
    pub(crate) rounds: Vec<Duration>,
    /// Client calls that failed, in all rounds.
    pub(crate) failed_calls: usize,
    /// Rounds that could not be measured, with the reason.
    pub(crate) broken: Vec<String>,
    /// What else was seen.
    pub(crate) notes: Vec<String>,
}

impl Figures {
    /// The value that this part of the rounds does not exceed, by nearest rank: `0.5` is the median, and of less than
    /// a hundred rounds `0.99` is the worst.
    pub(crate) fn quantile(&self, part: f64) -> Option<Duration> {
        let mut sorted = self.rounds.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "some dozens of rounds"
        )]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

/// Milliseconds, with a tenth where that says something.
pub(crate) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 100.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let of = |rounds: &[u64]| Figures {
            rounds: rounds.iter().map(|ms| Duration::from_millis(*ms)).collect(),
            ..Figures::default()
        };
        let figures = of(&[9, 1, 5, 3]);
        assert_eq!(figures.quantile(0.5), Some(Duration::from_millis(3)));
        assert_eq!(figures.quantile(0.99), Some(Duration::from_millis(9)));
        assert_eq!(of(&[7]).quantile(0.5), Some(Duration::from_millis(7)));
        assert_eq!(of(&[]).quantile(0.5), None);
    }

    #[test]
    fn milliseconds_have_a_tenth_only_where_they_are_few() {
        assert_eq!(millis(Duration::from_micros(6_840)), "6.8");
        assert_eq!(millis(Duration::from_micros(1_303_400)), "1303");
    }
}
