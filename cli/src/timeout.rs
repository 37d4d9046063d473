//! `--timeout`, as people write it.

use std::time::Duration;

use crate::failure::{Failure, Result};

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
}
