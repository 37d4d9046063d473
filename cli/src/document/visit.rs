//! Reads a document strictly, so that the parser's position is that of the fault.
//!
//! Both parsers put their position onto an error that a visitor raises. Therefore each check is made while the value to
//! blame is visited, not afterwards.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use om_api::MAX_SPEC_BYTES;
use om_api::names::check_service;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::value::Any;

/// What one document may unfold to, in bytes of content: aliases can make much out of little.
const MAX_UNFOLDED_BYTES: usize = 128 * 1024 * 1024;

/// What the top of a document says.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) spec: Vec<u8>,
}

/// Reads the top of a document; `None`: the document is empty.
#[derive(Clone, Copy)]
pub(super) struct TopSeed<'a> {
    pub(super) reading: &'a Reading,
}

/// What all of one document shares.
#[derive(Debug)]
pub(super) struct Reading {
    /// Whether `<<` merges, as in YAML.
    pub(super) merges: bool,
    unfolded: Cell<usize>,
}

impl Reading {
    pub(super) fn new(merges: bool) -> Self {
        Self { merges, unfolded: Cell::new(0) }
    }

    pub(super) fn count<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let sum = self.unfolded.get() + bytes + 8;
        self.unfolded.set(sum);
        if sum > MAX_UNFOLDED_BYTES {
            return Err(E::custom("its aliases unfold to more than 128 MiB"));
        }
        Ok(())
    }
}

const FIELDS: [&str; 4] = ["kind", "name", "labels", "spec"];

impl<'de> DeserializeSeed<'de> for TopSeed<'_> {
    type Value = Option<Top>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Top>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

const NOT_A_SERVICE: &str = "a service is a mapping with kind, name and spec";

impl<'de> Visitor<'de> for TopSeed<'_> {
    type Value = Option<Top>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_A_SERVICE)
    }

    fn visit_unit<E>(self) -> Result<Option<Top>, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Option<Top>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Top>, E> {
        let start: String = text.chars().take(40).collect();
        Err(E::custom(format!("{NOT_A_SERVICE}, not the text {start:?}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Option<Top>, A::Error> {
        Err(A::Error::custom(format!("{NOT_A_SERVICE}, not a list; separate several with ---")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Option<Top>, A::Error> {
        let reading = self.reading;
        let (mut name, mut kind, mut labels, mut spec) = (None, None, None, None);
        let mut seen = HashSet::new();
        while let Some(key) = access.next_key_seed(Key { seen: &mut seen, allowed: Some(&FIELDS) })? {
            match key.as_str() {
                "name" => {
                    name = Some(access.next_value_seed(Text { field: "name", check: check_service })?);
                }
                "kind" => {
                    kind = Some(access.next_value_seed(Text { field: "kind", check: check_kind })?);
                }
                "labels" => labels = Some(access.next_value_seed(Labels)?),
                _ => spec = Some(access.next_value_seed(Spec { reading })?),
            }
        }
        let missing =
            |field: &str| A::Error::custom(format!("the field {field:?} is missing; {NOT_A_SERVICE}"));
        Ok(Some(Top {
            kind: kind.ok_or_else(|| missing("kind"))?,
            name: name.ok_or_else(|| missing("name"))?,
            labels: labels.unwrap_or_default(),
            spec: spec.unwrap_or_else(|| b"{}".to_vec()),
        }))
    }
}

fn check_kind(kind: &str) -> Result<(), String> {
    if kind.trim().is_empty() {
        Err("the kind is empty; `om plugins` lists the kinds".to_owned())
    } else {
        Ok(())
    }
}

/// A key: a string, once.
pub(super) struct Key<'a> {
    pub(super) seen: &'a mut HashSet<String>,
    pub(super) allowed: Option<&'a [&'static str]>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn key_is_no_text<E: Error>(shown: impl fmt::Display) -> E {
    E::custom(format!("the key {shown} is no string; write \"{shown}\""))
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string as key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if let Some(allowed) = self.allowed
            && !allowed.contains(&key)
        {
            return Err(E::custom(format!("unknown field {key:?}; a service has {}", allowed.join(", "))));
        }
        if !self.seen.insert(key.to_owned()) {
            return Err(E::custom(format!("the field {key:?} is given twice")));
        }
        Ok(key.to_owned())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<String, E> {
        Err(key_is_no_text(key))
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<String, E> {
        Err(key_is_no_text(key))
    }

    fn visit_f64<E: Error>(self, key: f64) -> Result<String, E> {
        Err(key_is_no_text(key))
    }

    fn visit_bool<E: Error>(self, key: bool) -> Result<String, E> {
        Err(key_is_no_text(key))
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(E::custom("a key is empty or null; a key must be a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom(
            "a key is a list; a key must be a string (a { or [ at the start of a value needs quotes)",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom(
            "a key is a mapping; a key must be a string (a { or [ at the start of a value needs quotes)",
        ))
    }
}

/// A string that is checked while its position is known.
struct Text {
    field: &'static str,
    check: fn(&str) -> Result<(), String>,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Text {
    fn wrong<E: Error>(&self, shown: impl fmt::Display) -> E {
        E::custom(format!("{} must be text, not {shown}; write \"{shown}\"", self.field))
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text for {}", self.field)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        (self.check)(text).map_err(E::custom)?;
        Ok(text.to_owned())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Err(self.wrong(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Err(self.wrong(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        Err(self.wrong(value))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Err(self.wrong(value))
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(E::custom(format!("{} must be text, and nothing is given", self.field)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom(format!("{} must be text, not a list", self.field)))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom(format!("{} must be text, not a mapping", self.field)))
    }
}

/// The labels: text by text.
struct Labels;

impl<'de> DeserializeSeed<'de> for Labels {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Labels {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels as a mapping of text to text")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut labels = BTreeMap::new();
        let mut seen = HashSet::new();
        while let Some(key) = access.next_key_seed(Key { seen: &mut seen, allowed: None })? {
            let value = access.next_value_seed(Text { field: "a label's value", check: |_| Ok(()) })?;
            labels.insert(key, value);
        }
        Ok(labels)
    }
}

/// The spec: a mapping, as compact JSON.
struct Spec<'a> {
    reading: &'a Reading,
}

impl<'de> DeserializeSeed<'de> for Spec<'_> {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Spec<'_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping for spec")
    }

    fn visit_unit<E>(self) -> Result<Vec<u8>, E> {
        Ok(b"{}".to_vec())
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Vec<u8>, A::Error> {
        let node = Any { reading: self.reading }.visit_map(access)?;
        let json = serde_json::to_vec(&node).map_err(A::Error::custom)?;
        if json.len() > MAX_SPEC_BYTES {
            return Err(A::Error::custom(format!(
                "the spec has {} bytes as JSON, more than the {MAX_SPEC_BYTES} that a service may have",
                json.len()
            )));
        }
        Ok(json)
    }
}
