//! All keys at one revision, as a value: what a transaction makes of it, what differs between two. No I/O.
//!
//! The newest keys are in memory (`fresh`, the record's own), the others in immutable [pages](Page), of which the keys
//! are known here and the values lie on a [`Shelf`]. Nothing in a page is ever changed: **of all that is said of a key
//! the newest counts**, and a [`Grave`] says that keys were deleted. So the order of the pages means nothing, and they
//! can be merged in any combination.

mod decide;
mod diff;
mod page;
mod plan;
mod span;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use om_kv::{Found, Header, Kv, Range};

pub(crate) use decide::{Decision, Unfit, decide};
pub(crate) use diff::{Change, changes};
pub(crate) use page::{Contents, Draft, Page};
pub(crate) use plan::{Plan, plan};
pub(crate) use span::Span;

use crate::wire::{self, FORMAT, Record};

/// How many of the last transactions are known by their nonces.
const NONCES: usize = 32;

/// All keys at one revision. A clone is cheap: pages are shared, and what is in none is little.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) cluster: u64,
    pub(crate) revision: i64,
    /// Deletions up to this revision may have left no grave.
    pub(crate) floor: i64,
    nonces: Vec<u64>,
    fresh: BTreeMap<String, Fresh>,
    graves: Vec<Grave>,
    pub(crate) pages: Vec<Arc<Page>>,
}

/// When a key was written, and the lease that it lives under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) lease: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fresh {
    pub(crate) mark: Mark,
    pub(crate) value: Bytes,
}

/// Keys of this span that were written before this revision are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grave {
    span: Span,
    revision: i64,
}

