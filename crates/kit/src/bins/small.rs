//! The small bins: a list for each size, so that every member fits exactly.

use core::cell::Cell;

use super::chunk::{Chunk, Link, UNIT};

const BINS: usize = 32;

/// Chunks below this have a bin of their exact size.
pub const SMALL: usize = BINS * UNIT;

/// Free chunks of less than [`SMALL`] bytes.
pub struct SmallBins {
    heads: [Cell<Option<Chunk>>; BINS],
    /// A bit for each bin that is not empty.
    filled: Cell<u32>,
}

impl SmallBins {
    pub const fn new() -> SmallBins {
        SmallBins { heads: [const { Cell::new(None) }; BINS], filled: Cell::new(0) }
    }

    #[inline]
    pub fn insert(&self, chunk: Chunk) {
        let bin = chunk.size() / UNIT;
        let head = self.heads[bin].replace(Some(chunk));
        chunk.set_link(Link::Next, head);
        chunk.set_link(Link::Previous, None);
        if let Some(head) = head {
            head.set_link(Link::Previous, Some(chunk));
        }
        self.filled.set(self.filled.get() | 1 << bin);
    }

    #[inline]
    pub fn remove(&self, chunk: Chunk) {
        let bin = chunk.size() / UNIT;
        let (next, previous) = (chunk.link(Link::Next), chunk.link(Link::Previous));
        match previous {
            Some(previous) => previous.set_link(Link::Next, next),
            None => self.heads[bin].set(next),
        }
        match (next, previous) {
            (Some(next), _) => next.set_link(Link::Previous, previous),
            (None, None) => self.filled.set(self.filled.get() & !(1 << bin)),
            (None, Some(_)) => {}
        }
    }

    #[inline]
    fn first(&self, bits: u32) -> Option<Chunk> {
        self.heads.get(bits.trailing_zeros() as usize)?.get()
    }

    /// A chunk of `size` bytes, or of one unit more, which is too little to be cut off.
    #[inline]
    pub fn exact(&self, size: usize) -> Option<Chunk> {
        let bin = size / UNIT;
        self.first(self.filled.get() & 0b11 << bin)
    }

    /// The shortest chunk of at least `size` bytes.
    #[inline]
    pub fn above(&self, size: usize) -> Option<Chunk> {
        self.first(self.filled.get() >> (size / UNIT) << (size / UNIT))
    }

    /// All chunks, for checks.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Chunk> {
        self.heads.iter().flat_map(|head| core::iter::successors(head.get(), |chunk| chunk.link(Link::Next)))
    }
}
