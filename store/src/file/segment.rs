//! One journal file: how it begins, how it is written, how it is read.

use bytes::Bytes;
use prost::Message;

use super::disk::DiskFile;
use super::frame::{self, Next, Seed, Window};
use super::fs::{Fs, Temporary};
use super::names::{self, SegmentId, SnapshotId};
use super::wire::{Batch, SegmentHeader};
use crate::envelope::{self, Kind};
use crate::{Entry, Error, Result, Revision};

/// Frames begin here at the earliest; the head of the file is in front.
const FIRST: usize = 512;
/// How much is read to find the head.
const HEAD_LIMIT: u64 = 4096;

/// A new journal file has so many bytes, and grows faster the larger it is: a reign that ends soon leaves a small one, and
/// a takeover has little to write.
const BEGINNING: u64 = 16 * 1024;

/// The first bytes of a new journal file: its head, then zeros.
pub(crate) fn beginning(header: &SegmentHeader, chunk: u64) -> Vec<u8> {
    let chunk = chunk.min(BEGINNING);
    let mut bytes = envelope::encode(Kind::Journal, header);
    let first = bytes.len().next_multiple_of(FIRST) as u64;
    bytes.resize(usize::try_from(chunk.max(first + frame::ALIGN)).unwrap_or(usize::MAX), 0);
    bytes
}

impl SegmentHeader {
    pub(crate) fn id(&self) -> SegmentId {
        SegmentId { term: self.term, seq: self.seq }
    }

    pub(crate) fn snapshot_id(&self) -> Option<SnapshotId> {
        self.snapshot.map(|it| SnapshotId { term: it.term, revision: it.revision })
    }

    pub(crate) fn previous_id(&self) -> Option<(SegmentId, u64)> {
        self.previous.map(|it| (SegmentId { term: it.term, seq: it.seq }, it.length))
    }
}

/// A journal file's head, and where its frames begin.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) header: SegmentHeader,
    pub(crate) first: u64,
}

impl Fs {
    /// The head of a journal file; `None` if there is no such file.
    pub(crate) fn open_segment(&self, id: SegmentId, cluster: &str) -> Result<Option<Opened>> {
        let name = id.to_string();
        let Some(bytes) = self.read(&name, 0, HEAD_LIMIT)? else { return Ok(None) };
        let (header, end) = envelope::decode::<SegmentHeader>(Kind::Journal, &self.place(&name), &bytes)?;
        self.same_cluster(&name, &header.cluster, cluster)?;
        if header.id() != id {
            return Err(self.corrupt(&name, format!("is the file {}", header.id())));
        }
        let first = end.next_multiple_of(FIRST);
        if !bytes.get(end..first).is_some_and(frame::is_zero) {
            return Err(self.corrupt(&name, "damaged, or cut short, behind its head"));
        }
        Ok(Some(Opened { header, first: first as u64 }))
    }

    /// Hands the entries between two offsets to `take`, and says where the last one ended. Without `until`, up to the
    /// last whole frame, and what follows must be an honest end.
    pub(crate) fn read_entries(
        &self,
        id: SegmentId,
        from: u64,
        until: Option<u64>,
        mut take: impl FnMut(Entry) -> Result<()>,
    ) -> Result<u64> {
        let name = id.to_string();
        let limit = until.map_or(u64::MAX, |until| until.saturating_sub(from));
        let Some(bytes) = self.read(&name, from, limit)? else {
            return Err(self.corrupt(&name, "is missing"));
        };
        let window =
            Window { seed: Seed::new(id.term, id.seq), offset: from, bytes: &bytes, to_end: until.is_none() };
        let mut at = 0;
        loop {
            let place = from + at as u64;
            let damaged = |why: &str| self.corrupt(&name, format!("{why} (at byte {place})"));
            if until == Some(place) {
                return Ok(place);
            }
            match window.next(at).map_err(damaged)? {
                Next::Frame { payload, end } => {
                    for entry in decode(payload).map_err(|why| damaged(&why))? {
                        if entry.term != id.term {
                            return Err(damaged("a record is of another term"));
                        }
                        take(entry)?;
                    }
                    at = end;
                }
                Next::End if until.is_none() => return Ok(place),
                Next::End | Next::More(_) => return Err(damaged("a record is damaged or missing")),
            }
        }
    }

    /// Some of the entries from an offset on, as far as they can be read now, for a watch: what is torn or still being
    /// written is left for later. Says where it stopped.
    pub(crate) fn peek_entries(&self, id: SegmentId, from: u64, until: Option<u64>) -> Result<Peek> {
        const STEP: u64 = 1024 * 1024;
        let name = id.to_string();
        let mut limit = STEP;
        loop {
            let wanted = until.map_or(limit, |until| limit.min(until.saturating_sub(from)));
            let Some(bytes) = self.read(&name, from, wanted)? else { return Ok(Peek::Gone) };
            let window =
                Window { seed: Seed::new(id.term, id.seq), offset: from, bytes: &bytes, to_end: false };
            let (mut at, mut entries) = (0, Vec::new());
            let stop = loop {
                match window.next(at).map_err(|why| self.corrupt(&name, why))? {
                    Next::Frame { payload, end } => {
                        entries.extend(decode(payload).map_err(|why| self.corrupt(&name, why))?);
                        at = end;
                    }
                    other => break other,
                }
            };
            match stop {
                // One frame is larger than the window, and the file has more of it.
                Next::More(needed) if at == 0 && needed as u64 > limit && bytes.len() as u64 == limit => {
                    limit = needed as u64 + frame::ALIGN;
                }
                _ => return Ok(Peek::Entries { entries, end: from + at as u64 }),
            }
        }
    }
}

