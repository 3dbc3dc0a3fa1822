//! The large bins: sixteen to a doubling, found through a map of bits.
//!
//! ```text
//! rows:      512 B           1 KiB           2 KiB         …       1 TiB and more
//! columns:   512, 544, …     1024, 1088, …   2048, …
//! ```
//!
//! A bit a row says whether any of its bins holds something, a bit a bin which. So the first bin with longer chunks than
//! a size is found in two steps, whatever is free: no chunk is touched on the way. Only in the bin of the size itself, which holds
//! shorter ones and longer ones, the first chunk is looked at, and some more when no other bin can help.

use super::chunk::Chunk;
use super::list::{self, Head};
use super::small::SMALL;
use core::cell::Cell;

const COLUMN_BITS: u32 = 4;
const COLUMNS: usize = 1 << COLUMN_BITS;
const ROWS: usize = u32::BITS as usize;
const SHIFT: u32 = SMALL.trailing_zeros();

/// Chunks of so many bytes and more are all in the last bin.
const MOST: usize = (SMALL << ROWS) - 1;

/// So many chunks are looked at in a bin for one that is long enough. Each may be a miss of the CPU's caches.
const LOOKS: usize = 32;

/// Free chunks of [`SMALL`] bytes and more.
pub struct LargeBins {
    heads: [[Head; COLUMNS]; ROWS],
    /// For each row a bit for each bin that is not empty.
    filled: [Cell<u16>; ROWS],
    /// A bit for each row that is not empty.
    rows: Cell<u32>,
    nobody: Head,
}

/// The bin of a size.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bin {
    row: usize,
    column: usize,
}

impl Bin {
    const LAST: Bin = Bin { row: ROWS - 1, column: COLUMNS - 1 };

    /// The masks change nothing, and spare the checks that the bin is there.
    #[inline]
    fn of(size: usize) -> Bin {
        let size = size.min(MOST);
        let doubling = size.ilog2();
        let row = (doubling - SHIFT) as usize & (ROWS - 1);
        Bin { row, column: (size >> (doubling - COLUMN_BITS)) & (COLUMNS - 1) }
    }
}

impl LargeBins {
    pub const fn new() -> LargeBins {
        LargeBins {
            heads: [const { [const { Cell::new(None) }; COLUMNS] }; ROWS],
            filled: [const { Cell::new(0) }; ROWS],
            rows: Cell::new(0),
            nobody: Cell::new(None),
        }
    }

    #[inline]
    fn head(&self, bin: Bin) -> &Head {
        &self.heads[bin.row][bin.column]
    }

    #[inline]
    pub fn insert(&self, chunk: Chunk, size: usize) {
        let bin = Bin::of(size);
        list::push(self.head(bin), chunk, &self.nobody);
        let filled = &self.filled[bin.row];
        filled.set(filled.get() | 1 << bin.column);
        self.rows.set(self.rows.get() | 1 << bin.row);
    }

    #[inline]
    pub fn remove(&self, chunk: Chunk, size: usize) {
        let bin = Bin::of(size);
        let is_empty = list::remove(self.head(bin), chunk, &self.nobody);
        self.unmark(bin, is_empty);
    }

    /// Clears the bits of a bin if it is empty.
    #[inline]
    fn unmark(&self, bin: Bin, is_empty: bool) {
        let filled = self.filled[bin.row].get() & !(u16::from(is_empty) << bin.column);
        self.filled[bin.row].set(filled);
        self.rows.set(self.rows.get() & !(u32::from(filled == 0) << bin.row));
    }

    #[inline]
    fn pop(&self, bin: Bin) -> Option<Chunk> {
        let head = self.head(bin);
        let chunk = head.get()?;
        self.unmark(bin, list::pop(head, chunk));
        Some(chunk)
    }

    /// The first bin that holds something, of those in the rows whose bits are set.
    #[inline]
    fn lowest(&self, rows: u32) -> Option<Bin> {
        let row = rows.trailing_zeros() as usize;
        let filled = self.filled.get(row)?.get();
        Some(Bin { row, column: filled.trailing_zeros() as usize & (COLUMNS - 1) })
    }

    /// Takes a chunk of the first bin that holds any.
    #[inline]
    pub fn pop_first(&self) -> Option<Chunk> {
        self.pop(self.lowest(self.rows.get())?)
    }

    /// The first bin above `bin` that holds any: all chunks there are longer than those in `bin`.
    #[inline]
    fn above(&self, bin: Bin) -> Option<Bin> {
        let here = self.filled[bin.row].get() & !1 << bin.column;
        if here != 0 {
            return Some(Bin { column: here.trailing_zeros() as usize & (COLUMNS - 1), ..bin });
        }
        self.lowest(self.rows.get() & !1 << bin.row)
    }

    /// Takes a chunk of at least `size` bytes, which are [`SMALL`] at least. It is of the first bin that has one to offer at
    /// once, so no more than an eighth longer than the shortest there is.
    #[inline]
    pub fn pop_at_least(&self, size: usize) -> Option<Chunk> {
        let bin = Bin::of(size);
        match self.head(bin).get() {
            Some(first) if first.size() >= size => self.pop(bin),
            _ => self.above(bin).map_or_else(|| self.search(bin, size), |above| self.pop(above)),
        }
    }

    /// When there is nothing longer than what is in `bin`.
    #[cold]
    fn search(&self, bin: Bin, size: usize) -> Option<Chunk> {
        // In the last bin any length may be found.
        let looks = if bin == Bin::LAST { usize::MAX } else { LOOKS };
        let chunk = list::iter(self.head(bin)).take(looks).find(|chunk| chunk.size() >= size)?;
        self.remove(chunk, chunk.size());
        Some(chunk)
    }

    /// All chunks, for checks; each with whether its place is right.
    pub fn for_each(&self, mut each: impl FnMut(Chunk, bool)) {
        for (row, heads) in self.heads.iter().enumerate() {
            let filled = self.filled[row].get();
            let is_marked = (filled != 0) == (self.rows.get() & 1 << row != 0);
            for (column, head) in heads.iter().enumerate() {
                let is_marked = is_marked && filled & 1 << column != 0;
                let right = |chunk: Chunk| is_marked && Bin::of(chunk.size()) == Bin { row, column };
                list::iter(head).for_each(|chunk| each(chunk, right(chunk)));
            }
        }
    }
}
