//! The small bins: a list for each size, so that every member fits exactly.

use super::chunk::{Chunk, UNIT};
use super::list::{self, Head};
use core::cell::Cell;

const BINS: usize = 32;

/// Chunks below this have a bin of their exact size.
pub const SMALL: usize = BINS * UNIT;

/// Free chunks of less than [`SMALL`] bytes.
pub struct SmallBins {
    heads: [Head; BINS],
    /// A bit for each bin that is not empty.
    filled: Cell<u32>,
    nobody: Head,
}

impl SmallBins {
    pub const fn new() -> SmallBins {
        SmallBins { heads: [const { Cell::new(None) }; BINS], filled: Cell::new(0), nobody: Cell::new(None) }
    }

    /// The bin of a size. The mask changes nothing, and spares the check that the bin is there.
    #[inline]
    fn bin_of(size: usize) -> usize {
        (size / UNIT) & (BINS - 1)
    }

    #[inline]
    pub fn insert(&self, chunk: Chunk, size: usize) {
        let bin = Self::bin_of(size);
        list::push(&self.heads[bin], chunk, &self.nobody);
        self.filled.set(self.filled.get() | 1 << bin);
    }

    #[inline]
    pub fn remove(&self, chunk: Chunk, size: usize) {
        let bin = Self::bin_of(size);
        let is_empty = list::remove(&self.heads[bin], chunk, &self.nobody);
        self.filled.set(self.filled.get() & !(u32::from(is_empty) << bin));
    }

    /// Takes the first of the lowest bin whose bit is set.
    #[inline]
    fn pop(&self, bits: u32) -> Option<Chunk> {
        let bin = bits.trailing_zeros() as usize;
        let head = self.heads.get(bin)?;
        let chunk = head.get()?;
        let is_empty = list::pop(head, chunk);
        self.filled.set(self.filled.get() & !(u32::from(is_empty) << bin));
        Some(chunk)
    }

    /// Takes a chunk of `size` bytes, or of one unit more, which is too little to be cut off.
    #[inline]
    pub fn pop_exact(&self, size: usize) -> Option<Chunk> {
        self.pop(self.filled.get() & 0b11 << Self::bin_of(size))
    }

    /// Takes the shortest chunk of at least `size` bytes.
    #[inline]
    pub fn pop_above(&self, size: usize) -> Option<Chunk> {
        let bin = Self::bin_of(size);
        self.pop(self.filled.get() >> bin << bin)
    }

    /// All chunks, for checks; each with whether its place is right.
    pub fn for_each(&self, mut each: impl FnMut(Chunk, bool)) {
        for (bin, head) in self.heads.iter().enumerate() {
            let is_marked = self.filled.get() & 1 << bin != 0;
            list::iter(head).for_each(|chunk| each(chunk, is_marked && chunk.size() == bin * UNIT));
        }
    }
}
