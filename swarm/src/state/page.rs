//! Pages: keys that do not change any more.

use std::ops::Range;

use bytes::Bytes;

use super::{Fresh, Mark, Span};
use crate::wire::{FORMAT, Item, PageBody};

/// What is known of a page without its values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The identity of its config object.
    pub(crate) id: String,
    /// What it weighs before it is packed, in bytes.
    pub(crate) weight: usize,
    /// In order.
    pub(crate) keys: Vec<String>,
    /// Of each key.
    pub(crate) marks: Vec<Mark>,
}

/// The values of a page, one for each key.
pub(crate) type Contents = Vec<Bytes>;

/// A page that no config object holds yet.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// In order of the keys.
    items: Vec<Item>,
}

impl Page {
    /// What a page of this identity holds.
    pub(crate) fn open(id: &str, body: PageBody) -> (Self, Contents) {
        let mut page = Self { id: id.to_owned(), weight: 0, keys: Vec::new(), marks: Vec::new() };
        let mut contents = Contents::new();
        for Item { key, value, created, modified, lease } in body.items {
            page.weight += weight(&key, value.len());
            page.keys.push(key);
            page.marks.push(Mark { created, modified, lease });
            contents.push(value);
        }
        (page, contents)
    }

    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.keys.binary_search_by(|known| known.as_str().cmp(key)).ok()
    }

    /// The numbers of the keys that a span contains.
    pub(super) fn within(&self, span: &Span) -> Range<usize> {
        let from = self.keys.partition_point(|key| key.as_str() < span.from());
        let count = self.keys[from..].iter().take_while(|key| span.contains(key)).count();
        from..from + count
    }
}

impl Draft {
    pub(super) fn of(mut items: Vec<Item>) -> Self {
        items.sort_by(|one, other| one.key.cmp(&other.key));
        Self { items }
    }

    pub(crate) fn body(&self) -> PageBody {
        PageBody { format: FORMAT, items: self.items.clone() }
    }
}

/// What a key weighs in a record or a page, in bytes.
pub(super) fn weight(key: &str, value: usize) -> usize {
    key.len() + value + 24
}

pub(super) fn item(key: &str, fresh: &Fresh) -> Item {
    let Mark { created, modified, lease } = fresh.mark;
    Item { key: key.to_owned(), value: fresh.value.clone(), created, modified, lease }
}
