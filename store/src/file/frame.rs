//! A frame: the unit that the journal is written in. And the question whether what follows the last one is a torn
//! write or damage.
//!
//! A journal file is filled with zeros before frames are written into it, and frames begin at multiples of 32 bytes:
//!
//! ```text
//! mark u32 | payload length u32 | own offset in the file u64 | CRC of payload u32 | 0 u64 | CRC of this head u32
//! payload, masked | zeros | 8 bytes 0xff                                      up to the next multiple of 32
//! ```
//!
//! Both sums begin with the file's identity, so that a frame of another file is no frame here.
//!
//! **What a torn write looks like.** Only one frame is ever unsynced: the next is written after the sync of the one
//! before. A killed process leaves a beginning of it; a power cut leaves, per sector of 512 bytes, the new bytes or the
//! old ones, and the old ones are zeros. A complete frame has no zero sector: its head is not zero, its end mark is
//! not zero, and the payload is masked (XOR with a number made from its place) so that it has none by nature. So, where
//! the next frame should begin:
//!
//! * zeros to the end of the file: the journal ends here;
//! * a good head, a payload whose sum does not fit, a zero sector or a zero end within: torn, the journal ends here;
//! * part of a head, or zeros up to the end of the sector, and nothing after that was written later: torn as well;
//! * anything else, and always if the file ends without a zero behind the last frame: damage.
//!
//! **What this cannot tell.** If a disk loses sectors of the very last acknowledged frame such that they read as
//! zeros, that is exactly what a torn write looks like, and the frame is dropped. A changed bit, a cut file, foreign
//! bytes, or any damage before the last frame are told.

use std::ops::Range;

const MARK: [u8; 4] = *b"omF1";
const END: [u8; 8] = [0xff; 8];
const HEAD: usize = 32;
pub(crate) const ALIGN: u64 = 32;
const SECTOR: u64 = 512;

/// The identity of a file, which its sums begin with.
#[derive(Clone, Copy)]
pub(crate) struct Seed {
    term: u64,
    seq: u64,
}

impl Seed {
    pub(crate) fn new(term: u64, seq: u64) -> Self {
        Self { term, seq }
    }

    fn sum(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.term.to_le_bytes());
        hasher.update(&self.seq.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }

    fn mask(self, offset: u64) -> [u8; 8] {
        // SplitMix64: neighbouring places get unrelated masks.
        let mut z = offset ^ self.term.rotate_left(40) ^ 0x9e37_79b9_7f4a_7c15;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

fn apply_mask(mask: [u8; 8], bytes: &mut [u8]) {
    let word = u64::from_le_bytes(mask);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_le_bytes(*chunk) ^ word).to_le_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Bytes that a frame with such a payload takes.
pub(crate) fn size(payload: usize) -> usize {
    (HEAD + payload + END.len()).next_multiple_of(ALIGN as usize)
}

/// The frame of `payload` at `offset`.
pub(crate) fn encode(seed: Seed, offset: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; size(payload.len())];
    let body = &mut bytes[HEAD..HEAD + payload.len()];
    body.copy_from_slice(payload);
    apply_mask(seed.mask(offset), body);
    let sum = seed.sum(body);
    bytes[0..4].copy_from_slice(&MARK);
    // A batch is bounded far below 4 GiB.
    bytes[4..8].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes[8..16].copy_from_slice(&offset.to_le_bytes());
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    let head = seed.sum(&bytes[..28]);
    bytes[28..32].copy_from_slice(&head.to_le_bytes());
    let end = bytes.len() - END.len();
    bytes[end..].copy_from_slice(&END);
    bytes
}

/// What stands at a place where a frame may begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A whole frame: its payload, and the place after it (within the window).
    Frame { payload: Vec<u8>, end: usize },
    /// Nothing more that counts.
    End,
    /// The window is too small: this many bytes from the place on are needed.
    More(usize),
}

/// A part of a file.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) seed: Seed,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
    /// Whether the file ends with it. Only then can a torn end be told from damage; else either is an end.
    pub(crate) to_end: bool,
}

