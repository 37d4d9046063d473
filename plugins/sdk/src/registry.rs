//! The services of one session.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::Record;

pub(crate) type Services = BTreeMap<Arc<str>, Arc<Record>>;

/// By name, in order.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Services>);

impl Registry {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Services> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Record>> {
        self.lock().get(name).cloned()
    }

    /// Forgets this record, unless the name belongs to another one by now.
    pub(crate) fn remove(&self, record: &Arc<Record>) {
        let mut map = self.lock();
        if map.get(&record.name).is_some_and(|found| Arc::ptr_eq(found, record)) {
            map.remove(&record.name);
        }
    }

    /// Everything.
    pub(crate) fn all(&self) -> Vec<Arc<Record>> {
        self.lock().values().cloned().collect()
    }

    /// At most `limit` records after the name `after` that `wanted` keeps, and whether there are more.
    pub(crate) fn page(
        &self,
        after: &str,
        limit: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> (Vec<Arc<Record>>, bool) {
        let map = self.lock();
        let rest = map.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let mut found = rest.map(|(_, record)| record).filter(|record| wanted(record));
        let page: Vec<_> = found.by_ref().take(limit).cloned().collect();
        (page, found.next().is_some())
    }

    /// The highest revision that a service was declared at.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().values().map(|record| record.newest().revision).max().unwrap_or(0)
    }
}
