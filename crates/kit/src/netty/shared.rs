//! Bytes of a buffer that several owners read.

use core::fmt;
use core::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use super::buf::Buf;
use crate::Alloc;

/// A view of a buffer's bytes. Clones and slices share the buffer, which goes back when the last of them is dropped.
pub struct SharedBuf<'p, A: Alloc> {
    buf: Arc<Buf<'p, A>>,
    /// Of the buffer's readable bytes.
    start: usize,
    end: usize,
}

/// A range as two numbers.
///
/// # Panics
///
/// When it is not within `len`.
pub(super) fn bounds(range: impl RangeBounds<usize>, len: usize) -> (usize, usize) {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last + 1,
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    assert!(start <= end && end <= len, "{start}..{end} of {len} bytes");
    (start, end)
}

impl<'p, A: Alloc> SharedBuf<'p, A> {
    pub(super) fn new(buf: Buf<'p, A>) -> Self {
        let end = buf.readable();
        SharedBuf { buf: Arc::new(buf), start: 0, end }
    }

    /// A part of the bytes, sharing the buffer.
    ///
    /// # Panics
    ///
    /// When the range is not within the bytes.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let (start, end) = bounds(range, self.len());
        SharedBuf { buf: self.buf.clone(), start: self.start + start, end: self.start + end }
    }

    /// Cuts the first bytes off and returns them; both share the buffer.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    #[must_use]
    pub fn split_to(&mut self, bytes: usize) -> Self {
        let first = self.slice(..bytes);
        self.start += bytes;
        first
    }

    /// How many views the buffer has.
    pub fn references(&self) -> usize {
        Arc::strong_count(&self.buf)
    }

    /// The buffer, to be written again, if this is its only view; its readable bytes are those of the view.
    ///
    /// # Errors
    ///
    /// The view itself, if there are others.
    pub fn try_unique(self) -> Result<Buf<'p, A>, Self> {
        let SharedBuf { buf, start, end } = self;
        let mut buf = Arc::try_unwrap(buf).map_err(|buf| SharedBuf { buf, start, end })?;
        buf.truncate(buf.read_index() + end);
        buf.skip(start);
        buf.touch("unique again");
        Ok(buf)
    }

    /// Notes for the leak report that the buffer was here.
    pub fn touch(&self, hint: &str) {
        self.buf.touch(hint);
    }
}

impl<A: Alloc> Clone for SharedBuf<'_, A> {
    /// Another view of the same bytes.
    fn clone(&self) -> Self {
        SharedBuf { buf: self.buf.clone(), start: self.start, end: self.end }
    }
}

impl<A: Alloc> Deref for SharedBuf<'_, A> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }
}

impl<A: Alloc> AsRef<[u8]> for SharedBuf<'_, A> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<A: Alloc> fmt::Debug for SharedBuf<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBuf({} bytes, {} references)", self.len(), self.references())
    }
}
