//! Snapshots, and what they make superfluous.
//!
//! In this order: the snapshot is written and durable; the term's next journal file names it and is durable; the claim
//! is confirmed; then files are removed, the oldest first. Stopped between any two steps, there are files too many,
//! never too few.
//!
//! Frozen between the confirmation and a removal, and woken under a newer term, it removes what nobody needs: the newer
//! claim came after the confirmation, so its holder's load saw the new journal file and goes on from it, as does
//! everybody after it; and only files of this term and older ones are removed. Somebody who reads at this moment may
//! miss a file, and looks again.

use std::collections::BTreeSet;

use super::claims::Reign;
use super::fs::Fs;
use super::load::Position;
use super::names;
use crate::{Result, Revision};

impl Fs {
    /// Removes what the chain at `position` does not need, but for the entries after `floor`. `stale` are temporary
    /// files that an earlier compaction saw already; those that this one sees are returned.
    pub(crate) fn prune(
        &self,
        reign: &Reign,
        position: &Position,
        floor: Revision,
        stale: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>> {
        let inventory = self.list()?;
        let covered = position.snapshot.map_or(0, |snapshot| snapshot.revision);
        let mut oldest = position.segment;
        let mut on_chain = BTreeSet::new();
        self.chain(position.segment, &reign.cluster, |link| {
            oldest = link.id;
            on_chain.insert(link.id);
            let header = &link.opened.header;
            let gone = || header.previous_id().is_some_and(|(id, _)| !inventory.segments.contains(&id));
            header.base <= floor || (header.base <= covered && gone())
        })?;
        self.confirm(reign)?;
        let mut names: Vec<String> = Vec::new();
        let superfluous =
            |id: &&names::SegmentId| **id < oldest || (**id < position.segment && !on_chain.contains(id));
        names.extend(inventory.segments.iter().filter(superfluous).map(ToString::to_string));
        let snapshots = inventory.snapshots.iter().filter(|id| id.term <= reign.term);
        names.extend(snapshots.filter(|id| Some(**id) != position.snapshot).map(ToString::to_string));
        let old = |term: &&u64| **term + self.tuning.claims < reign.term;
        names.extend(inventory.releases.iter().filter(old).map(|term| names::release(*term)));
        names.extend(inventory.claims.iter().filter(old).map(|term| names::claim(*term)));
        // A temporary file lives for moments: one that was there at the last compaction was left by a dead process.
        names.extend(inventory.temporary.intersection(stale).cloned());
        for name in names {
            self.remove(&name)?;
        }
        Ok(inventory.temporary)
    }
}
