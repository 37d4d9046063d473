//! Time for measuring and for deadlines.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, suspension included.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// A duration as a person reads it: `0.8 ms`, `34 ms`, `2.7 s`, `3 min 12 s`.
pub(crate) fn show(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs_f64(), duration.as_secs_f64() * 1e3);
    match duration.as_millis() {
        0..10 => format!("{millis:.1} ms"),
        10..1_000 => format!("{millis:.0} ms"),
        1_000..100_000 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let shown = [800, 34_000, 2_700_000, 192_000_000].map(|micros| show(Duration::from_micros(micros)));
        assert_eq!(shown, ["0.8 ms", "34 ms", "2.7 s", "3 min 12 s"]);
    }
}
