//! What a handle knows of the state, for reading without waiting.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::image::Image;
use crate::{Entry, Error, Expect, Op, Precondition, Result, Revision, Value};

/// One key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The value, opaque to the store.
    pub value: Value,
    /// The revision that wrote it.
    pub modified: Revision,
}

/// The state as one handle knows it. Reads take a short lock and share the values' memory.
#[derive(Debug, Default)]
pub struct View(RwLock<Image>);

impl From<Image> for View {
    fn from(image: Image) -> Self {
        Self(RwLock::new(image))
    }
}

impl View {
    /// The revision that this view shows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.read().revision
    }

    /// One key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Record> {
        self.read().get(key).map(|(_, record)| record.clone())
    }

    /// A key: the view's own, which is in memory already, if it is there.
    #[must_use]
    pub fn key(&self, key: &str) -> Arc<str> {
        self.read().get(key).map_or_else(|| key.into(), |(own, _)| own.clone())
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
            let actual = image.get(key).map(|(_, record)| record.modified);
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
                    image.put(key, record);
                }
                Op::Delete { key } => {
                    image.remove(key);
                }
            }
        }
        image.revision = entry.revision;
    }

    /// Shows this from now on, as after reading a snapshot.
    pub(crate) fn replace(&self, image: Image) {
        *self.write() = image;
    }

    /// The last write of a key.
    pub(crate) fn modified(&self, key: &str) -> Option<Revision> {
        self.read().get(key).map(|(_, record)| record.modified)
    }

    /// Everything in order of the keys, for a snapshot. The values share their memory with the view.
    pub(crate) fn all(&self) -> (Revision, Vec<(Arc<str>, Record)>) {
        let image = self.read();
        (image.revision, image.all())
    }

    pub(crate) fn image(&self) -> Image {
        self.read().clone()
    }

    pub(crate) fn into_image(self) -> Image {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    // A panic while the lock is held leaves the records whole: each change of them is a single insert or remove, and the
    // revision is set last.
    fn read(&self) -> RwLockReadGuard<'_, Image> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Image> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
