//! The base: the whole state at a revision, in chunks, so that neither the journal nor a takeover grows for ever.
//!
//! In this order, each step under the fence: the chunks; the manifest, which names them and says from where on the
//! journal is kept; then what the manifest makes superfluous is deleted: entries, older bases, parts of entries that are
//! gone or never came to be. Stopped between any two steps, there are keys too many, never too few: a load follows the
//! manifest that is there, and the next compaction sweeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use om_kv::{Guard, Op, Range, Txn};

use super::errors::told;
use super::keys::piece;
use super::load::unblocked;
use super::look::Look;
use super::shared::Shared;
use super::wire::{Decoded, Manifest, decode_entry};
use crate::envelope::{self, Kind};
use crate::{Error, Result, Revision, Term, records};

/// A compaction under way.
pub(crate) struct Compaction {
    shared: Arc<Shared>,
    term: Term,
    look: Look,
    manifest: Manifest,
    chunks: Vec<Vec<u8>>,
    next: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Chunk(usize),
    Manifest,
    Journal,
    Bases,
    Parts,
    Done,
}

impl Compaction {
    /// Packs the state. Nothing is written yet.
    pub(crate) async fn begin(shared: Arc<Shared>, term: Term, keep: u64) -> Result<Self> {
        let writer = shared.known().held(term)?.record.nonce.clone();
        let look = shared.look().await?;
        shared.known().held(term)?;
        let (revision, state) = shared.view.all();
        let before = look.manifest.clone();
        let oldest = look.floor();
        let floor = revision.saturating_sub(keep).max(oldest);
        if let Some(same) = before.filter(|before| before.revision == revision) {
            let manifest = Manifest { floor, writer, ..same };
            return Ok(Self { shared, term, look, manifest, chunks: Vec::new(), next: Step::Manifest });
        }
        let size = shared.tuning.chunk;
        let (manifest, chunks) = unblocked(move || {
            let packed =
                records::pack(Vec::new(), &state).map_err(|error| Error::io("pack the state", error))?;
            let chunks: Vec<_> = packed.chunks(size).map(<[u8]>::to_vec).collect();
            let manifest = Manifest {
                revision,
                floor,
                count: state.len() as u64,
                chunks: chunks.len() as u64,
                length: packed.len() as u64,
                sum: crc32fast::hash(&packed),
                writer,
            };
            Ok((manifest, chunks))
        })
        .await?;
        Ok(Self { shared, term, look, manifest, chunks, next: Step::Chunk(0) })
    }

    /// The revision of the base.
    pub(crate) fn revision(&self) -> Revision {
        self.manifest.revision
    }

    /// Does the next step, and says which is next then.
    pub(crate) async fn step(&mut self) -> Result<Step> {
        let keys = &self.shared.keys;
        self.next = match self.next {
            Step::Chunk(number) => match self.chunks.get_mut(number).map(std::mem::take) {
                Some(chunk) => {
                    let key = piece(&keys.base(self.manifest.revision), number);
                    self.shared.put(self.term, key, chunk).await?;
                    Step::Chunk(number + 1)
                }
                None => Step::Manifest,
            },
            Step::Manifest => {
                self.put_manifest().await?;
                Step::Journal
            }
            Step::Journal => {
                let gone = keys.entries(0, self.manifest.floor);
                self.delete([gone]).await?;
                Step::Bases
            }
            Step::Bases => {
                self.delete(keys.other_bases(self.manifest.revision)).await?;
                Step::Parts
            }
            Step::Parts => {
                self.delete([keys.parts_until(self.manifest.floor)]).await?;
                self.sweep_parts().await?;
                Step::Done
            }
            Step::Done => Step::Done,
        };
        Ok(self.next)
    }

    async fn put_manifest(&self) -> Result<()> {
        let shared = &self.shared;
        let key = shared.keys.manifest.as_str();
        let txn = Txn::new()
            .when(Guard::modified(key, self.look.manifest_modified))
            .then(Op::put(key, envelope::encode(Kind::Manifest, &self.manifest)))
            .otherwise(Op::get(key));
        let answer = shared.fenced_txn(self.term, txn).await?;
        if !answer.succeeded {
            let there = answer.found(0).first();
            let there: Option<Manifest> =
                there.map(|kv| envelope::decode_whole(Kind::Manifest, key, &kv.value)).transpose()?;
            if there.as_ref() != Some(&self.manifest) {
                let why = std::io::Error::other("another compaction came in between");
                return Err(Error::io(format!("write {key}"), why));
            }
        }
        let mut known = shared.known();
        known.floor = known.floor.max(self.manifest.floor);
        Ok(())
    }

    async fn delete<const N: usize>(&self, ranges: [Range; N]) -> Result<()> {
        let txn = Txn { then: ranges.into_iter().map(Op::Delete).collect(), ..Txn::default() };
        match self.shared.fenced_txn(self.term, txn).await {
            // Deleted or not: the next compaction does it again.
            Err(Error::Unclear(why)) => Err(Error::io("sweep", std::io::Error::other(why))),
            other => other.map(drop),
        }
    }

    /// Deletes parts that no entry names: of a try that was given up. Parts of entries that are still to come are left.
    async fn sweep_parts(&self) -> Result<()> {
        let shared = &self.shared;
        let range = Range::prefix(shared.keys.parts.as_str()).keys_only();
        let found = shared.kv.range(&range, shared.tuning.patience).await.map_err(|error| told(&error))?;
        let tries: BTreeSet<_> = found.kvs.iter().filter_map(|kv| shared.keys.part_of(&kv.key)).collect();
        for (revision, id) in tries {
            if revision > self.look.tip.revision {
                continue;
            }
            let place = shared.keys.entry(revision);
            let entry = Range::key(place.as_str());
            let found =
                shared.kv.range(&entry, shared.tuning.patience).await.map_err(|error| told(&error))?;
            let Some(kv) = found.one() else { continue };
            let named = matches!(decode_entry(&place, revision, &kv.value)?, Decoded::InParts(parts) if parts.id == id);
            if !named {
                self.delete([Range::prefix(shared.keys.parts_of(revision, id))]).await?;
            }
        }
        Ok(())
    }
}

impl Shared {
    pub(crate) async fn compact(self: &Arc<Self>, term: Term, keep: u64) -> Result<Revision> {
        let mut compaction = Compaction::begin(self.clone(), term, keep).await?;
        while compaction.step().await? != Step::Done {}
        Ok(compaction.revision())
    }
}
