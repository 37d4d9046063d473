//! The snapshot file: gzip over length-delimited messages (`proto/om/v1/snapshot.proto`).
//!
//! [`encode`] and [`decode`] hold one service at a time, however large the state. A file is accepted only whole:
//! format, count, gzip's checksum and the end of the file are all looked at before the last service is handed out, and
//! a reader must not act on what it got before it has seen the end.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use prost::Message;

use crate::v1::{SnapshotHeader, SnapshotService};
use crate::{MAX_SPEC_BYTES, MAX_STATE_BYTES};

/// The format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

/// Above anything that a service can have; a length beyond it is damage, not a reason to reserve memory.
const MAX_SERVICE_BYTES: usize = 2 * (MAX_SPEC_BYTES + MAX_STATE_BYTES);
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has no bytes at all.
    #[error("the snapshot is empty: it has no bytes at all")]
    Empty,
    /// Something else.
    #[error("this is not a snapshot of OpenManage: {0}")]
    NotASnapshot(String),
    /// The end is missing.
    #[error("the snapshot is cut off: {read} of {services} services are there")]
    Truncated {
        /// Services that could be read.
        read: u64,
        /// Services that the header promises.
        services: u64,
    },
    /// It was changed after it was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// A newer program wrote it.
    #[error("the snapshot has format {found}, and this program reads up to {FORMAT}; use a newer one")]
    NewerFormat {
        /// The format found.
        found: u32,
    },
    /// The header promised another number of services than were given to be written.
    #[error("{given} services were to be written, where the header says {services}")]
    Miscounted {
        /// Services given.
        given: u64,
        /// Services that the header promises.
        services: u64,
    },
    /// The file or stream itself.
    #[error("cannot read or write the snapshot: {0}")]
    Io(#[from] io::Error),
}

/// Writes a snapshot: `header` (its format is set here), then the services, in the order given. Returns `out`, not flushed.
///
/// # Errors
/// [`Error::Io`], and [`Error::Miscounted`] if there are not `header.services` of them.
pub fn encode<W: Write>(
    header: &SnapshotHeader,
    services: impl IntoIterator<Item = SnapshotService>,
    out: W,
) -> Result<W, Error> {
    // Level 1: a quarter of the time of level 6, for a fifth more bytes.
    let mut gzip = GzEncoder::new(out, Compression::fast());
    let mut buffer = Vec::new();
    let header = SnapshotHeader { format: FORMAT, ..header.clone() };
    put(&mut gzip, &mut buffer, &header)?;
    let mut given = 0;
    for service in services {
        put(&mut gzip, &mut buffer, &service)?;
        given += 1;
    }
    if given != header.services {
        return Err(Error::Miscounted { given, services: header.services });
    }
    Ok(gzip.finish()?)
}

fn put(out: &mut impl Write, buffer: &mut Vec<u8>, message: &impl Message) -> io::Result<()> {
    buffer.clear();
    message.encode_length_delimited(buffer).map_err(io::Error::other)?;
    out.write_all(buffer)
}

/// Begins to read a snapshot: reads and checks the header.
///
/// # Errors
/// All of [`Error`] but `Miscounted`.
pub fn decode<R: Read>(input: R) -> Result<Reader<R>, Error> {
    let mut file = BufReader::new(input);
    let start = file.fill_buf()?;
    if start.is_empty() {
        return Err(Error::Empty);
    }
    if !(start.starts_with(&[0x1f, 0x8b]) || start == [0x1f]) {
        return Err(Error::NotASnapshot("it does not begin as a gzip file does".to_owned()));
    }
    let mut unpacked = BufReader::new(GzDecoder::new(file));
    let strange = |why: &str| Error::NotASnapshot(format!("it unpacks to something else ({why})"));
    let bytes = match frame(&mut unpacked, MAX_HEADER_BYTES) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(strange("nothing")),
        Err(Fault::End) => return Err(Error::Truncated { read: 0, services: 0 }),
        Err(Fault::Damage(why)) => return Err(strange(&why)),
        Err(Fault::Io(cause)) => return Err(Error::Io(cause)),
    };
    let header = SnapshotHeader::decode(bytes.as_slice()).map_err(|cause| strange(&cause.to_string()))?;
    match header.format {
        0 => Err(strange("no format")),
        FORMAT => Ok(Reader { header, unpacked, read: 0, over: false }),
        found => Err(Error::NewerFormat { found }),
    }
}

