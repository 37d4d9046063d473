//! The names in the directory, and what they say.

use std::collections::BTreeSet;
use std::fmt;

/// A journal file: `seq` counts the files of one term from 0. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) term: u64,
    pub(crate) seq: u64,
}

/// A snapshot file: the state at `revision`, written under `term`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotId {
    pub(crate) term: u64,
    pub(crate) revision: u64,
}

impl SegmentId {
    /// The file that every chain begins with. Nothing is ever written to it.
    pub(crate) const GENESIS: Self = Self { term: 0, seq: 0 };
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal-{:010}-{:06}", self.term, self.seq)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot-{:010}-{:012}", self.term, self.revision)
    }
}

pub(crate) const FORMAT: &str = "format";

pub(crate) fn claim(term: u64) -> String {
    format!("claim-{term:010}")
}

pub(crate) fn release(term: u64) -> String {
    format!("release-{term:010}")
}

pub(crate) fn temporary() -> String {
    format!("tmp-{}", uuid::Uuid::new_v4().simple())
}

/// What is in the directory, by name. Foreign names (`lost+found`) are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    pub(crate) format: bool,
    pub(crate) claims: BTreeSet<u64>,
    pub(crate) releases: BTreeSet<u64>,
    pub(crate) segments: BTreeSet<SegmentId>,
    pub(crate) snapshots: BTreeSet<SnapshotId>,
    pub(crate) temporary: BTreeSet<String>,
}

impl Inventory {
    pub(crate) fn of(names: Vec<String>) -> Self {
        let mut found = Self::default();
        for name in names {
            found.note(name);
        }
        found
    }

    fn note(&mut self, name: String) {
        if name == FORMAT {
            self.format = true;
        } else if name.starts_with("tmp-") {
            self.temporary.insert(name);
        } else if let Some(term) = single(&name, "claim-").filter(|term| claim(*term) == name) {
            self.claims.insert(term);
        } else if let Some(term) = single(&name, "release-").filter(|term| release(*term) == name) {
            self.releases.insert(term);
        } else if let Some((term, seq)) = pair(&name, "journal-") {
            let id = SegmentId { term, seq };
            if id.to_string() == name {
                self.segments.insert(id);
            }
        } else if let Some((term, revision)) = pair(&name, "snapshot-") {
            let id = SnapshotId { term, revision };
            if id.to_string() == name {
                self.snapshots.insert(id);
            }
        }
    }

    /// Whether nothing of a store is here. Temporary files count for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        !self.format && self.is_bare()
    }

    /// Whether nothing but the format is here.
    pub(crate) fn is_bare(&self) -> bool {
        self.claims.is_empty()
            && self.releases.is_empty()
            && self.segments.is_empty()
            && self.snapshots.is_empty()
    }
}

fn single(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.parse().ok()
}

fn pair(name: &str, prefix: &str) -> Option<(u64, u64)> {
    let (first, second) = name.strip_prefix(prefix)?.split_once('-')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_anything_else_is_foreign() {
        let segment = SegmentId { term: 12, seq: 3 };
        let snapshot = SnapshotId { term: 12, revision: 40_000_000_000_000 };
        let names = [
            "format",
            "lost+found",
            "claim-12",
            "claim-0000000012",
            "release-0000000011",
            "journal-0000000012-3",
            "snapshot-x-y",
            "tmp-1",
        ];
        let mut names: Vec<String> = names.map(str::to_owned).into();
        names.extend([segment.to_string(), snapshot.to_string()]);
        let expected = Inventory {
            format: true,
            claims: [12].into(),
            releases: [11].into(),
            segments: [segment].into(),
            snapshots: [snapshot].into(),
            temporary: ["tmp-1".to_owned()].into(),
        };
        assert_eq!(Inventory::of(names), expected);
    }
}
