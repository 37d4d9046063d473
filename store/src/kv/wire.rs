//! What the values hold, each in an envelope (`envelope.rs`): its kind, its format, a checksum.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use om_kv::Kv;
use prost::Message;

use crate::envelope::{self, Kind};
use crate::wire::EntryRecord;
use crate::{Entry, Error, Result};

/// The most that one value holds. etcd takes requests of 1.5 MiB, a Docker config object just under 1 MB.
pub(crate) const PIECE: usize = 768 * 1024;

/// Entries below this are not worth compressing.
const SMALL: usize = 2048;

/// Of `meta`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Meta {
    /// The store's identity.
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
}

/// Of `tip`: the newest entry. Put in every transaction that writes entries, so that one cannot be applied twice: it
/// compares the tip's mod-revision, and moves it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Tip {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    /// Whose transaction it was.
    #[prost(string, tag = "2")]
    pub(crate) writer: String,
}

/// Of `manifest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Manifest {
    /// The revision that the base shows.
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    /// The lowest revision that a watch can start after: older entries may be deleted.
    #[prost(uint64, tag = "2")]
    pub(crate) floor: u64,
    /// Of the base: keys in it, chunks, bytes in all chunks, their CRC-32.
    #[prost(uint64, tag = "3")]
    pub(crate) count: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) chunks: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) length: u64,
    #[prost(uint32, tag = "6")]
    pub(crate) sum: u32,
    /// Who wrote it.
    #[prost(string, tag = "7")]
    pub(crate) writer: String,
}

/// Of `journal/<revision>`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EntryValue {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    /// The nonce of the claim that it was written under, and which of its writes it was.
    #[prost(string, tag = "2")]
    pub(crate) writer: String,
    /// The entry: as it is, or packed, or elsewhere.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(crate) plain: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) packed: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub(crate) parts: Option<Parts>,
}

/// A packed entry in several values.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Parts {
    /// Names the try: parts of another try to write the same revision are debris.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(uint64, tag = "2")]
    pub(crate) count: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) length: u64,
    #[prost(uint32, tag = "4")]
    pub(crate) sum: u32,
}

/// An entry as it is put.
pub(crate) struct Encoded {
    pub(crate) value: Vec<u8>,
    /// What is to be put before: the try's name and its pieces.
    pub(crate) parts: Option<(String, Vec<Vec<u8>>)>,
}

pub(crate) fn encode_entry(entry: &Entry, writer: &str) -> io::Result<Encoded> {
    let plain = EntryRecord::from(entry).encode_to_vec();
    let mut value =
        EntryValue { revision: entry.revision, writer: writer.to_owned(), ..EntryValue::default() };
    if plain.len() < SMALL {
        value.plain = Some(plain.into());
        return Ok(Encoded { value: envelope::encode(Kind::Journal, &value), parts: None });
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain)?;
    let packed = gzip.finish()?;
    if packed.len() <= PIECE {
        value.packed = Some(packed.into());
        return Ok(Encoded { value: envelope::encode(Kind::Journal, &value), parts: None });
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let pieces: Vec<_> = packed.chunks(PIECE).map(<[u8]>::to_vec).collect();
    value.parts = Some(Parts {
        id: id.clone(),
        count: pieces.len() as u64,
        length: packed.len() as u64,
        sum: crc32fast::hash(&packed),
    });
    Ok(Encoded { value: envelope::encode(Kind::Journal, &value), parts: Some((id, pieces)) })
}

/// An entry as its key alone tells it.
pub(crate) enum Decoded {
    Whole(Entry),
    InParts(Parts),
}

/// Reads an entry. `place` names the key.
pub(crate) fn decode_entry(place: &str, revision: u64, bytes: &[u8]) -> Result<Decoded> {
    let mut value: EntryValue = envelope::decode_whole(Kind::Journal, place, bytes)?;
    if value.revision != revision {
        return Err(corrupt(place, format!("is the entry of revision {}", value.revision)));
    }
    if let Some(parts) = value.parts.take() {
        return Ok(Decoded::InParts(parts));
    }
    let entry = match (value.plain, &value.packed) {
        (Some(plain), None) => entry_of(place, revision, plain)?,
        (None, Some(packed)) => unpack_entry(place, revision, packed)?,
        _ => return Err(corrupt(place, "holds no entry")),
    };
    Ok(Decoded::Whole(entry))
}

/// Reads an entry whose pieces were put together.
pub(crate) fn unpack_entry(place: &str, revision: u64, packed: &[u8]) -> Result<Entry> {
    let mut plain = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut plain).map_err(|error| corrupt(place, error))?;
    entry_of(place, revision, plain.into())
}

fn entry_of(place: &str, revision: u64, plain: Bytes) -> Result<Entry> {
    let record = EntryRecord::decode(plain).map_err(|error| corrupt(place, error))?;
    if record.revision != revision {
        return Err(corrupt(place, format!("holds the entry of revision {}", record.revision)));
    }
    Ok(record.into())
}

/// Puts pieces together that were read in order.
pub(crate) fn join(place: &str, pieces: &[Kv], count: u64, length: u64, sum: u32) -> Result<Vec<u8>> {
    if pieces.len() as u64 != count {
        return Err(corrupt(place, format!("{} of {count} pieces are there", pieces.len())));
    }
    let whole = pieces.iter().map(|kv| kv.value.as_slice()).collect::<Vec<_>>().concat();
    if whole.len() as u64 != length || crc32fast::hash(&whole) != sum {
        return Err(corrupt(place, "its checksum does not fit"));
    }
    Ok(whole)
}

pub(crate) fn corrupt(place: &str, why: impl std::fmt::Display) -> Error {
    Error::Corrupt { what: format!("key {place}: {why}") }
}
