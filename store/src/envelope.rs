//! The beginning of every file, and every value in etcd: what it is, of which format, and a checked message.
//!
//! `OMSTORE` and a letter, then little-endian: format u32, length u32, CRC-32 of all of it u32; then the message. Every
//! later format keeps this much, so that an older program says "newer" and not "damaged".

use crate::{Error, Result};

/// The newest format that this program reads, and the one it writes.
pub(crate) const FORMAT: u32 = 1;

const FIXED: usize = 20;

/// What it is, as its eighth byte.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Format = b'F' as isize,
    Claim = b'C' as isize,
    Release = b'R' as isize,
    Journal = b'J' as isize,
    Snapshot = b'S' as isize,
    Manifest = b'M' as isize,
    Tip = b'T' as isize,
}

impl Kind {
    fn magic(self) -> [u8; 8] {
        let mut magic = *b"OMSTORE?";
        magic[7] = self as u8;
        magic
    }
}

pub(crate) fn encode(kind: Kind, message: &impl prost::Message) -> Vec<u8> {
    encode_as(kind, FORMAT, message)
}

pub(crate) fn encode_as(kind: Kind, format: u32, message: &impl prost::Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    // Messages in an envelope hold names and numbers: far from 4 GiB.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(FIXED + body.len());
    bytes.extend_from_slice(&kind.magic());
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    let sum = checksum(&bytes, &body);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn checksum(fixed: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fixed);
    hasher.update(body);
    hasher.finalize()
}

/// Reads the envelope at the beginning of `bytes` and says how long it was. `place` names the file.
pub(crate) fn decode<M: prost::Message + Default>(
    kind: Kind,
    place: &str,
    bytes: &[u8],
) -> Result<(M, usize)> {
    let corrupt = |why: &str| Error::Corrupt { what: format!("{place}: {why}") };
    let fixed = bytes.get(..FIXED).ok_or_else(|| corrupt("cut short in its head"))?;
    if fixed[..8] != kind.magic() {
        return Err(corrupt("does not begin as such a file does"));
    }
    let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (format, length, sum) = (number(8), number(12), number(16));
    let end = FIXED + length as usize;
    let body = bytes.get(FIXED..end).ok_or_else(|| corrupt("cut short, or its head is damaged"))?;
    if checksum(&fixed[..16], body) != sum {
        return Err(corrupt("the checksum of its head does not fit"));
    }
    if format > FORMAT {
        return Err(Error::NewerFormat { what: place.to_owned(), found: format, known: FORMAT });
    }
    let message = M::decode(body).map_err(|error| corrupt(&format!("its head cannot be read: {error}")))?;
    Ok((message, end))
}

/// Reads a file that is an envelope and nothing else.
pub(crate) fn decode_whole<M: prost::Message + Default>(kind: Kind, place: &str, bytes: &[u8]) -> Result<M> {
    let (message, end) = decode(kind, place, bytes)?;
    if end != bytes.len() {
        return Err(Error::Corrupt { what: format!("{place}: goes on at byte {end}, where it must end") });
    }
    Ok(message)
}
