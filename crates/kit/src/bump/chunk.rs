//! Chunks: long blocks of a parent, each with a header that links it to the one before.
//!
//! ```text
//! ┌────────┬───────────────────────────────┐
//! │ header │ data                          │
//! └────────┴───────────────────────────────┘
//!  ▲        ▲                               ▲
//!  block    start                           end, both multiples of ALIGN
//!  of the parent
//! ```
//!
//! # Safety
//!
//! *Chunk*: a [`Chunk`] names a live block of the parent's with an initialised header at its beginning; whoever frees it
//! has taken it out of the list that it was in, and no copy of it is used again. Headers are touched only by the owner
//! of the list, one thread at a time.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::Alloc;

/// Data begins and ends at multiples of this.
pub(crate) const ALIGN: usize = 16;

/// What the first chunk takes from the parent: half a KiB less what a malloc adds to it.
pub(crate) const FIRST: usize = 512 - 16;

#[repr(C, align(16))]
struct Header {
    previous: Option<Chunk>,
    /// Bytes of the whole chunk, the header's included.
    len: usize,
    /// Bytes of data that are taken, where the owner keeps that in the chunk.
    used: usize,
    /// The alignment with which the parent was asked.
    align: usize,
}

pub(crate) const HEADER: usize = size_of::<Header>();

/// From the chunk's first byte to its data: the header, rounded up to the alignment.
fn offset(align: usize) -> usize {
    const { assert!(HEADER.is_power_of_two()) };
    HEADER.max(align)
}

/// One chunk. A plain reference: it can be copied, and frees nothing by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk(NonNull<Header>);

impl Chunk {
    /// A chunk with at least `data` bytes, which begin at a multiple of `align` and of [`ALIGN`]; no bytes are used.
    #[inline(always)]
    pub(crate) fn new<A: Alloc>(
        parent: &A,
        data: usize,
        align: usize,
        previous: Option<Chunk>,
    ) -> Option<Chunk> {
        let align = align.max(ALIGN);
        let len = data.checked_add(offset(align))?.checked_next_multiple_of(ALIGN)?;
        let block = parent.allocate(Layout::from_size_align(len, align).ok()?).ok()?;
        // A generous parent's surplus is used, to a multiple of ALIGN.
        let len = block.len() & !(ALIGN - 1);
        let header = block.cast::<Header>();
        // SAFETY: the block is new, aligned, and longer than a header.
        unsafe { header.write(Header { previous, len, used: 0, align }) };
        Some(Chunk(header))
    }

    /// What to ask for after a chunk of `len` bytes when at least `data` bytes are needed: twice as much, and less step by
    /// step when the parent refuses.
    #[cold]
    pub(crate) fn after<A: Alloc>(
        parent: &A,
        previous: Option<Chunk>,
        data: usize,
        align: usize,
    ) -> Option<Chunk> {
        let ambition = previous.map_or(FIRST, |chunk| chunk.len().saturating_mul(2)) - HEADER;
        let mut wanted = ambition.max(data);
        loop {
            match Chunk::new(parent, wanted, align, previous) {
                Some(chunk) => return Some(chunk),
                None if wanted > data => wanted = (wanted / 2).max(data),
                None => return None,
            }
        }
    }

    fn header(self) -> Header {
        // SAFETY: chunk.
        unsafe { self.0.read() }
    }

    pub(crate) fn previous(self) -> Option<Chunk> {
        self.header().previous
    }

    pub(crate) fn set_previous(self, previous: Option<Chunk>) {
        let Header { len, used, align, .. } = self.header();
        // SAFETY: chunk.
        unsafe { self.0.write(Header { previous, len, used, align }) };
    }

    /// Bytes of data that are taken, as they were last told.
    pub(crate) fn used(self) -> usize {
        self.header().used
    }

    pub(crate) fn set_used(self, used: usize) {
        let Header { previous, len, align, .. } = self.header();
        // SAFETY: chunk.
        unsafe { self.0.write(Header { previous, len, used, align }) };
    }

    /// Bytes of the whole chunk.
    pub(crate) fn len(self) -> usize {
        self.header().len
    }

    /// Bytes of data.
    pub(crate) fn data(self) -> usize {
        let header = self.header();
        header.len - offset(header.align)
    }

    /// The first byte of data.
    pub(crate) fn start(self) -> NonNull<u8> {
        let offset = offset(self.header().align);
        // SAFETY: chunk; it is that long.
        unsafe { self.0.cast::<u8>().add(offset) }
    }

    /// The byte behind the data.
    pub(crate) fn end(self) -> NonNull<u8> {
        // SAFETY: chunk; it is that long.
        unsafe { self.0.cast::<u8>().add(self.len()) }
    }

    /// Whether the address lies in the data.
    pub(crate) fn holds(self, address: NonNull<u8>) -> bool {
        (self.start()..self.end()).contains(&address)
    }

    /// The block of the parent's, and the layout that it fits.
    pub(crate) fn block(self) -> (NonNull<u8>, Layout) {
        let Header { len, align, .. } = self.header();
        // SAFETY: the parent was asked with such a layout, and gave that many bytes.
        let layout = unsafe { Layout::from_size_align_unchecked(len, align) };
        (self.0.cast(), layout)
    }

    /// The parent made the chunk longer, or shorter, where it lies.
    pub(crate) fn resized(self, len: usize) {
        let Header { previous, used, align, .. } = self.header();
        // SAFETY: chunk.
        unsafe { self.0.write(Header { previous, len, used, align }) };
    }

    /// This chunk and all before it.
    pub(crate) fn chain(last: Option<Chunk>) -> impl Iterator<Item = Chunk> {
        // The next is read before the caller may free this one.
        let mut next = last;
        core::iter::from_fn(move || {
            let chunk = next?;
            next = chunk.previous();
            Some(chunk)
        })
    }

    /// Gives the chunk back.
    ///
    /// # Safety
    ///
    /// It came from this parent, is in no list any more, and nobody uses its memory again.
    pub(crate) unsafe fn free<A: Alloc>(self, parent: &A) {
        let (block, layout) = self.block();
        // SAFETY: the layout is within what was asked for and what was given; the caller's promise.
        unsafe { parent.deallocate(block, layout) }
    }

    /// Gives this chunk and all before it back.
    ///
    /// # Safety
    ///
    /// As [`free`](Chunk::free), for each of them.
    pub(crate) unsafe fn free_chain<A: Alloc>(last: Option<Chunk>, parent: &A) {
        for chunk in Chunk::chain(last) {
            // SAFETY: the caller's promise.
            unsafe { chunk.free(parent) };
        }
    }
}
