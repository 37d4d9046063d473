//! What becomes of changes that are written together, each checked against the state after the ones before it.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;

use crate::wire::EntryRecord;
use crate::{Change, Entry, Error, Expect, Op, Precondition, Result, Revision, Term, View};

/// The largest change, in bytes as written.
pub(crate) const MAX_CHANGE: u64 = 32 * 1024 * 1024;

/// Changes that are accepted if they can be written, on top of the view.
pub(crate) struct Staged<'a> {
    view: &'a View,
    term: u64,
    revision: Revision,
    touched: HashMap<Arc<str>, Option<Revision>>,
    pub(crate) entries: Vec<Entry>,
}

impl<'a> Staged<'a> {
    pub(crate) fn on(view: &'a View, term: Term) -> Self {
        let revision = view.revision();
        Self { view, term: term.0, revision, touched: HashMap::new(), entries: Vec::new() }
    }

    /// The revision that the change gets, or why it is refused; a refused one changes nothing.
    pub(crate) fn add(&mut self, change: Change) -> Result<Revision> {
        for Precondition { key, expect } in &change.preconditions {
            let actual = match self.touched.get(key) {
                Some(touched) => *touched,
                None => self.view.modified(key),
            };
            let holds = match expect {
                Expect::Absent => actual.is_none(),
                Expect::Present => actual.is_some(),
                Expect::Modified(revision) => actual == Some(*revision),
            };
            if !holds {
                return Err(Error::Conflict { key: key.clone(), expected: *expect, actual });
            }
        }
        let revision = self.revision + 1;
        let Change { ops, time_unix_ms, .. } = change;
        let entry = Entry { revision, term: self.term, time_unix_ms, ops };
        let size = EntryRecord::from(&entry).encoded_len() as u64;
        if size > MAX_CHANGE {
            return Err(Error::TooLarge { size, limit: MAX_CHANGE });
        }
        for op in &entry.ops {
            match op {
                Op::Put { key, .. } => self.touched.insert(key.clone(), Some(revision)),
                Op::Delete { key } => self.touched.insert(key.clone(), None),
            };
        }
        self.revision = revision;
        self.entries.push(entry);
        Ok(revision)
    }
}
