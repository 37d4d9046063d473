//! Pages that nobody needs any more.
//!
//! A page is made before the one swap that may name it, and carries the version of the Swarm which that swap compares
//! with. Once a record was read at a **later** version and does not name the page, no record ever will: a swap that
//! names it fails, and a page that is named by no record is carried over by none. It can be removed, by anybody, at any
//! later time. So whatever a crash leaves is found:
//!
//! * after the page and before the swap: the version moves with the next write of whoever it be, and the page is swept;
//! * after the swap and before the pages that it dropped are removed: they are as old as any, and are swept;
//! * a swap that is still under way: the version has not moved, so its pages stay.
//!
//! Pages are only removed some time after they were found, so that whoever reads the state from before can end that.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;

use super::core::{Core, Effort};
use super::names::PARTS;
use crate::engine::Trouble;

/// A part of the pages is looked through at each so many polls, while this handle writes.
const POLLS: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// Config objects to remove, and since when.
    found: HashMap<String, Instant>,
    /// Something was written since a part was looked through.
    wrote: bool,
    polls: u32,
    part: usize,
}

impl Garbage {
    /// Pages that no record will ever name again.
    pub(super) fn add(&mut self, pages: impl Iterator<Item = String>) {
        self.wrote = true;
        let now = Instant::now();
        for id in pages {
            self.found.entry(id).or_insert(now);
        }
    }

    /// How many are to be removed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Which part it is time to look through.
    fn turn(&mut self, each: u32) -> Option<usize> {
        self.polls += 1;
        if !self.wrote || self.polls < each {
            return None;
        }
        (self.polls, self.wrote) = (0, self.part + 1 < PARTS);
        self.part = (self.part + 1) % PARTS;
        Some(self.part)
    }
}

impl Core {
    pub(super) fn garbage(&self) -> MutexGuard<'_, Garbage> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for what is to be removed, now and then, and removes what was found long enough ago.
    pub(super) async fn sweep(&self) {
        let part = self.garbage().turn(POLLS);
        if let Some(part) = part
            && let Err(trouble) = self.look_through(part).await
        {
            tracing::debug!(%trouble, "pages cannot be looked through");
        }
        let now = Instant::now();
        let linger = self.options.linger;
        let due: Vec<String> = {
            let garbage = self.garbage();
            let old =
                garbage.found.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= linger);
            old.map(|(id, _)| id.clone()).collect()
        };
        for id in due {
            match self.engine.remove_config(&id, self.options.attempt).await {
                Ok(()) | Err(Trouble::Said { status: 404, .. }) => drop(self.garbage().found.remove(&id)),
                Err(trouble) => {
                    tracing::debug!(%trouble, page = id, "a page is not removed yet");
                    return;
                }
            }
        }
    }

    /// Finds pages of one part that no record names, nor will.
    pub(super) async fn look_through(&self, part: usize) -> Result<(), Trouble> {
        let time = self.options.attempt * 10;
        let pages = self.engine.configs(&self.names.pages(part), time).await?;
        // Read after them, so that whatever was named meanwhile is.
        let Ok(base) = self.read_once(&Effort::new("look for pages", time)).await else { return Ok(()) };
        let named = |id: &str| base.state.pages.iter().any(|page| page.id == id);
        let over = pages.iter().filter(|config| {
            let version = self.names.base_of(config);
            version.is_some_and(|version| version < base.swarm.version()) && !named(&config.id)
        });
        self.garbage().add(over.map(|config| config.id.clone()));
        Ok(())
    }
}
