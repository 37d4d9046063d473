//! What programs of OpenManage log, and how: to stderr, as much as `--log` says.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// How a line of log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged: a level from 0 to 5, or a filter such as `om=debug` (directives of `tracing`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

impl Level {
    /// The level that is used when nobody says: 3.
    pub const DEFAULT: &str = "3";

    /// As a filter's directives. Targets of ours begin with `om`.
    #[must_use]
    pub fn directives(&self) -> &str {
        match self.0.as_str() {
            "0" => "error",
            "1" => "error,om=warn",
            "2" => "warn",
            "3" => "warn,om=info",
            "4" => "info,om=debug",
            "5" => "info,om=trace",
            directives => directives,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = "a log level is 0 to 5, or a filter such as om=debug";
        if text.parse::<i64>().is_ok_and(|level| !(0..=5).contains(&level)) {
            return Err(format!("{why}, not {text}"));
        }
        let level = Self(text.to_owned());
        EnvFilter::try_new(level.directives()).map_err(|cause| format!("{why}: {cause}"))?;
        Ok(level)
    }
}

/// Sends the log of this process to stderr, from now on. Does nothing where it is set up already.
pub fn init(level: &Level, format: Format) {
    let filter = EnvFilter::try_new(level.directives()).unwrap_or_default();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_number_up_to_five_or_a_filter() {
        for good in ["0", "1", "2", "3", "4", "5", "om=debug", "info", "om_plugin_sdk=trace,warn"] {
            assert!(good.parse::<Level>().is_ok(), "{good}");
        }
        for bad in ["6", "-1", "17", "om=loud"] {
            let why = bad.parse::<Level>().expect_err(bad);
            assert!(why.contains("0 to 5"), "{why}");
        }
    }

    #[test]
    fn more_is_logged_with_each_level() {
        let levels: Vec<_> =
            ["3", "4", "5"].iter().map(|level| level.parse::<Level>().expect("good")).collect();
        let directives: Vec<_> = levels.iter().map(Level::directives).collect();
        assert_eq!(directives, ["warn,om=info", "info,om=debug", "info,om=trace"]);
    }
}
