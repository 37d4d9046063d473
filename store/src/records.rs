//! All keys at one revision, compressed: a gzip stream of length-delimited records in order of the keys.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use prost::Message;

use crate::image::{Image, Making};
use crate::wire::SnapshotRecord;
use crate::{Record, Revision};

/// Writes the records, packed, to `sink`.
pub(crate) fn pack<W: Write>(sink: W, records: &[(Arc<str>, Record)]) -> io::Result<W> {
    let mut gzip = GzEncoder::new(sink, Compression::fast());
    let mut buffer = Vec::new();
    for (key, record) in records {
        let value = Bytes::from_owner(record.value.clone());
        let record = SnapshotRecord { key: key.to_string(), value, modified: record.modified };
        buffer.clear();
        record.encode_length_delimited(&mut buffer).map_err(io::Error::other)?;
        gzip.write_all(&buffer)?;
    }
    gzip.finish()
}

/// Reads what was packed at this revision; there must be `count` records.
pub(crate) fn unpack(body: &[u8], revision: Revision, count: u64) -> io::Result<Image> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain)?;
    let mut rest = Bytes::from(plain);
    let mut making = Making::default();
    while rest.has_remaining() {
        let record = SnapshotRecord::decode_length_delimited(&mut rest).map_err(io::Error::other)?;
        making.add(record.key.into(), &record.value, record.modified);
    }
    if making.len() as u64 != count {
        return Err(io::Error::other(format!("holds {} keys, not {count}", making.len())));
    }
    Ok(making.done(revision))
}
