//! The quick lists: chunks freed lately, of the small sizes, kept whole for the next request of their size.
//!
//! A chunk here counts as live for its neighbours, so it is not merged, and its head says that it waits. When no chunk
//! is found for a request, before anything is asked of the parent, all that wait are freed in earnest.

use super::chunk::{Chunk, Link, UNIT};
use super::list::Head;
use super::small::SMALL;
use core::cell::Cell;

const LISTS: usize = SMALL / UNIT;

/// So many chunks of a size wait. Where as many of a size are freed as are taken, in any order, one request or free in nine
/// finds the list empty or full. All lists together hold 62 KiB at most.
const MOST: u8 = 8;

/// Chunks that wait.
pub struct QuickLists {
    heads: [Head; LISTS],
    counts: [Cell<u8>; LISTS],
    /// Of all lists together.
    chunks: Cell<usize>,
}

impl QuickLists {
    pub const fn new() -> QuickLists {
        QuickLists {
            heads: [const { Cell::new(None) }; LISTS],
            counts: [const { Cell::new(0) }; LISTS],
            chunks: Cell::new(0),
        }
    }

    /// Keeps a live chunk of `size` bytes, which are fewer than [`SMALL`]; not when there are enough of that size.
    #[inline]
    pub fn push(&self, chunk: Chunk, size: usize) -> bool {
        let list = (size / UNIT) & (LISTS - 1);
        let count = self.counts[list].get();
        if count == MOST {
            return false;
        }
        self.counts[list].set(count + 1);
        self.chunks.set(self.chunks.get() + 1);
        chunk.set_waiting();
        chunk.set_link(Link::Next, self.heads[list].replace(Some(chunk)));
        true
    }

    /// A chunk of `size` bytes, which are fewer than [`SMALL`]; live again.
    #[inline]
    pub fn pop(&self, size: usize) -> Option<Chunk> {
        let list = (size / UNIT) & (LISTS - 1);
        let chunk = self.heads[list].get()?;
        self.heads[list].set(chunk.link(Link::Next));
        self.counts[list].set(self.counts[list].get() - 1);
        self.chunks.set(self.chunks.get() - 1);
        chunk.set_taken();
        Some(chunk)
    }

    /// Any chunk; live again.
    pub fn pop_any(&self) -> Option<Chunk> {
        let list = self.heads.iter().position(|head| head.get().is_some())?;
        self.pop(list * UNIT)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.chunks.get() == 0
    }

    /// How many wait, for checks.
    pub fn len(&self) -> usize {
        self.chunks.get()
    }
}
