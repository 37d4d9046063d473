//! A value, and the memory in which it lies.
//!
//! What comes has memory of its own. What stays is laid side by side in blocks, each of which the kernel can back by one
//! huge page. The others hear of the death of a process when the kernel has taken its memory back, which is one step for
//! such a page, and 512 for as much in small ones; and a block has no head for each value.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::{Advice, MmapMut};

/// A huge page on x86-64, and on ARM where the small ones are of 4 KiB.
pub(crate) const BLOCK: usize = 2 * 1024 * 1024;

/// The value of a key, opaque to the store. Clones share its memory.
#[derive(Clone)]
pub struct Value {
    memory: Arc<Memory>,
    at: u32,
    length: u32,
}

enum Memory {
    Heap(Box<[u8]>),
    Mapped(MmapMut),
}

impl Value {
    /// Names the memory that it lies in, as long as a value lies there.
    pub(crate) fn home(&self) -> usize {
        Arc::as_ptr(&self.memory).addr()
    }

    #[cfg(test)]
    pub(crate) fn is_in_block(&self) -> bool {
        matches!(&*self.memory, Memory::Mapped(_))
    }
}

/// Values that are being laid in a block, each for somebody who is to have it.
pub(crate) struct Laying<K> {
    bytes: Vec<u8>,
    laid: Vec<(K, u32)>,
}

impl<K> Default for Laying<K> {
    fn default() -> Self {
        Self { bytes: Vec::new(), laid: Vec::new() }
    }
}

impl<K> Laying<K> {
    /// Whether there is room for so many bytes.
    pub(crate) fn fits(&self, length: usize) -> bool {
        self.bytes.len() + length <= BLOCK
    }

    /// Lays one more. There must be room for it.
    pub(crate) fn add(&mut self, owner: K, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.laid.push((owner, place(self.bytes.len())));
    }

    /// Each with its value, as they were laid: in a block.
    pub(crate) fn in_block(self) -> impl Iterator<Item = (K, Value)> {
        let memory = Arc::new(block(&self.bytes).unwrap_or_else(|| Memory::Heap(self.bytes.into())));
        let mut at = 0;
        self.laid.into_iter().map(move |(owner, end)| {
            let value = Value { memory: memory.clone(), at, length: end - at };
            at = end;
            (owner, value)
        })
    }

    /// Each with its value, as they were laid: in memory of their own.
    pub(crate) fn apart(self) -> impl Iterator<Item = (K, Value)> {
        let mut at = 0;
        self.laid.into_iter().map(move |(owner, end)| {
            let value = Value::from(&self.bytes[at as usize..end as usize]);
            at = end;
            (owner, value)
        })
    }
}

/// `None`: no memory can be mapped.
fn block(bytes: &[u8]) -> Option<Memory> {
    let mut mapped = MmapMut::map_anon(BLOCK).ok()?;
    // Advice: a kernel without huge pages, or with none at hand, takes small ones.
    let _ = mapped.advise(Advice::HugePage);
    mapped[..bytes.len()].copy_from_slice(bytes);
    Some(Memory::Mapped(mapped))
}

fn place(at: usize) -> u32 {
    let Ok(at) = u32::try_from(at) else { panic!("a value of more than 4 GiB") };
    at
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory: &[u8] = match &*self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(bytes) => bytes,
        };
        &memory[self.at as usize..][..self.length as usize]
    }
}

impl Default for Value {
    fn default() -> Self {
        Vec::new().into()
    }
}

/// # Panics
/// More than 4 GiB. No change is a hundredth of that.
impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        let length = place(bytes.len());
        Self { memory: Arc::new(Memory::Heap(bytes.into())), at: 0, length }
    }
}

/// # Panics
/// As from a vector.
impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
