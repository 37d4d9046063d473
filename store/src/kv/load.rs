//! Reading the state, at one revision of the keyspace: whole, or what is new.

use om_kv::Range;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::errors::told;
use super::keys::piece;
use super::look::Look;
use super::opening::dated;
use super::shared::{Shared, Taken};
use super::wire::{Decoded, Manifest, Parts, corrupt, decode_entry, join, unpack_entry};
use crate::image::Image;
use crate::{Entry, Error, Result, Revision, View, records};

/// Entries in the first page; pages grow while they are small.
const PAGE: u32 = 256;
const LARGEST_PAGE: u32 = 8192;
/// What a page should hold, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Chunks of a base in one page.
const CHUNKS: u32 = 16;
/// How often reading is begun anew because the keyspace was compacted meanwhile.
const TRIES: usize = 10;

/// An entry, and the keyspace's revision of its key.
pub(crate) type Dated = (Entry, i64);

/// Why a read was not finished.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The revision that is read is compacted away: look and read again.
    Again,
    Error(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn halt(error: om_kv::Error) -> Halt {
    match error {
        om_kv::Error::Compacted { .. } => Halt::Again,
        other => Halt::Error(told(&other)),
    }
}

impl Shared {
    /// Brings the view up to date.
    pub(crate) async fn load(&self) -> Result<Look> {
        let _alone = self.loading.lock().await;
        for _ in 0..TRIES {
            let look = self.look().await?;
            match self.catch_up(&look, look.header.revision).await {
                Ok(()) => return Ok(look),
                Err(Halt::Again) => {}
                Err(Halt::Error(error)) => return Err(error),
            }
        }
        let why = std::io::Error::other("it is compacted faster than it can be read");
        Err(Error::io(format!("read {} {}*", self.kv.name(), self.keys.root), why))
    }

    /// Reads what the look saw and the view does not show, as it was at a revision of the keyspace. On an error the view stays.
    pub(crate) async fn catch_up(&self, look: &Look, at: i64) -> std::result::Result<(), Halt> {
        let from = self.view.revision();
        let tip = look.tip.revision;
        let base = look.manifest.as_ref().filter(|manifest| manifest.revision > from);
        match base {
            // Once the state was read, what is new is read entry by entry, so that watches miss nothing they need not.
            Some(base) if !(self.known().loaded && from >= base.floor) => {
                let state = View::from(self.read_base(base, at).await?);
                let mut mark = 0;
                // The base's own entry, too, where it is kept: by its key a store that goes back is told.
                let after = base.revision.saturating_sub(u64::from(base.floor < base.revision));
                for (entry, modified) in self.read_entries(after, tip, at).await? {
                    state.apply(&entry);
                    mark = modified;
                }
                self.replace(state, mark);
            }
            _ if tip > from => {
                for (entry, modified) in self.read_entries(from, tip, at).await? {
                    if self.take_in(&entry, modified) == Taken::Gap {
                        // The view was replaced meanwhile, by something newer.
                        break;
                    }
                }
            }
            _ => {}
        }
        let mut known = self.known();
        known.loaded = true;
        if known.failed.take().is_some() {
            tracing::info!("the store can be read again");
        }
        Ok(())
    }

    /// The entries after one revision, up to another, all of them.
    pub(crate) async fn read_entries(
        &self,
        after: Revision,
        until: Revision,
        at: i64,
    ) -> std::result::Result<Vec<Dated>, Halt> {
        let mut entries = Vec::new();
        let mut limit = PAGE;
        let mut last = after;
        while last < until {
            let page = self.keys.entries(last, until).limit(limit).at(at).large();
            let found = self.kv.range(&page, self.tuning.patience).await.map_err(halt)?;
            let mut bytes = 0;
            for kv in &found.kvs {
                let expected = last + 1;
                if self.keys.revision(&kv.key) != Some(expected) {
                    return Err(corrupt(&self.keys.entry(expected), "is missing").into());
                }
                bytes += kv.value.len();
                let entry = self.decode(expected, &kv.value, at).await?;
                entries.push((dated(entry, kv.modified), kv.modified));
                last = expected;
            }
            if found.kvs.is_empty() {
                return Err(corrupt(&self.keys.entry(last + 1), "is missing").into());
            }
            limit = match bytes {
                few if few < PAGE_BYTES / 4 => (limit * 4).min(LARGEST_PAGE),
                many if many > PAGE_BYTES * 4 => (limit / 4).max(1),
                _ => limit,
            };
        }
        Ok(entries)
    }

    /// The entry that a value holds; its parts, if it is in parts, as they were at a revision of the keyspace.
    pub(crate) async fn decode(
        &self,
        revision: Revision,
        value: &[u8],
        at: i64,
    ) -> std::result::Result<Entry, Halt> {
        let place = self.keys.entry(revision);
        match decode_entry(&place, revision, value)? {
            Decoded::Whole(entry) => Ok(entry),
            Decoded::InParts(parts) => self.read_parts(revision, place, parts, at).await,
        }
    }

    async fn read_parts(
        &self,
        revision: Revision,
        place: String,
        parts: Parts,
        at: i64,
    ) -> std::result::Result<Entry, Halt> {
        let prefix = self.keys.parts_of(revision, &parts.id);
        let pieces = self.read_pieces(&prefix, parts.count, at).await?;
        unblocked(move || {
            let packed = join(&place, &pieces, parts.count, parts.length, parts.sum)?;
            unpack_entry(&place, revision, &packed)
        })
        .await
        .map_err(Halt::Error)
    }

    async fn read_base(&self, manifest: &Manifest, at: i64) -> std::result::Result<Image, Halt> {
        let place = self.keys.base(manifest.revision);
        let pieces = self.read_pieces(&place, manifest.chunks, at).await?;
        let manifest = manifest.clone();
        unblocked(move || {
            let packed = join(&place, &pieces, manifest.chunks, manifest.length, manifest.sum)?;
            drop(pieces);
            records::unpack(&packed, manifest.revision, manifest.count)
                .map_err(|error| corrupt(&place, error))
        })
        .await
        .map_err(Halt::Error)
    }

    /// The first so many pieces under a prefix, in order.
    async fn read_pieces(
        &self,
        prefix: &str,
        count: u64,
        at: i64,
    ) -> std::result::Result<Vec<om_kv::Kv>, Halt> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut pieces: Vec<om_kv::Kv> = Vec::new();
        while pieces.len() < count {
            let from = piece(prefix, pieces.len());
            let page = Range::between(from.clone(), piece(prefix, count)).limit(CHUNKS).at(at).large();
            let found = self.kv.range(&page, self.tuning.patience).await.map_err(halt)?;
            let next = pieces.len();
            let fits = |(number, kv): (usize, &om_kv::Kv)| kv.key == piece(prefix, next + number);
            if found.kvs.is_empty() || !found.kvs.iter().enumerate().all(fits) {
                return Err(corrupt(&from, "is missing, or one after it").into());
            }
            pieces.extend(found.kvs);
        }
        Ok(pieces)
    }
}

/// Runs what takes long where it holds up nobody: in place where the runtime has but one thread, as in a simulation.
pub(crate) async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    let ended = |_| Err(Error::io("pack or unpack the state", std::io::Error::other("it was given up")));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(ended)
}
