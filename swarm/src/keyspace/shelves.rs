//! The values of pages that were looked at lately.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::state::{Contents, Page};

/// So much is kept, in bytes.
const ROOM: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Shelves {
    /// The one that was used last is last.
    pages: VecDeque<Shelved>,
}

struct Shelved {
    page: Arc<Page>,
    contents: Arc<Contents>,
}

impl Shelves {
    pub(super) fn get(&mut self, id: &str) -> Option<(Arc<Page>, Arc<Contents>)> {
        let place = self.pages.iter().rposition(|shelved| shelved.page.id == id)?;
        let shelved = self.pages.remove(place)?;
        let found = (Arc::clone(&shelved.page), Arc::clone(&shelved.contents));
        self.pages.push_back(shelved);
        Some(found)
    }

    pub(super) fn put(&mut self, page: Arc<Page>, contents: Arc<Contents>) {
        self.pages.retain(|shelved| shelved.page.id != page.id);
        self.pages.push_back(Shelved { page, contents });
        let mut sum: usize = self.pages.iter().map(|shelved| shelved.page.weight).sum();
        while sum > ROOM && self.pages.len() > 1 {
            sum -= self.pages.pop_front().map_or(0, |shelved| shelved.page.weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut shelves = Shelves::default();
        let page = |id: usize| {
            Arc::new(Page { id: id.to_string(), weight: ROOM / 4, keys: Vec::new(), marks: Vec::new() })
        };
        for id in 0..4 {
            shelves.put(page(id), Arc::default());
        }
        assert!(shelves.get("0").is_some());
        shelves.put(page(4), Arc::default());
        assert!(shelves.get("1").is_none() && shelves.get("0").is_some() && shelves.get("4").is_some());
    }
}
