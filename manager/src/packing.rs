//! Declarations in memory and in the store take less room: deflated, each by itself.
//!
//! The state of 100,000 services is mostly their declarations, and is held by every replica. Whoever reads one unpacks that
//! one; what is asked of all of them (name, kind, whether one is being destroyed) stands beside it in the clear.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use om_api::MAX_MESSAGE_BYTES;

/// Less is not worth it.
const SMALL: usize = 128;

/// The least that gives each text a code of its own: a kilobyte of settings becomes 395 bytes, not 533 as with the level
/// below, and no level above gains more than a hundredth on that.
const LEVEL: u32 = 2;

thread_local! {
    // Their tables are made once for each thread: that costs more than a kilobyte's worth of work.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// The bytes, deflated; `None` if that saves nothing.
pub(crate) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < SMALL {
        return None;
    }
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        // What does not fit is not smaller.
        let mut packed = Vec::with_capacity(bytes.len() - 1);
        let done = deflate.compress_vec(bytes, &mut packed, FlushCompress::Finish);
        matches!(done, Ok(Status::StreamEnd)).then(|| {
            packed.shrink_to_fit();
            packed
        })
    })
}

/// What was packed: these bytes, `length` of them.
///
/// # Errors
/// It is something else, in words.
pub(crate) fn unpack(packed: &[u8], length: u32) -> Result<Vec<u8>, String> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE_BYTES {
        return Err(format!("says that it is {length} bytes, more than {MAX_MESSAGE_BYTES}"));
    }
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let mut bytes = Vec::with_capacity(length);
        match inflate.decompress_vec(packed, &mut bytes, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) if bytes.len() == length => Ok(bytes),
            Ok(_) => Err(format!("is not the {length} bytes that it says")),
            Err(error) => Err(error.to_string()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_is_smaller() {
        for round in 0..3_usize {
            let text = format!("a line of words, {round} ").repeat(20 + 1000 * round);
            let packed = pack(text.as_bytes()).expect("smaller");
            assert!(packed.len() < text.len() / 2);
            let length = u32::try_from(text.len()).unwrap();
            assert_eq!(unpack(&packed, length).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_small_or_cannot_be_packed_is_left_as_it_is() {
        assert_eq!(pack(b""), None);
        assert_eq!(pack(&[7; SMALL - 1]), None);
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(1000)
        .collect();
        assert_eq!(pack(&noise), None);
    }

    #[test]
    fn damage_is_told_and_costs_no_memory() {
        let text = "word ".repeat(200);
        let packed = pack(text.as_bytes()).unwrap();
        let length = u32::try_from(text.len()).unwrap();
        assert!(unpack(&packed, length - 1).is_err());
        assert!(unpack(&packed, length + 1).is_err());
        assert!(unpack(&packed[..packed.len() - 1], length).is_err());
        assert!(unpack(&[0xff; 20], 20).is_err());
        assert!(unpack(&packed, u32::MAX).unwrap_err().contains("more than"));
        assert_eq!(unpack(&packed, length).unwrap(), text.as_bytes());
    }
}
