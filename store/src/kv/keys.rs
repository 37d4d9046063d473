//! The names of the store's keys, beside those of the election.

use om_kv::Range;
use om_kv::layout::Layout;

use crate::Revision;

/// The keys of one store.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) root: String,
    pub(crate) leader: String,
    pub(crate) meta: String,
    pub(crate) tip: String,
    pub(crate) manifest: String,
    pub(crate) journal: String,
    pub(crate) parts: String,
    pub(crate) bases: String,
}

impl Keys {
    pub(crate) fn of(layout: &Layout) -> Self {
        let under = |name: &str| format!("{}{name}", layout.root());
        Self {
            root: layout.root().to_owned(),
            leader: layout.leader(),
            meta: under("meta"),
            tip: under("tip"),
            manifest: under("manifest"),
            journal: under("journal/"),
            parts: under("part/"),
            bases: under("base/"),
        }
    }

    pub(crate) fn entry(&self, revision: Revision) -> String {
        format!("{}{revision:020}", self.journal)
    }

    /// The entries after one revision, up to another.
    pub(crate) fn entries(&self, after: Revision, until: Revision) -> Range {
        Range::between(self.entry(after + 1), self.entry(until + 1))
    }

    /// Which entry a key of the journal is.
    pub(crate) fn revision(&self, key: &str) -> Option<Revision> {
        key.strip_prefix(&self.journal)?.parse().ok()
    }

    /// What the parts of one try to write an entry begin with.
    pub(crate) fn parts_of(&self, revision: Revision, id: &str) -> String {
        format!("{}{revision:020}/{id}/", self.parts)
    }

    /// The parts of entries up to a revision.
    pub(crate) fn parts_until(&self, revision: Revision) -> Range {
        Range::between(self.parts.clone(), format!("{}{:020}/", self.parts, revision + 1))
    }

    /// Which try a part belongs to.
    pub(crate) fn part_of<'a>(&self, key: &'a str) -> Option<(Revision, &'a str)> {
        let mut pieces = key.strip_prefix(&self.parts)?.split('/');
        Some((pieces.next()?.parse().ok()?, pieces.next()?))
    }

    pub(crate) fn base(&self, revision: Revision) -> String {
        format!("{}{revision:020}/", self.bases)
    }

    /// The chunks of older bases than this, and of newer ones.
    pub(crate) fn other_bases(&self, revision: Revision) -> [Range; 2] {
        let (own, next) = (self.base(revision), self.base(revision + 1));
        [Range::between(self.bases.clone(), own), Range::between(next, format!("{}~", self.bases))]
    }
}

/// The name of a piece under a prefix.
pub(crate) fn piece(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:06}")
}
