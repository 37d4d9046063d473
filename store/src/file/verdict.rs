//! What became of a record whose writer was deposed while it wrote.
//!
//! The record is durable, but a newer claim was there before it could be acknowledged. Whether it counts is decided by
//! the first journal file of a newer term: it names up to where the file before it counts. Such a file decides for
//! good only if its term is the newest claim's *after* the file was seen: a holder of a later claim loads after its
//! claim, so it sees the file and goes on from it. A claim that is newer still may go another way, so nothing is said.

use super::claims::Reign;
use super::fs::Fs;
use super::names::SegmentId;
use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The record is part of the state, for good.
    Counts,
    /// It is not, for good.
    Not,
    /// That is not decided yet, or cannot be seen.
    Open,
}

impl Fs {
    /// Asks, for a short while, whether the record that ends at `end` counts.
    pub(crate) fn verdict(&self, reign: &Reign, segment: SegmentId, end: u64) -> Verdict {
        for _ in 0..10 {
            if let Ok(verdict @ (Verdict::Counts | Verdict::Not)) = self.look(reign, segment, end) {
                return verdict;
            }
            std::thread::sleep(self.tuning.patience);
        }
        Verdict::Open
    }

    fn look(&self, reign: &Reign, segment: SegmentId, end: u64) -> Result<Verdict> {
        let inventory = self.list()?;
        let Some(newest) = inventory.segments.last().copied() else { return Ok(Verdict::Open) };
        let Some((_, decider)) = self.newest_claim(&inventory, &reign.cluster)? else {
            return Ok(Verdict::Open);
        };
        if newest.term <= reign.term || decider.term != newest.term {
            return Ok(Verdict::Open);
        }
        let links = self.chain(newest, &reign.cluster, |link| {
            link.opened.header.previous_id().is_none_or(|(before, _)| before <= segment)
        })?;
        let seal = links.last().and_then(|link| link.opened.header.previous_id());
        let counts = seal.is_some_and(|(before, length)| before == segment && length >= end);
        self.confirm(&decider)?;
        Ok(if counts { Verdict::Counts } else { Verdict::Not })
    }
}
