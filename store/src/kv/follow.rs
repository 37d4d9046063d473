//! Following the journal: one task per handle, so that the view is up to date before anybody asks, and all watches of
//! the handle are fed from one watch of the keyspace.

use std::sync::Arc;
use std::time::Duration;

use om_kv::{Event, Watching};

use super::load::Halt;
use super::opening::dated;
use super::shared::{Shared, Taken};
use crate::{Error, Result};

/// Pauses between tries while the store cannot be read.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Runs until it is dropped. What cannot be read is told to watches, and tried again.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match shared.load().await {
            Ok(look) => {
                pause = FIRST_PAUSE;
                let watch = shared.kv.watch(shared.keys.journal.as_str(), look.header.revision + 1);
                match shared.take_all(watch).await {
                    Ok(()) => continue,
                    Err(error) => tracing::debug!(%error, "the journal is read anew"),
                }
            }
            // It may come back: nothing is missed by waiting.
            Err(error @ Error::Unavailable { .. }) => {
                tracing::debug!(%error, "the journal cannot be followed now");
            }
            Err(error) => {
                if shared.known().failed.is_none() {
                    tracing::error!(%error, "the journal cannot be followed");
                }
                shared.fail(error);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Shared {
    /// Takes in what comes, until it cannot go on without reading.
    async fn take_all(&self, mut watch: Watching) -> Result<()> {
        while let Some(batch) = watch.next().await {
            let batch = batch.map_err(|error| super::errors::told(&error))?;
            if batch.begun {
                // It may go on in another history, from a number that both have.
                self.look().await?;
            }
            for event in &batch.events {
                let Event::Put(kv) = event else { continue };
                let Some(revision) = self.keys.revision(&kv.key) else { continue };
                if revision <= self.view.revision() {
                    continue;
                }
                let entry = match self.decode(revision, &kv.value, kv.modified).await {
                    Ok(entry) => dated(entry, kv.modified),
                    Err(Halt::Again) => return Ok(()),
                    Err(Halt::Error(error)) => return Err(error),
                };
                if self.take_in(&entry, kv.modified) == Taken::Gap {
                    return Ok(());
                }
            }
            let mut known = self.known();
            known.kv_revision = known.kv_revision.max(batch.header.revision);
        }
        Ok(())
    }
}
