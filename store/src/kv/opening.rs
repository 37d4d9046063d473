//! The entry that opens a term, written in the transaction of its claim.
//!
//! Its term is not known before etcd has done it: it is the revision that the transaction has. So the entry says 0, and
//! whoever reads it takes the mod-revision of its key.

use om_kv::{Guard, Op, Txn};

use super::Grounds;
use super::look::{Before, Look};
use super::shared::Shared;
use super::wire::{Tip, encode_entry};
use crate::envelope::{self, Kind};
use crate::staged::Staged;
use crate::{Entry, Error, Result, Revision, Term};

/// An entry that is ready to be written with a claim.
pub(crate) struct Opening {
    entry: Entry,
    value: Vec<u8>,
    /// The mod-revision of the tip that it follows.
    follows: i64,
    writer: String,
}

impl Shared {
    /// The entry that the grounds ask for, if it was made for the state that is known now, and fits.
    pub(crate) fn opening(
        &self,
        writer: &str,
        grounds: &Grounds,
        before: &Before,
    ) -> Result<Option<Opening>> {
        let Some((revision, change)) = &grounds.opening else { return Ok(None) };
        // Where the state came from a base alone, it is not known which tip belongs to it.
        if *revision != before.revision || before.mark == 0 {
            return Ok(None);
        }
        let mut staged = Staged::on(&self.view, Term(0));
        if staged.add(change.clone())? != revision + 1 {
            return Ok(None);
        }
        let Some(entry) = staged.entries.pop() else { return Ok(None) };
        let encoded = encode_entry(&entry, writer).map_err(|error| Error::io("pack an entry", error))?;
        let whole = encoded.parts.is_none();
        let (value, writer) = (encoded.value, writer.to_owned());
        Ok(whole.then_some(Opening { entry, value, follows: before.mark, writer }))
    }

    /// The claim's transaction, which writes the entry, too.
    pub(crate) fn with_opening(&self, txn: Txn, opening: &Opening) -> Txn {
        let revision = opening.entry.revision;
        let tip = Tip { revision, writer: opening.writer.clone() };
        self.appending(txn, opening.follows, revision, &tip)
            .then(Op::put(self.keys.entry(revision), opening.value.clone()))
    }

    /// The transaction, which moves the tip, if that was last written at `follows`, and the entry that it writes first is
    /// not there: a write that is sent twice, or by whoever is wrong about the tip, does not replace one.
    pub(crate) fn appending(&self, txn: Txn, follows: i64, first: Revision, tip: &Tip) -> Txn {
        txn.when(Guard::modified(self.keys.tip.as_str(), follows))
            .when(Guard::absent(self.keys.entry(first)))
            .then(Op::put(self.keys.tip.as_str(), envelope::encode(Kind::Tip, tip)))
    }
}

impl Opening {
    /// Whether it is what comes next.
    pub(crate) fn is_next(&self, look: &Look) -> bool {
        look.tip_modified == self.follows && look.tip.revision + 1 == self.entry.revision
    }

    /// The entry, as it was written at a revision of the keyspace.
    pub(crate) fn written(self, modified: i64) -> Entry {
        dated(self.entry, modified)
    }
}

/// An entry whose key was written at a revision of the keyspace: if it says no term, that is its term.
pub(crate) fn dated(entry: Entry, modified: i64) -> Entry {
    let term = if entry.term == 0 { modified.unsigned_abs() } else { entry.term };
    Entry { term, ..entry }
}