/// Reads the services of a snapshot, as an iterator. Only after the last `Ok` has come `None` was the file whole.
#[derive(Debug)]
pub struct Reader<R> {
    header: SnapshotHeader,
    unpacked: BufReader<GzDecoder<BufReader<R>>>,
    read: u64,
    over: bool,
}

impl<R: Read> Reader<R> {
    /// The header.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    fn step(&mut self) -> Result<Option<SnapshotService>, Error> {
        if self.read == self.header.services {
            return self.end().map(|()| None);
        }
        let bytes = match frame(&mut self.unpacked, MAX_SERVICE_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(Fault::End) => {
                return Err(Error::Truncated { read: self.read, services: self.header.services });
            }
            Err(fault) => return Err(fault.into()),
        };
        let service = SnapshotService::decode(bytes.as_slice())
            .map_err(|cause| Error::Damaged(format!("service {} is unreadable: {cause}", self.read + 1)))?;
        if service.service.is_none() {
            return Err(Error::Damaged(format!("service {} has no declaration", self.read + 1)));
        }
        self.read += 1;
        Ok(Some(service))
    }

    fn end(&mut self) -> Result<(), Error> {
        // Reading to the end is what makes the decoder check gzip's length and checksum.
        match self.unpacked.fill_buf().map_err(Fault::from) {
            Ok([]) => {}
            Ok(_) => return Err(Error::Damaged("it has more services than its header says".to_owned())),
            Err(Fault::End) => {
                return Err(Error::Truncated { read: self.read, services: self.header.services });
            }
            Err(fault) => return Err(fault.into()),
        }
        if self.unpacked.get_mut().get_mut().fill_buf()?.is_empty() {
            Ok(())
        } else {
            Err(Error::Damaged("bytes follow after its end".to_owned()))
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<SnapshotService, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let step = self.step().transpose();
        self.over = !matches!(step, Some(Ok(_)));
        step
    }
}

enum Fault {
    End,
    Damage(String),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::UnexpectedEof => Self::End,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Damage(cause.to_string()),
            _ => Self::Io(cause),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::End => Self::Damaged("it ends too early".to_owned()),
            Fault::Damage(why) => Self::Damaged(why),
            Fault::Io(cause) => Self::Io(cause),
        }
    }
}

