//! Small texts of a spec that mean something: durations, sizes, processors.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A duration as text: `100ms`, `10s`, `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// Bytes: a number, or text with a unit: `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) i64);

/// Processors: a number, such as 0.5; in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) i64);

/// A text or a whole number, taken as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar(pub(crate) String);

const SPANS: [(&str, i64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, i64); 8] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
const YEAR_MS: i64 = 366 * 24 * 3_600_000;

impl Span {
    pub(crate) const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// As Docker counts time.
    pub(crate) fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// Sums up `1m30s`: numbers, each with one of the units.
fn sum(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
        total = number.parse::<i64>().ok()?.checked_mul(*scale)?.checked_add(total)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn span(text: &str) -> Result<Span, String> {
    match sum(text, &SPANS) {
        None => Err(format!("{text:?} is no duration: write it like 100ms, 10s, 1m or 1m30s")),
        Some(ms) if ms > YEAR_MS => Err(format!("{text:?} is longer than a year")),
        Some(ms) => Ok(Span(Duration::from_millis(ms.unsigned_abs()))),
    }
}

fn size(text: &str) -> Result<Size, String> {
    sum(text, &SIZES)
        .map(Size)
        .ok_or_else(|| format!("{text:?} is no size: write it in bytes, or like 512kB, 64MiB or 2GiB"))
}

fn cpus(number: f64) -> Result<Cpus, String> {
    if !(0.0..=10_000.0).contains(&number) {
        return Err(format!("{number} is no number of processors: write it like 0.5 or 2"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
    Ok(Cpus((number * 1e9).round() as i64))
}

struct Visit<T> {
    what: &'static str,
    text: fn(&str) -> Result<T, String>,
    number: Option<fn(f64) -> Result<T, String>>,
}

impl<T> Visit<T> {
    fn count<E: de::Error>(self, number: f64) -> Result<T, E> {
        match self.number {
            Some(read) => read(number).map_err(E::custom),
            None => Err(E::invalid_type(de::Unexpected::Float(number), &self)),
        }
    }
}

impl<T> de::Visitor<'_> for Visit<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        #[expect(clippy::cast_precision_loss, reason = "what is that large is refused")]
        self.count(number as f64)
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        #[expect(clippy::cast_precision_loss, reason = "what is that large is refused")]
        self.count(number as f64)
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.count(number)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "a duration with its unit, like 100ms, 10s or 1m";
        deserializer.deserialize_any(Visit { what, text: span, number: None })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = |number: f64| {
            if number.fract() != 0.0 || !(0.0..=9e15).contains(&number) {
                return Err(format!("{number} is no size in bytes"));
            }
            #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
            Ok(Self(number as i64))
        };
        deserializer.deserialize_any(Visit { what: "a size, like 64MiB", text: size, number: Some(number) })
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |text: &str| {
            let bad = |_| format!("{text:?} is no number of processors: write it like 0.5 or 2");
            text.parse().map_err(bad).and_then(cpus)
        };
        let what = "a number of processors, like 0.5 or 2";
        deserializer.deserialize_any(Visit { what, text, number: Some(cpus) })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = |number: f64| {
            if number.fract() == 0.0 && number.abs() < 9e15 {
                return Ok(Self(format!("{number:.0}")));
            }
            Err(format!("{number} is not whole: write it as text"))
        };
        let text = |text: &str| Ok(Self(text.to_owned()));
        deserializer.deserialize_any(Visit { what: "a text or a whole number", text, number: Some(number) })
    }
}

macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Span, "Duration", {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$", "description": "A duration: 100ms, 10s, 1m30s"});
schema!(Size, "Size", {"type": ["string", "integer"], "description": "A size: bytes, or 512kB, 64MiB, 2GiB"});
schema!(Cpus, "Processors", {"type": ["string", "number"], "description": "Processors: 0.5, 2"});
schema!(Scalar, "TextOrNumber", {"type": ["string", "integer"]});

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|cause| cause.to_string())
    }

    #[test]
    fn durations_sizes_and_processors_are_read() {
        assert_eq!(read::<Span>(r#""1m30s""#).unwrap().nanos(), 90_000_000_000);
        assert_eq!(read::<Size>(r#""64MiB""#), Ok(Size(64 << 20)));
        assert_eq!(read::<Size>("1000"), Ok(Size(1000)));
        assert_eq!(read::<Cpus>("0.5"), Ok(Cpus(500_000_000)));
        assert_eq!(read::<Cpus>(r#""2""#), Ok(Cpus(2_000_000_000)));
        assert_eq!(read::<Scalar>("80"), Ok(Scalar("80".to_owned())));
        assert_eq!(read::<Scalar>("-1"), Ok(Scalar("-1".to_owned())));
    }

    #[test]
    fn what_is_none_is_refused_with_how_to_write_it() {
        for bad in [r#""""#, r#""10""#, r#""s""#, r#""1d""#, r#""9999h999999999999h""#, "5"] {
            assert!(read::<Span>(bad).is_err(), "{bad}");
        }
        for bad in [r#""64M iB""#, r#""many""#, "1.5", "-1", r#""9999999999TiB""#] {
            assert!(read::<Size>(bad).is_err(), "{bad}");
        }
        for bad in ["-1", r#""two""#, "100000"] {
            assert!(read::<Cpus>(bad).is_err(), "{bad}");
        }
        assert!(read::<Span>(r#""1d""#).unwrap_err().contains("1m30s"));
        assert!(read::<Size>(r#""many""#).unwrap_err().contains("64MiB"));
    }
}
