//! Several views, read as one.

use core::fmt;
use core::ops::RangeBounds;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::buf::Buf;
use super::pool::BufferPool;
use super::shared::{SharedBuf, bounds};
use crate::{Alloc, AllocError};

/// Views in a row that read as one, without a copy. Parts that were read go back.
pub struct CompositeBuf<'p, A: Alloc> {
    /// Each with the number of the byte behind it, counted from the first that ever was.
    parts: VecDeque<(usize, SharedBuf<'p, A>)>,
    /// The number of the first byte that was not read.
    read: usize,
}

impl<A: Alloc> Default for CompositeBuf<'_, A> {
    fn default() -> Self {
        CompositeBuf { parts: VecDeque::new(), read: 0 }
    }
}

impl<'p, A: Alloc> CompositeBuf<'p, A> {
    /// One without parts.
    pub fn new() -> Self {
        CompositeBuf::default()
    }

    fn end(&self) -> usize {
        self.parts.back().map_or(self.read, |&(end, _)| end)
    }

    /// Bytes that can be read.
    pub fn len(&self) -> usize {
        self.end() - self.read
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a view at the end. Costs nothing but its place.
    pub fn push(&mut self, part: SharedBuf<'p, A>) {
        if !part.is_empty() {
            self.parts.push_back((self.end() + part.len(), part));
        }
    }

    /// The parts that are not read, as slices.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|(end, part)| {
            let before = end - part.len();
            &part[self.read.saturating_sub(before)..]
        })
    }

    /// The same for a vectored write.
    pub fn io_slices(&self) -> Vec<IoSlice<'_>> {
        self.slices().map(IoSlice::new).collect()
    }

    /// The part in which a byte lies: a binary search.
    fn part_of(&self, number: usize) -> usize {
        self.parts.partition_point(|&(end, _)| end <= number)
    }

    /// The byte at `index`.
    pub fn get(&self, index: usize) -> Option<u8> {
        let number = self.read + index;
        let (end, part) = self.parts.get(self.part_of(number))?;
        Some(part[number - (end - part.len())])
    }

    /// A range, sharing the parts.
    ///
    /// # Panics
    ///
    /// When it is not within the bytes.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> CompositeBuf<'p, A> {
        let (start, end) = bounds(range, self.len());
        let (start, end) = (self.read + start, self.read + end);
        let mut slice = CompositeBuf::new();
        for (part_end, part) in self.parts.range(self.part_of(start)..) {
            let before = part_end - part.len();
            if before >= end {
                break;
            }
            slice.push(part.slice(start.saturating_sub(before)..part.len().min(end - before)));
        }
        slice
    }

    /// Takes bytes from the front: as many as `into` holds, or none.
    pub fn read(&mut self, into: &mut [u8]) -> bool {
        if into.len() > self.len() {
            return false;
        }
        let wanted = into.len();
        let mut done = 0;
        for slice in self.slices() {
            let bytes = slice.len().min(wanted - done);
            into[done..done + bytes].copy_from_slice(&slice[..bytes]);
            done += bytes;
        }
        self.skip(wanted);
        true
    }

    /// Passes over bytes at the front.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn skip(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "{bytes} bytes are passed over, {} are there", self.len());
        self.read += bytes;
        while self.parts.front().is_some_and(|&(end, _)| end <= self.read) {
            self.parts.pop_front();
        }
    }

    /// All unread bytes in one buffer, copied.
    ///
    /// # Errors
    ///
    /// When the pool has no memory.
    pub fn consolidate(&self, pool: &'p BufferPool<A>) -> Result<Buf<'p, A>, AllocError> {
        let mut all = pool.buffer(self.len())?;
        for slice in self.slices() {
            all.write(slice)?;
        }
        Ok(all)
    }
}

impl<'p, A: Alloc> Extend<SharedBuf<'p, A>> for CompositeBuf<'p, A> {
    fn extend<I: IntoIterator<Item = SharedBuf<'p, A>>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push(part));
    }
}

impl<'p, A: Alloc> FromIterator<SharedBuf<'p, A>> for CompositeBuf<'p, A> {
    fn from_iter<I: IntoIterator<Item = SharedBuf<'p, A>>>(parts: I) -> Self {
        let mut all = CompositeBuf::new();
        all.extend(parts);
        all
    }
}

impl<A: Alloc> io::Read for CompositeBuf<'_, A> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = into.len().min(self.len());
        CompositeBuf::read(self, &mut into[..bytes]);
        Ok(bytes)
    }
}

impl<A: Alloc> fmt::Debug for CompositeBuf<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompositeBuf({} bytes in {} parts)", self.len(), self.parts.len())
    }
}
