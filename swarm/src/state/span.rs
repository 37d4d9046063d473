//! Keys that lie together.

use std::collections::BTreeMap;
use std::ops::Bound;

use om_kv::{End, Range};

/// One key, or all from one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    from: String,
    end: End,
}

impl Span {
    pub(crate) fn of(range: &Range) -> Self {
        Self { from: range.key.clone(), end: range.end.clone() }
    }

    pub(crate) fn prefix(prefix: &str) -> Self {
        Self { from: prefix.to_owned(), end: End::Prefix }
    }

    pub(crate) fn from_wire(from: String, kind: u32, before: String) -> Self {
        let end = match kind {
            0 => End::One,
            1 => End::Prefix,
            _ => End::Before(before),
        };
        Self { from, end }
    }

    pub(crate) fn to_wire(&self) -> (String, u32, String) {
        let (kind, before) = match &self.end {
            End::One => (0, ""),
            End::Prefix => (1, ""),
            End::Before(before) => (2, before.as_str()),
        };
        (self.from.clone(), kind, before.to_owned())
    }

    /// The key, if it is only one.
    pub(crate) fn one(&self) -> Option<&str> {
        matches!(self.end, End::One).then_some(&self.from)
    }

    /// Where it begins.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        match &self.end {
            End::One => key == self.from,
            End::Prefix => key.starts_with(&self.from),
            End::Before(before) => key >= self.from.as_str() && key < before.as_str(),
        }
    }

    pub(crate) fn of_map<'a, V>(
        &self,
        map: &'a BTreeMap<String, V>,
    ) -> impl Iterator<Item = (&'a str, &'a V)> {
        let from = (Bound::Included(self.from.as_str()), Bound::Unbounded);
        map.range::<str, _>(from)
            .take_while(|(key, _)| self.contains(key))
            .map(|(key, value)| (&**key, value))
    }
}

impl Span {
    /// Whether a key could lie in both; said too often rather than too seldom.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let reaches = |one: &Self, from: &str| match &one.end {
            End::One => one.from.as_str() >= from,
            End::Prefix => one.from.as_str() >= from || from.starts_with(&one.from),
            End::Before(before) => from < before.as_str(),
        };
        reaches(self, &other.from) && reaches(other, &self.from)
    }
}