pub(crate) enum Peek {
    Entries { entries: Vec<Entry>, end: u64 },
    Gone,
}

fn decode(payload: Vec<u8>) -> std::result::Result<impl Iterator<Item = Entry>, String> {
    let batch =
        Batch::decode(Bytes::from(payload)).map_err(|error| format!("a record cannot be read: {error}"))?;
    Ok(batch.entries.into_iter().map(Entry::from))
}

/// A journal file that this process writes.
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    file: Box<dyn DiskFile>,
    /// Where the next frame begins.
    end: u64,
    /// The file has so many bytes, durably; those from `end` on are zeros.
    room: u64,
}

/// Why a frame was not written.
pub(crate) enum Refused {
    /// The file is as before: it can be tried again.
    Clean(Error),
    /// The file must not be written any more; nothing of the frame is in it.
    Spoiled(Error),
    /// The same, and the frame may be in it.
    Unclear(Error),
}

impl Segment {
    /// Makes a new journal file, durable with its name, as the newest of its term. `Spoiled` if it may have the name.
    pub(crate) fn create(fs: &Fs, header: &SegmentHeader) -> std::result::Result<Self, Refused> {
        let id = header.id();
        let temporary = Temporary { fs, name: names::temporary() };
        let bytes = beginning(header, fs.tuning.chunk);
        let file = fs.create(&temporary.name).map_err(Refused::Clean)?;
        let failed = |error| Refused::Clean(Error::io(format!("write {}", fs.place(&id.to_string())), error));
        file.write_at(0, &bytes).map_err(failed)?;
        file.sync().map_err(failed)?;
        temporary.rename(&id.to_string()).map_err(Refused::Spoiled)?;
        let first = envelope::encode(Kind::Journal, header).len().next_multiple_of(FIRST) as u64;
        Ok(Self { id, file, end: first, room: bytes.len() as u64 })
    }

    /// Where the next frame begins.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes a frame behind the others, durably, but does not count it yet: says where it ends.
    pub(crate) fn write(&mut self, fs: &Fs, payload: &[u8]) -> std::result::Result<u64, Refused> {
        let size = frame::size(payload.len()) as u64;
        self.grow(fs, self.end + size + frame::ALIGN)?;
        let bytes = frame::encode(Seed::new(self.id.term, self.id.seq), self.end, payload);
        let failed =
            |verb: &str, error| Refused::Unclear(Error::io(format!("{verb} {}", self.place(fs)), error));
        self.file.write_at(self.end, &bytes).map_err(|error| failed("write", error))?;
        self.file.sync().map_err(|error| failed("sync", error))?;
        Ok(self.end + size)
    }

    /// Counts what was written up to `end`.
    pub(crate) fn keep(&mut self, end: u64) {
        self.end = end;
    }

    fn place(&self, fs: &Fs) -> String {
        fs.place(&self.id.to_string())
    }

    /// Fills the file with zeros, so that there are `needed` bytes. They are durable before anything is written over
    /// them: a torn write finds zeros below it, and a full disk shows here, where it does no harm.
    fn grow(&mut self, fs: &Fs, needed: u64) -> std::result::Result<(), Refused> {
        const MOST: u64 = 1024 * 1024;
        while self.room < needed {
            let chunk = fs.tuning.chunk.min(self.room.next_power_of_two());
            let step = (needed - self.room).next_multiple_of(chunk).min(MOST.max(chunk));
            let zeros = vec![0; usize::try_from(step).unwrap_or(0)];
            let done = self.file.write_at(self.room, &zeros).and_then(|()| self.file.sync());
            if let Err(error) = done {
                let full = matches!(
                    error.kind(),
                    std::io::ErrorKind::StorageFull
                        | std::io::ErrorKind::QuotaExceeded
                        | std::io::ErrorKind::FileTooLarge
                );
                let what = if full { "disk full: no room to grow" } else { "grow" };
                let error = Error::io(format!("{what} {}", self.place(fs)), error);
                return Err(if full { Refused::Clean(error) } else { Refused::Spoiled(error) });
            }
            self.room += step;
        }
        Ok(())
    }
}

/// The payload that records these entries.
pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    Batch { entries: entries.iter().map(Into::into).collect() }.encode_to_vec()
}

/// Checks that entries follow one another.
pub(crate) fn follows(fs: &Fs, id: SegmentId, last: Revision, entry: &Entry) -> Result<()> {
    if entry.revision == last + 1 {
        return Ok(());
    }
    let why = format!("revision {} follows revision {last}", entry.revision);
    Err(fs.corrupt(&id.to_string(), why))
}
