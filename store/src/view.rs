//! What a handle knows of the state, for reading without waiting.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Entry, Error, Expect, Op, Precondition, Result, Revision};

/// One key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The value, opaque to the store.
    pub value: Arc<[u8]>,
    /// The revision that wrote it.
    pub modified: Revision,
}

#[derive(Default, Debug)]
struct Image {
    revision: Revision,
    records: BTreeMap<Arc<str>, Record>,
}

/// The state as one handle knows it. Reads take a short lock and share the values' memory.
#[derive(Debug, Default)]
pub struct View(RwLock<Image>);

impl View {
    /// The revision that this view shows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.read().revision
    }

    /// One key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Record> {
        self.read().records.get(key).cloned()
    }

    /// A key: the view's own, which is in memory already, if it is there.
    #[must_use]
    pub fn key(&self, key: &str) -> Arc<str> {
        self.read().records.get_key_value(key).map_or_else(|| key.into(), |(own, _)| own.clone())
    }

    /// Number of keys that begin with `prefix`.
    #[must_use]
    pub fn count(&self, prefix: &str) -> usize {
        self.read().range(prefix, None).count()
    }

    /// At most `limit` keys that begin with `prefix` and come after the key `after`, in order, with the revision
    /// they were read at.
    #[must_use]
    pub fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> (Revision, Vec<(Arc<str>, Record)>) {
        let image = self.read();
        let page = image.range(prefix, after).take(limit).map(|(key, record)| (key.clone(), record.clone()));
        (image.revision, page.collect())
    }

    /// For backends: whether the preconditions hold.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the first that does not.
    pub fn check(&self, preconditions: &[Precondition]) -> Result<()> {
        let image = self.read();
        for Precondition { key, expect } in preconditions {
            let actual = image.records.get(key).map(|record| record.modified);
            let holds = match expect {
                Expect::Absent => actual.is_none(),
                Expect::Present => actual.is_some(),
                Expect::Modified(revision) => actual == Some(*revision),
            };
            if !holds {
                return Err(Error::Conflict { key: key.clone(), expected: *expect, actual });
            }
        }
        Ok(())
    }

    /// For backends: takes in an accepted entry. Entries at or below the view's revision are ignored.
    pub fn apply(&self, entry: &Entry) {
        let mut image = self.write();
        if entry.revision <= image.revision {
            return;
        }
        for op in &entry.ops {
            match op {
                Op::Put { key, value } => {
                    let record = Record { value: value.clone(), modified: entry.revision };
                    image.records.insert(key.clone(), record);
                }
                Op::Delete { key } => {
                    image.records.remove(key);
                }
            }
        }
        image.revision = entry.revision;
    }

    /// For backends: replaces everything, as after reading a snapshot.
    pub fn replace(&self, revision: Revision, records: BTreeMap<Arc<str>, Record>) {
        *self.write() = Image { revision, records };
    }

    /// The last write of a key.
    pub(crate) fn modified(&self, key: &str) -> Option<Revision> {
        self.read().records.get(key).map(|record| record.modified)
    }

    /// Everything, for a snapshot. The values share their memory with the view.
    pub(crate) fn parts(&self) -> (Revision, BTreeMap<Arc<str>, Record>) {
        let image = self.read();
        (image.revision, image.records.clone())
    }

    pub(crate) fn into_parts(self) -> (Revision, BTreeMap<Arc<str>, Record>) {
        let image = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        (image.revision, image.records)
    }

    // A panic while the lock is held leaves the image whole: each change of it is a single insert or remove, and the
    // revision is set last.
    fn read(&self) -> RwLockReadGuard<'_, Image> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Image> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image {
    fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Record)> {
        let from = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}
