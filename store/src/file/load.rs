//! Reading the state: whole, or what is new since a place.

use super::claims::Reign;
use super::fs::Fs;
use super::names::{SegmentId, SnapshotId};
use super::segment::{Opened, follows};
use crate::image::Image;
use crate::{Entry, Error, Head, Result, Revision, View};

/// How far a state was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The newest journal file then.
    pub(crate) segment: SegmentId,
    /// Behind its last whole frame.
    pub(crate) offset: u64,
    pub(crate) revision: Revision,
    /// The snapshot that its chain starts from.
    pub(crate) snapshot: Option<SnapshotId>,
}

/// What a look at the journal brought.
pub(crate) enum News {
    /// No journal yet.
    Nothing,
    /// The entries since the known position.
    Since(Vec<Entry>),
    /// Everything.
    Whole(Image),
}

pub(crate) struct Loaded {
    pub(crate) head: Head,
    /// The claim it was read under.
    pub(crate) reign: Option<Reign>,
    pub(crate) position: Option<Position>,
    pub(crate) news: News,
}

/// A journal file of a chain, and up to where it counts (`None`: the newest, up to its last whole frame).
pub(crate) struct Link {
    pub(crate) id: SegmentId,
    pub(crate) opened: Opened,
    pub(crate) end: Option<u64>,
}

impl Fs {
    /// Reads the state, from the known position on if the chain still goes through it.
    pub(crate) fn load(&self, known: Option<&Position>) -> Result<Loaded> {
        self.patiently(|| self.load_once(known))
    }

    fn load_once(&self, known: Option<&Position>) -> Result<Loaded> {
        let inventory = self.list()?;
        let nothing = |head| Loaded { head, reign: None, position: None, news: News::Nothing };
        let Some(cluster) = self.survey(&inventory)? else {
            return Ok(nothing(Head { cluster: String::new(), claim: None }));
        };
        let Some(newest) = inventory.segments.last().copied() else {
            return Ok(nothing(Head { cluster, claim: None }));
        };
        let (claim, reign) = self.newest_claim(&inventory, &cluster)?.unzip();
        let incremental = match known {
            Some(known) if newest < known.segment => {
                return Err(self.corrupt(&known.segment.to_string(), "was here, and is missing"));
            }
            // A chain that does not lead back to the known position may have been compacted; if it is damaged, that
            // shows when it is read whole.
            Some(known) => match self.load_since(newest, &cluster, known) {
                Err(Error::Corrupt { .. }) => None,
                other => other?,
            },
            None => None,
        };
        let (position, news) = match incremental {
            Some(found) => found,
            None => self.load_whole(newest, &cluster)?,
        };
        Ok(Loaded { head: Head { cluster, claim }, reign, position: Some(position), news })
    }

    /// The chain from the newest file back, up to the file at which `enough` is said; newest first.
    pub(crate) fn chain(
        &self,
        newest: SegmentId,
        cluster: &str,
        mut enough: impl FnMut(&Link) -> bool,
    ) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        let mut next = Some((newest, None));
        while let Some((id, end)) = next {
            let Some(opened) = self.open_segment(id, cluster)? else {
                return Err(self.corrupt(&id.to_string(), "is missing"));
            };
            let link = Link { id, opened, end };
            next = link.opened.header.previous_id().map(|(id, length)| (id, Some(length)));
            if next.is_some_and(|(before, _)| before >= id) {
                return Err(self.corrupt(&id.to_string(), "names a file before it that is not older"));
            }
            let done = enough(&link);
            links.push(link);
            if done {
                break;
            }
        }
        Ok(links)
    }

    fn load_since(
        &self,
        newest: SegmentId,
        cluster: &str,
        known: &Position,
    ) -> Result<Option<(Position, News)>> {
        let mut entries = Vec::new();
        let mut last = known.revision;
        let mut links = Vec::new();
        // Where the chain meets the known position: in the newest file itself, or at the seal of the known file.
        let mut seal = None;
        if newest != known.segment {
            links = self.chain(newest, cluster, |link| {
                seal = link.opened.header.previous_id().filter(|(id, _)| *id == known.segment);
                seal.is_some() || link.opened.header.base < known.revision
            })?;
            match seal {
                Some((_, length)) if length >= known.offset => {}
                _ => return Ok(None),
            }
        }
        let mut take = |id: SegmentId, entry: Entry| {
            follows(self, id, last, &entry)?;
            last = entry.revision;
            entries.push(entry);
            Ok(())
        };
        let until = seal.map(|(_, length)| length);
        let mut offset = known.offset;
        if until != Some(known.offset) {
            offset = self.read_entries(known.segment, known.offset, until, |e| take(known.segment, e))?;
        }
        for link in links.iter().rev() {
            offset = self.read_entries(link.id, link.opened.first, link.end, |e| take(link.id, e))?;
        }
        let snapshot = match links.first() {
            Some(link) => link.opened.header.snapshot_id(),
            None => known.snapshot,
        };
        let position = Position { segment: newest, offset, revision: last, snapshot };
        Ok(Some((position, News::Since(entries))))
    }

    fn load_whole(&self, newest: SegmentId, cluster: &str) -> Result<(Position, News)> {
        let mut snapshot = None;
        let links = self.chain(newest, cluster, |link| {
            if link.id == newest {
                snapshot = link.opened.header.snapshot_id();
            }
            snapshot.is_some_and(|snapshot| link.opened.header.base <= snapshot.revision)
        })?;
        let state = View::default();
        if let Some(id) = snapshot {
            state.replace(self.read_snapshot(id, cluster)?);
        }
        let covered = state.revision();
        let mut offset = 0;
        let mut last: Option<Revision> = None;
        for link in links.iter().rev() {
            let base = link.opened.header.base;
            if last.unwrap_or(base) != base || (last.is_none() && base > covered) {
                let why = format!("begins after revision {base}, but what is before ends elsewhere");
                return Err(self.corrupt(&link.id.to_string(), why));
            }
            let mut at = base;
            offset = self.read_entries(link.id, link.opened.first, link.end, |entry| {
                follows(self, link.id, at, &entry)?;
                at = entry.revision;
                state.apply(&entry);
                Ok(())
            })?;
            last = Some(at);
        }
        let revision = last.unwrap_or(0);
        if revision < covered {
            let why = format!("ends at revision {revision}, before its snapshot's {covered}");
            return Err(self.corrupt(&newest.to_string(), why));
        }
        let position = Position { segment: newest, offset, revision, snapshot };
        Ok((position, News::Whole(state.into_image())))
    }
}