struct Head {
    length: usize,
    sum: u32,
}

impl Window<'_> {
    /// What stands at `at`, an index into the window. The error says what is wrong.
    pub(crate) fn next(&self, at: usize) -> Result<Next, &'static str> {
        let Some(head) = self.bytes.get(at..at + HEAD) else {
            let why = "the file is cut short: it ends without a zero behind its last record";
            return if self.to_end { Err(why) } else { Ok(Next::More(HEAD)) };
        };
        match self.head(at) {
            Some(found) => self.body(at, &found),
            None if !self.to_end => Ok(Next::End),
            None if is_zero(head) => self.hole(at),
            None if is_zero(&self.bytes[at + HEAD..]) => Ok(Next::End),
            None => Err("the head of a record is damaged"),
        }
    }

    fn head(&self, at: usize) -> Option<Head> {
        let head = self.bytes.get(at..at + HEAD)?;
        let (fixed, sum) = head.split_at(28);
        let place = self.offset + at as u64;
        let fits = fixed[0..4] == MARK && fixed[8..16] == place.to_le_bytes();
        if !fits || self.seed.sum(fixed).to_le_bytes() != sum {
            return None;
        }
        let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        Some(Head { length: number(4) as usize, sum: number(16) })
    }

    fn body(&self, at: usize, head: &Head) -> Result<Next, &'static str> {
        let end = at + size(head.length);
        // The file always goes on behind a record.
        if end >= self.bytes.len() {
            return if self.to_end {
                Err("the file is cut short within a record")
            } else if end > self.bytes.len() {
                Ok(Next::More(end - at))
            } else {
                Ok(self.whole(at, head, end).unwrap_or(Next::End))
            };
        }
        if let Some(frame) = self.whole(at, head, end) {
            return Ok(frame);
        }
        if !self.to_end {
            return Ok(Next::End);
        }
        if !is_zero(&self.bytes[end..]) {
            return Err("a record is damaged, and others follow it");
        }
        let torn = self.bytes[end - 1] == 0 || self.sectors(at..end).any(|part| is_zero(&self.bytes[part]));
        if torn { Ok(Next::End) } else { Err("a record is damaged") }
    }

    fn whole(&self, at: usize, head: &Head, end: usize) -> Option<Next> {
        let body = &self.bytes[at + HEAD..at + HEAD + head.length];
        if self.seed.sum(body) != head.sum {
            return None;
        }
        // The end mark: as it must be, or with its tail not yet written.
        let mark = &self.bytes[end - END.len()..end];
        let written = mark.iter().take_while(|byte| **byte == 0xff).count();
        if !is_zero(&mark[written..]) || !is_zero(&self.bytes[at + HEAD + head.length..end - END.len()]) {
            return None;
        }
        let mut payload = body.to_vec();
        apply_mask(self.seed.mask(self.offset + at as u64), &mut payload);
        Some(Next::Frame { payload, end })
    }

    /// Zeros where a head should be: the end, or a torn frame whose first sector was not written.
    fn hole(&self, at: usize) -> Result<Next, &'static str> {
        let rest = &self.bytes[at..];
        if is_zero(rest) {
            return Ok(Next::End);
        }
        let first = self.sectors(at..self.bytes.len()).next().unwrap_or(at..at);
        if !is_zero(&self.bytes[first.clone()]) {
            return Err("there are bytes after the last record");
        }
        let later = (first.end..self.bytes.len()).step_by(ALIGN as usize).find(|at| self.head(*at).is_some());
        if later.is_some() {
            return Err("a record is missing, and others follow it");
        }
        Ok(Next::End)
    }

    /// The range, cut where sectors of the file end.
    fn sectors(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (offset, mut from) = (self.offset, range.start);
        std::iter::from_fn(move || {
            if from >= range.end {
                return None;
            }
            let left = SECTOR - (offset + from as u64) % SECTOR;
            let until = range.end.min(from + left as usize);
            let part = from..until;
            from = until;
            Some(part)
        })
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