/// One length-delimited message; `None` at the end of what was packed.
fn frame(input: &mut impl io::BufRead, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    // The file is whole, its contents are not: nobody cut it off, it was written so.
    let short = || Fault::Damage("it ends in the midst of a message".to_owned());
    let mut length: u64 = 0;
    for shift in (0..64).step_by(7) {
        let byte = *input.fill_buf()?.first().ok_or_else(short)?;
        input.consume(1);
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    match usize::try_from(length) {
        Ok(length) if length <= limit => {
            let mut bytes = Vec::new();
            let read = input.take(length as u64).read_to_end(&mut bytes)?;
            if read == length { Ok(Some(bytes)) } else { Err(short()) }
        }
        _ => Err(Fault::Damage(format!("a message of {length} bytes is announced, more than {limit}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Declaration;

    fn service(index: u64) -> SnapshotService {
        let name = format!("service-{index}");
        let spec_json = format!(r#"{{"index":{index}}}"#).into();
        let service = Declaration { name, kind: "process".to_owned(), spec_json, ..Declaration::default() };
        SnapshotService { service: Some(service), revision: index, state: vec![7; 100].into() }
    }

    fn header(services: u64) -> SnapshotHeader {
        SnapshotHeader {
            term: 3,
            revision: 9,
            cluster: "c".to_owned(),
            services,
            ..SnapshotHeader::default()
        }
    }

    fn file(services: u64) -> Vec<u8> {
        encode(&header(services), (0..services).map(service), Vec::new()).unwrap()
    }

    fn read(file: &[u8]) -> Result<(SnapshotHeader, Vec<SnapshotService>), Error> {
        let reader = decode(file)?;
        let header = reader.header().clone();
        Ok((header, reader.collect::<Result<_, _>>()?))
    }

    /// A whole gzip file around any bytes.
    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn what_was_written_is_read_again() {
        for count in [0, 1, 2000] {
            let (header, services) = read(&file(count)).unwrap();
            assert_eq!((header.format, header.term, header.revision, header.services), (FORMAT, 3, 9, count));
            assert!(services.into_iter().eq((0..count).map(service)));
        }
    }

    #[test]
    fn a_wrong_count_is_not_written() {
        for services in [1, 3] {
            let error = encode(&header(services), (0..2).map(service), Vec::new()).unwrap_err();
            assert!(matches!(error, Error::Miscounted { given: 2, .. }), "{error}");
        }
    }

    #[test]
    fn an_empty_file_is_told_from_a_foreign_one() {
        assert!(matches!(read(&[]).unwrap_err(), Error::Empty));
        for foreign in [&b"kind: process\n"[..], &[0; 64], b"\x1e\x8b"] {
            assert!(matches!(read(foreign).unwrap_err(), Error::NotASnapshot(_)), "{foreign:?}");
        }
        for foreign in [&b""[..], b"kind: process\nname: web\n", &[0; 64], &[0xff; 64]] {
            assert!(matches!(read(&packed(foreign)).unwrap_err(), Error::NotASnapshot(_)), "{foreign:?}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = file(40);
        for length in 1..file.len() {
            let error = read(&file[..length]).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn a_bit_flipped_anywhere_is_refused_or_changes_nothing() {
        let file = file(10);
        let whole = read(&file).unwrap();
        // The first ten bytes are gzip's header: some of its bits (time, system) carry nothing of the contents.
        for position in 10..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[position] ^= 1 << bit;
                // The bits that fill up the last byte of the packed stream carry nothing either.
                if let Ok(contents) = read(&damaged) {
                    assert_eq!(contents, whole, "bit {bit} of byte {position}");
                }
            }
        }
    }

    #[test]
    fn whatever_follows_the_end_is_refused() {
        for more in [&b"x"[..], &[0; 512], &file(1)] {
            let error = read(&[&file(3), more].concat()).unwrap_err();
            assert!(error.to_string().contains("after its end"), "{error}");
        }
        let mut unpacked = header(0);
        unpacked.format = FORMAT;
        let mut bytes = unpacked.encode_length_delimited_to_vec();
        bytes.extend(service(1).encode_length_delimited_to_vec());
        let error = read(&packed(&bytes)).unwrap_err();
        assert!(error.to_string().contains("more services"), "{error}");
    }

    #[test]
    fn a_newer_format_is_named() {
        let newer = SnapshotHeader { format: 7, ..header(0) };
        let error = read(&packed(&newer.encode_length_delimited_to_vec())).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 7 }), "{error}");
    }

    #[test]
    fn a_huge_announced_length_reserves_no_memory() {
        let mut bytes = SnapshotHeader { format: FORMAT, ..header(1) }.encode_length_delimited_to_vec();
        bytes.extend([0xff; 9]);
        bytes.push(1);
        assert!(matches!(read(&packed(&bytes)).unwrap_err(), Error::Damaged(_)));
    }

    #[test]
    fn a_service_without_a_declaration_is_damage() {
        let mut bytes = SnapshotHeader { format: FORMAT, ..header(1) }.encode_length_delimited_to_vec();
        bytes.extend(SnapshotService::default().encode_length_delimited_to_vec());
        assert!(matches!(read(&packed(&bytes)).unwrap_err(), Error::Damaged(_)));
    }

    #[test]
    fn an_error_of_the_disk_is_passed_on() {
        #[derive(Debug)]
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("input/output error"))
            }
        }
        assert!(matches!(decode(Broken).unwrap_err(), Error::Io(_)));
        let half = file(40);
        let input = half[..half.len() / 2].chain(Broken);
        let error = decode(input).and_then(Iterator::collect::<Result<Vec<_>, _>>).unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error}");
    }
}
