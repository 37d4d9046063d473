//! Reads whatever JSON can hold, and refuses what it cannot.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::node::Node;
use super::visit::{Key, Reading};

/// 2^64.
const BEYOND_INTEGERS: f64 = 18_446_744_073_709_551_616.0;

/// Anything that JSON can hold.
#[derive(Clone, Copy)]
pub(super) struct Any<'a> {
    pub(super) reading: &'a Reading,
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.reading.count(4)?;
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.reading.count(4)?;
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.reading.count(8)?;
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.reading.count(8)?;
        Ok(Node::Number(value.into()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Err(E::custom(format!("the number {value} is too large; write \"{value}\" if it is text")))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Err(E::custom(format!("the number {value} is too large; write \"{value}\" if it is text")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.reading.count(8)?;
        // Digits beyond those of an integer come here too, rounded; what was written is not known any more.
        if value.is_finite() && value.abs() >= BEYOND_INTEGERS {
            return Err(E::custom(format!(
                "the number {value} is too large to be kept exactly; write it as text"
            )));
        }
        let number = serde_json::Number::from_f64(value);
        number.map(Node::Number).ok_or_else(|| E::custom("infinity and not-a-number cannot be said in JSON"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.reading.count(value.len())?;
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.reading.count(2)?;
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Node::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.reading.count(2)?;
        let mut fields = Vec::new();
        let mut merged = None;
        let mut seen = HashSet::new();
        while let Some(key) = access.next_key_seed(Key { seen: &mut seen, allowed: None })? {
            self.reading.count(key.len())?;
            if self.reading.merges && key == "<<" {
                merged = Some(access.next_value_seed(Merge { any: self })?);
            } else {
                fields.push((key, access.next_value_seed(self)?));
            }
        }
        // What is written beside a merge beats it; of several merged mappings the first beats the later.
        for (key, value) in merged.into_iter().flatten() {
            if seen.insert(key.clone()) {
                fields.push((key, value));
            }
        }
        Ok(Node::Object(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Node, A::Error> {
        let (tag, _) = access.variant::<String>()?;
        Err(A::Error::custom(format!(
            "the tag !{tag} means nothing here; a value that begins with ! needs quotes"
        )))
    }
}

/// What stands behind `<<`: a mapping or a list of mappings.
struct Merge<'a> {
    any: Any<'a>,
}

impl<'de> DeserializeSeed<'de> for Merge<'_> {
    type Value = Vec<(String, Node)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let wrong = |found: &Node| {
            D::Error::custom(format!("<< merges a mapping or a list of mappings, not {}", found.what()))
        };
        match self.any.deserialize(deserializer)? {
            Node::Object(fields) => Ok(fields),
            Node::List(values) => values.into_iter().try_fold(Vec::new(), |mut all, value| match value {
                Node::Object(fields) => {
                    all.extend(fields);
                    Ok(all)
                }
                other => Err(wrong(&other)),
            }),
            other => Err(wrong(&other)),
        }
    }
}
