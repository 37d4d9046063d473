//! Small texts of a spec that mean something: durations, placeholders, signals. And times, as people read them.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration as text: `100ms`, `10s`, `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    pub(crate) const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// Reads `1m30s`. Above a year it is a slip of the pen.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: write it like 100ms, 10s, 1m or 1m30s");
    let mut rest = text;
    let mut total = 0_u64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == &rest[..unit]).ok_or_else(bad)?;
        total = number.checked_mul(*scale).and_then(|ms| total.checked_add(ms)).ok_or_else(bad)?;
        rest = &rest[unit..];
        if rest.is_empty() {
            break;
        }
    }
    if total > 366 * 24 * 3_600_000 {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok(Duration::from_millis(total))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let unit = UNITS.iter().rev().find(|(_, scale)| ms >= *scale && ms % scale == 0);
        let (name, scale) = unit.unwrap_or(&("ms", 1));
        write!(f, "{}{name}", ms / scale)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl de::Visitor<'_> for Visit {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, like 100ms, 10s or 1m")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                duration(text).map(Span).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visit)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$", "description": "A duration: 100ms, 10s, 1m30s"})
    }
}

/// A text or a number, taken as text: a port is either, `${port}` is a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Scalar(pub(crate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl de::Visitor<'_> for Visit {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a whole number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "TextOrNumber".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"]})
    }
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) service: &'a str,
    pub(crate) member: &'a str,
    pub(crate) index: u32,
    pub(crate) port: Option<u16>,
    /// `None` where the directory itself is being named.
    pub(crate) dir: Option<&'a Path>,
}

impl Places<'_> {
    /// Fills in `${…}`; `$$` is a dollar, and a dollar before anything else stays.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('{') {
                let (name, after) = inner.split_once('}').ok_or_else(|| {
                    format!("{text:?} has a ${{ without its }}; write $${{ for the text itself")
                })?;
                out.push_str(&self.value(name)?);
                rest = after;
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str) -> Result<String, String> {
        match (name, self.port, self.dir) {
            ("service", ..) => Ok(self.service.to_owned()),
            ("member", ..) => Ok(self.member.to_owned()),
            ("index", ..) => Ok(self.index.to_string()),
            ("port", Some(port), _) => Ok(port.to_string()),
            ("port", None, _) => Err("${port} needs spec.port, like port: {from: 18080}".to_owned()),
            ("dir", _, Some(dir)) => Ok(dir.to_string_lossy().into_owned()),
            ("dir", _, None) => Err("${dir} cannot stand in the directory's own name".to_owned()),
            _ => Err(format!(
                "${{{name}}} is not known: there are ${{member}}, ${{index}}, ${{port}}, ${{dir}} and ${{service}}; \
                 write $${{{name}}} for the text itself"
            )),
        }
    }
}

const SIGNALS: [(&str, Signal); 7] = [
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("KILL", Signal::KILL),
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// The signal of this name, with or without `SIG`.
pub(crate) fn signal(name: &str) -> Result<Signal, String> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    SIGNALS.iter().find(|(known, _)| *known == short).map(|(_, signal)| *signal).ok_or_else(|| {
        let names: Vec<_> = SIGNALS.iter().map(|(name, _)| *name).collect();
        format!("{name:?} is no signal that is known here: {}", names.join(", "))
    })
}

/// The name of a signal that ended a process: `SIGKILL`, or its number.
pub(crate) fn signal_name(number: i32) -> String {
    let more = [
        ("ABRT", 6),
        ("SEGV", 11),
        ("BUS", 7),
        ("ILL", 4),
        ("FPE", 8),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TRAP", 5),
        ("SYS", 31),
    ];
    let known = SIGNALS.iter().map(|(name, signal)| (*name, signal.as_raw())).chain(more);
    known
        .into_iter()
        .find(|(_, raw)| *raw == number)
        .map_or_else(|| number.to_string(), |(name, _)| format!("SIG{name}"))
}

/// A moment as people and programs read it: `2026-11-21T08:39:10Z`.
pub(crate) fn moment(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [("100ms", 100), ("10s", 10_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "s", "10 s", "-1s", "1.5s", "1d", "99999999999999999999s", "9999999h", "1s1"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(Span::ms(90_000).to_string(), "90s");
        assert_eq!(Span::ms(120_000).to_string(), "2m");
        assert_eq!(Span::ms(1500).to_string(), "1500ms");
    }

    #[test]
    fn placeholders_are_filled_in_and_unknown_ones_refused() {
        let dir = Path::new("/d");
        let places = Places { service: "web", member: "web-1", index: 1, port: Some(81), dir: Some(dir) };
        let filled = places.fill("${service}/${member}/${index}:${port} ${dir} $$ $${x} $HOME $");
        assert_eq!(filled.as_deref(), Ok("web/web-1/1:81 /d $ ${x} $HOME $"));
        assert!(places.fill("${x}").unwrap_err().contains("${x} is not known"));
        assert!(places.fill("${port").is_err());
        assert!(Places { port: None, ..places }.fill("${port}").unwrap_err().contains("spec.port"));
    }

    #[test]
    fn signals_have_both_spellings() {
        assert_eq!(signal("TERM"), signal("SIGTERM"));
        assert!(signal("SEGV").is_err());
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(63), "63");
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_709_210_096_789), "2024-02-29T12:34:56Z");
    }
}