/// A key that exists, and where its value is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) key: &'a str,
    pub(crate) mark: Mark,
    value: Place<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Here(&'a Bytes),
    /// The page, and the number of the key in it.
    In(&'a Arc<Page>, usize),
}

/// The values of pages, by page, as far as somebody fetched them.
pub(crate) type Shelf = HashMap<String, Arc<Contents>>;

/// The values of these pages have to be fetched first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs(pub(crate) Vec<Arc<Page>>);

impl State {
    /// Nothing yet, as somebody's new keys.
    pub(crate) fn new(cluster: u64) -> Self {
        Self { cluster, ..Self::default() }
    }

    /// The same, as the first record, which is known by a nonce.
    pub(crate) fn begun(&self, nonce: u64) -> Self {
        Self { nonces: vec![nonce], ..self.clone() }
    }

    /// What a record says; `pages` are those that it names, in its order.
    pub(crate) fn from_record(record: Record, pages: Vec<Arc<Page>>) -> Self {
        let fresh = record.items.into_iter().map(|item| {
            let mark = Mark { created: item.created, modified: item.modified, lease: item.lease };
            (item.key, Fresh { mark, value: item.value })
        });
        let graves = record.graves.into_iter().map(|grave| {
            let span = Span::from_wire(grave.from, grave.kind, grave.before);
            Grave { span, revision: grave.revision }
        });
        Self {
            cluster: record.cluster,
            revision: record.revision,
            floor: record.floor,
            nonces: record.nonces,
            fresh: fresh.collect(),
            graves: graves.collect(),
            pages,
        }
    }

    pub(crate) fn to_record(&self) -> Record {
        let items = self.fresh.iter().map(|(key, fresh)| page::item(key, fresh));
        let graves = self.graves.iter().map(|grave| {
            let (from, kind, before) = grave.span.to_wire();
            wire::Grave { from, kind, before, revision: grave.revision }
        });
        Record {
            format: FORMAT,
            cluster: self.cluster,
            revision: self.revision,
            floor: self.floor,
            nonces: self.nonces.clone(),
            items: items.collect(),
            graves: graves.collect(),
            pages: self.pages.iter().map(|page| page.id.clone()).collect(),
        }
    }

    pub(crate) fn header(&self) -> Header {
        Header { cluster: self.cluster, revision: self.revision, ..Header::default() }
    }

    /// What the transaction that made a revision is known by; `None` if that is forgotten, or not reached yet.
    pub(crate) fn nonce_of(&self, revision: i64) -> Option<u64> {
        let back = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        self.nonces.iter().rev().nth(back).copied()
    }

    /// Whether another state, of the same cluster, knows this one's revision as made by another transaction.
    pub(crate) fn is_rewritten_in(&self, other: &Self) -> bool {
        let made_by = |state: &Self| state.nonce_of(self.revision);
        made_by(self).zip(made_by(other)).is_some_and(|(this, that)| this != that)
    }

    /// The leases that keys live under, without repetition.
    pub(crate) fn leases(&self) -> Vec<i64> {
        // Keys under a lease are in no page.
        let mut leases: Vec<i64> =
            self.fresh.values().map(|fresh| fresh.mark.lease).filter(|lease| *lease != 0).collect();
        leases.sort_unstable();
        leases.dedup();
        leases
    }

    /// The names of the keys under a lease.
    pub(crate) fn under(&self, lease: i64) -> Vec<String> {
        let under = self.fresh.iter().filter(|(_, fresh)| fresh.mark.lease == lease);
        under.map(|(key, _)| key.clone()).collect()
    }

    /// One key, if it exists.
    pub(crate) fn get<'a>(&'a self, key: &str) -> Option<Hit<'a>> {
        if let Some((key, fresh)) = self.fresh.get_key_value(key) {
            return Some(Hit { key, mark: fresh.mark, value: Place::Here(&fresh.value) });
        }
        let told = self.pages.iter().filter_map(|page| Some((page, page.find(key)?)));
        let (page, number) = told.max_by_key(|(page, number)| page.marks[*number].modified)?;
        let hit = Hit { key: &page.keys[number], mark: page.marks[number], value: Place::In(page, number) };
        (!self.is_buried(&hit)).then_some(hit)
    }

    /// The keys of a span that exist, in order.
    pub(crate) fn scan<'a>(&'a self, span: &Span) -> Vec<Hit<'a>> {
        let mut newest: BTreeMap<&str, Hit<'a>> = BTreeMap::new();
        for page in &self.pages {
            for number in page.within(span) {
                let mark = page.marks[number];
                let hit = Hit { key: &page.keys[number], mark, value: Place::In(page, number) };
                let known = newest.entry(hit.key).or_insert(hit);
                if known.mark.modified < mark.modified {
                    *known = hit;
                }
            }
        }
        for (key, fresh) in span.of_map(&self.fresh) {
            newest.insert(key, Hit { key, mark: fresh.mark, value: Place::Here(&fresh.value) });
        }
        newest.into_values().filter(|hit| !self.is_buried(hit)).collect()
    }

    /// What a read of the newest finds.
    pub(crate) fn read(&self, range: &Range, shelf: &Shelf) -> Result<Found, Needs> {
        let span = Span::of(range);
        let hits = if let Some(key) = span.one() { Vec::from_iter(self.get(key)) } else { self.scan(&span) };
        let count = hits.len();
        let mut found = Found { header: self.header(), count: count as u64, ..Found::default() };
        if range.count_only {
            return Ok(found);
        }
        let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        found.more = count > limit;
        let mut needs = Needs::default();
        for hit in hits.into_iter().take(limit) {
            let value = if range.keys_only { Some(Bytes::new()) } else { hit.value(shelf, &mut needs) };
            found.kvs.extend(value.map(|value| hit.kv(&value)));
        }
        needs.or(found)
    }

    fn is_buried(&self, hit: &Hit<'_>) -> bool {
        matches!(hit.value, Place::In(..)) && self.buried_at(hit.key, hit.mark.modified).is_some()
    }

    /// When a key was deleted, after this revision, if there is a trace of it.
    fn buried_at(&self, key: &str, after: i64) -> Option<i64> {
        let graves = self.graves.iter().filter(|grave| grave.revision > after && grave.span.contains(key));
        graves.map(|grave| grave.revision).max()
    }

    fn remember(&mut self, nonce: u64) {
        self.nonces.push(nonce);
        let surplus = self.nonces.len().saturating_sub(NONCES);
        self.nonces.drain(..surplus);
    }
}

impl Hit<'_> {
    /// Its value, if that is known; else it is noted what is needed.
    pub(crate) fn value(&self, shelf: &Shelf, needs: &mut Needs) -> Option<Bytes> {
        match self.value {
            Place::Here(value) => Some(value.clone()),
            Place::In(page, number) => match shelf.get(&page.id) {
                Some(contents) => contents.get(number).cloned(),
                None => {
                    needs.add(page);
                    None
                }
            },
        }
    }

    pub(crate) fn kv(&self, value: &[u8]) -> Kv {
        let Mark { created, modified, lease } = self.mark;
        Kv { key: self.key.to_owned(), value: value.to_vec(), created, modified, lease }
    }
}

impl Needs {
    fn add(&mut self, page: &Arc<Page>) {
        if !self.0.iter().any(|known| known.id == page.id) {
            self.0.push(Arc::clone(page));
        }
    }

    fn or<T>(self, answer: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(answer) } else { Err(self) }
    }
}
