//! A snapshot: every key at one revision, compressed.
//!
//! The envelope with {store, term, revision, number of keys}; a gzip stream of length-delimited records in order of the
//! keys; then the stream's length u64, its CRC-32 u32 and the letters `omS1`. The sum is over the compressed bytes, so
//! that no bit of the file goes unchecked.

use std::io::{self, Write};
use std::sync::Arc;

use super::disk::DiskFile;
use super::fs::{Fs, Temporary};
use super::names::{self, SnapshotId};
use super::wire::SnapshotHeader;
use crate::envelope::{self, Kind};
use crate::image::Image;
use crate::{Error, Record, Result, records};

const MARK: [u8; 4] = *b"omS1";
const TRAILER: usize = 16;

impl Fs {
    /// Writes a snapshot; it is durable, with its name, when this returns.
    pub(crate) fn write_snapshot(
        &self,
        id: SnapshotId,
        cluster: &str,
        records: &[(Arc<str>, Record)],
    ) -> Result<()> {
        let header = SnapshotHeader {
            cluster: cluster.to_owned(),
            term: id.term,
            revision: id.revision,
            count: records.len() as u64,
        };
        let temporary = Temporary { fs: self, name: names::temporary() };
        let file = self.create(&temporary.name)?;
        fill(file.as_ref(), &header, records)
            .map_err(|error| Error::io(format!("write {}", self.place(&id.to_string())), error))?;
        temporary.rename(&id.to_string())
    }

    pub(crate) fn read_snapshot(&self, id: SnapshotId, cluster: &str) -> Result<Image> {
        let name = id.to_string();
        let Some(bytes) = self.read(&name, 0, u64::MAX)? else {
            return Err(self.corrupt(&name, "is missing"));
        };
        let (header, body) = envelope::decode::<SnapshotHeader>(Kind::Snapshot, &self.place(&name), &bytes)?;
        self.same_cluster(&name, &header.cluster, cluster)?;
        if (header.term, header.revision) != (id.term, id.revision) {
            let found = SnapshotId { term: header.term, revision: header.revision };
            return Err(self.corrupt(&name, format!("is the file {found}")));
        }
        let corrupt = |why: &str| self.corrupt(&name, why);
        let (body, trailer) =
            bytes[body..].split_last_chunk::<TRAILER>().ok_or_else(|| corrupt("cut short"))?;
        if trailer[12..] != MARK || trailer[..8] != (body.len() as u64).to_le_bytes() {
            return Err(corrupt("cut short, or its end is damaged"));
        }
        if trailer[8..12] != crc32fast::hash(body).to_le_bytes() {
            return Err(corrupt("its checksum does not fit"));
        }
        records::unpack(body, id.revision, header.count).map_err(|error| corrupt(&error.to_string()))
    }
}

fn fill(file: &dyn DiskFile, header: &SnapshotHeader, records: &[(Arc<str>, Record)]) -> io::Result<()> {
    let mut sink = Sink { file, offset: 0, waiting: Vec::new(), sum: crc32fast::Hasher::new() };
    sink.waiting = envelope::encode(Kind::Snapshot, header);
    sink.flush()?;
    let body = sink.offset;
    sink.sum = crc32fast::Hasher::new();
    let mut sink = records::pack(sink, records)?;
    sink.flush()?;
    let length = sink.offset - body;
    let sum = sink.sum.clone().finalize();
    sink.waiting.extend_from_slice(&length.to_le_bytes());
    sink.waiting.extend_from_slice(&sum.to_le_bytes());
    sink.waiting.extend_from_slice(&MARK);
    sink.flush()?;
    file.sync()
}

/// Gathers small writes, and sums up what it writes.
struct Sink<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
    waiting: Vec<u8>,
    sum: crc32fast::Hasher,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const STEP: usize = 1024 * 1024;
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= STEP {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sum.update(&self.waiting);
        if !self.waiting.is_empty() {
            self.file.write_at(self.offset, &self.waiting)?;
        }
        self.offset += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
