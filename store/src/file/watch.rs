//! Following the journal.
//!
//! A watch reads the journal itself, from the disk, at its own pace: a slow one holds up nobody and loses nothing. It
//! gives out an entry only when the entry cannot be taken back any more: it was read from the chain of the newest
//! claim, is durable, and afterwards the claim still was the newest. A later holder loads after its claim, so it has
//! the entry too. While a claim is newer than the journal (its holder has not started, or died), a watch waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::Stream;

use super::fs::Fs;
use super::names::SegmentId;
use super::segment::Peek;
use crate::{Entry, Error, Result, Revision};

/// Where a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last revision that was given out, or after which to begin.
    pub(crate) revision: Revision,
    /// A journal file of the chain and the place behind that revision's frame, if known.
    at: Option<(SegmentId, u64)>,
}

impl Cursor {
    pub(crate) fn after(revision: Revision) -> Self {
        Self { revision, at: None }
    }
}

impl Fs {
    /// The next entries, if there are some that count for good, and the cursor behind them.
    pub(crate) fn follow(&self, cursor: &Cursor) -> Result<(Vec<Entry>, Cursor)> {
        self.patiently(|| self.follow_once(cursor))
    }

    fn follow_once(&self, cursor: &Cursor) -> Result<(Vec<Entry>, Cursor)> {
        let nothing = || (Vec::new(), cursor.clone());
        let inventory = self.list()?;
        let Some(cluster) = self.survey(&inventory)? else { return Ok(nothing()) };
        let (Some(newest), Some((_, reign))) =
            (inventory.segments.last().copied(), self.newest_claim(&inventory, &cluster)?)
        else {
            return Ok(nothing());
        };
        if reign.term != newest.term {
            // Not started yet. What is to come is not known, but what is gone is gone.
            if cursor.at.is_none() {
                self.locate(newest, &cluster, cursor)?;
            }
            return Ok(nothing());
        }
        let (id, from, until) = match cursor.at {
            Some((id, from)) if id == newest => (id, from, None),
            _ => self.locate(newest, &cluster, cursor)?,
        };
        let Peek::Entries { mut entries, end } = self.peek_entries(id, from, until)? else {
            return Err(self.corrupt(&id.to_string(), "is missing"));
        };
        if until.is_some_and(|until| end == from && end < until) {
            return Err(self.corrupt(&id.to_string(), format!("a record is damaged (at byte {end})")));
        }
        entries.retain(|entry| entry.revision > cursor.revision);
        let next = Cursor {
            revision: entries.last().map_or(cursor.revision, |entry| entry.revision),
            at: Some((id, end)),
        };
        if entries.first().is_some_and(|first| first.revision != cursor.revision + 1) && cursor.at.is_some() {
            return Err(self.corrupt(&id.to_string(), "a revision is missing"));
        }
        if entries.is_empty() && id == newest && from == end {
            return Ok(nothing());
        }
        if id == newest {
            self.sync(&id.to_string())?;
        }
        match self.confirm(&reign) {
            Ok(()) => Ok((entries, next)),
            Err(Error::Fenced { .. }) => Ok(nothing()),
            Err(error) => Err(error),
        }
    }

    /// The file that holds what comes after the cursor, where to read in it, and up to where it counts.
    fn locate(
        &self,
        newest: SegmentId,
        cluster: &str,
        cursor: &Cursor,
    ) -> Result<(SegmentId, u64, Option<u64>)> {
        let mut next = Some((newest, None));
        let mut above: Option<(SegmentId, u64, Revision)> = None;
        while let Some((id, end)) = next {
            let Some(opened) = self.open_segment(id, cluster)? else {
                let Some((_, _, oldest)) = above else { break };
                return Err(Error::Compacted { after: cursor.revision, oldest });
            };
            let read_up = cursor.at.filter(|(at, _)| *at == id).map(|(_, offset)| offset);
            let used_up = read_up.is_some() && end == read_up;
            if used_up && let Some((id, first, _)) = above {
                // All of this file was given out: go on with the one after it.
                return Ok((id, first, self.seal_of(newest, id, cluster)?));
            }
            if opened.header.base <= cursor.revision {
                return Ok((id, read_up.unwrap_or(opened.first), end));
            }
            above = Some((id, opened.first, opened.header.base));
            next = opened.header.previous_id().map(|(id, length)| (id, Some(length)));
        }
        Err(self.corrupt(&newest.to_string(), "its chain does not begin"))
    }

    /// Up to where a file of the chain counts.
    fn seal_of(&self, newest: SegmentId, wanted: SegmentId, cluster: &str) -> Result<Option<u64>> {
        let links = self.chain(newest, cluster, |link| link.id == wanted)?;
        Ok(links.last().and_then(|link| link.end))
    }
}

/// A stream fed by a task that ends with it.
pub(crate) struct Following {
    entries: mpsc::Receiver<Result<Entry>>,
    _task: JoinSet<()>,
}

impl Following {
    /// `first` was read already; goes on from the cursor, at once when `changed` moves, else at every poll.
    pub(crate) fn start(
        fs: Arc<Fs>,
        first: Vec<Entry>,
        cursor: Cursor,
        changed: watch::Receiver<Revision>,
    ) -> Self {
        let (sender, entries) = mpsc::channel(64);
        let mut task = JoinSet::new();
        task.spawn(feed(fs, first, cursor, changed, sender));
        Self { entries, _task: task }
    }
}

async fn feed(
    fs: Arc<Fs>,
    mut ready: Vec<Entry>,
    mut cursor: Cursor,
    mut changed: watch::Receiver<Revision>,
    sender: mpsc::Sender<Result<Entry>>,
) {
    loop {
        changed.mark_unchanged();
        for entry in ready.drain(..) {
            if sender.send(Ok(entry)).await.is_err() {
                return;
            }
        }
        let from = cursor.clone();
        let moved = (from.revision, from.at);
        let read = fs.aside(move |fs| fs.follow(&from)).await;
        let (entries, next) = match read {
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                drop(sender.send(Err(error)).await);
                return;
            }
            None => return,
        };
        let idle = entries.is_empty() && (next.revision, next.at) == moved;
        (ready, cursor) = (entries, next);
        if idle {
            // An error of `changed` means that the handle is gone; others may still write.
            tokio::select! {
                () = sender.closed() => return,
                Ok(()) = changed.changed() => {}
                () = tokio::time::sleep(fs.tuning.poll) => {}
            }
        }
    }
}

impl Stream for Following {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.entries.poll_recv(context)
    }
}
