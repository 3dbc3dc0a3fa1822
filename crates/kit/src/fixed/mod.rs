//! Fixed buffers: an allocator that never asks anybody for memory.
//!
//! | type | the buffer | threads |
//! |---|---|---|
//! | [`Fixed`] | borrowed | one |
//! | [`SharedFixed`] | borrowed | all, without a lock |
//! | [`Inline`] | inside of it | one |
//! | [`SharedInline`] | inside of it; for a `static` | all, without a lock |
//!
//! # What it is
//!
//! A number says how much of the buffer is taken, from its beginning on. The block at the end can be freed, which gives its
//! bytes back, and can grow and shrink where it lies (not in the shared forms, where "the block at the end" may be another's a
//! moment later). When the buffer is full, requests are refused.
//!
//! ```text
//! ┌───────┬────────┬─────┬────────┬──────────────────┐
//! │ first │ second │ ... │ last   │ free             │
//! └───────┴────────┴─────┴────────┴──────────────────┘
//! 0                               used               capacity
//! ```
//!
//! # Where it comes from
//!
//! Zig's `std.heap.FixedBufferAllocator` and its `threadSafeAllocator` (2017). The form on the stack is that of Hinnant's
//! `short_alloc` (2007).
//!
//! # When to use it, and when not
//!
//! Where the most that is needed is known: parsers with a bound, interrupt handlers, programs without a system, tests that
//! must not touch the heap. With a parent behind it for what does not fit: [`StackFallback`](crate::stack_fallback::StackFallback).
//! Not for objects that come and go in any order: what is not last stays taken until a reset.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | an addition, a mask, a comparison; shared: and a compare-and-exchange, again after another thread's |
//! | deallocate | a comparison; shared: nothing at all |
//! | grow, shrink | the last block: a comparison; any other, and all shared ones: allocate and copy, to shrink nothing |
//! | owns | a comparison |
//! | memory | padding for alignment |
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "allocator-api2-04")] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::{Capacity, Reset, fixed::Fixed};
//! use std::mem::MaybeUninit;
//!
//! let mut buffer = [MaybeUninit::uninit(); 1024];
//! let mut fixed = Fixed::new(&mut buffer);
//! let mut numbers = Vec::new_in(&fixed);
//! // The only block can grow where it lies, to the end of the buffer.
//! numbers.extend(0..200_u32);
//! assert_eq!(fixed.used(), 800);
//! assert!(numbers.try_reserve_exact(56).is_ok() && numbers.try_reserve(57).is_err());
//! drop(numbers);
//! fixed.reset();
//! assert_eq!(fixed.used(), 0);
//! # }
//! ```
//!
//! # Safety
//!
//! *Taken*: bytes below `used` belong to blocks, or are lost until a reset; bytes from there on belong to nobody.
#![allow(unsafe_code)]

mod inline;
mod shared;

pub use inline::Inline;
pub use shared::{SharedFixed, SharedInline};

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::alloc::copied;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, Reset, ResizeInPlace};

/// A buffer, by its beginning and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: NonNull<u8>,
    len: usize,
}

impl Span {
    pub(crate) const fn of(buffer: &mut [MaybeUninit<u8>]) -> Span {
        let len = buffer.len();
        // SAFETY: a reference is not null.
        Span { start: unsafe { NonNull::new_unchecked(buffer.as_mut_ptr().cast()) }, len }
    }

    /// A buffer that starts there.
    pub(crate) const fn at(start: NonNull<u8>, len: usize) -> Span {
        Span { start, len }
    }

    /// Where a block goes when so much is taken, and what is taken then.
    #[inline(always)]
    fn place(self, used: usize, layout: Layout) -> Option<(usize, usize)> {
        let at = self.start.addr().get() + used;
        // Neither can overflow: a layout's size with its alignment is at most half of the addresses.
        let padding = at.wrapping_neg() & (layout.align() - 1);
        let needed = padding + layout.size();
        (needed <= self.len - used).then_some((used + padding, used + needed))
    }

    #[inline(always)]
    fn block(self, offset: usize, layout: Layout) -> NonNull<[u8]> {
        // SAFETY: callers pass an offset within the buffer.
        NonNull::slice_from_raw_parts(unsafe { self.start.add(offset) }, layout.size())
    }

    #[inline(always)]
    pub(crate) fn holds(self, address: NonNull<u8>) -> bool {
        address.addr().get().wrapping_sub(self.start.addr().get()) < self.len
    }

    /// Whether a live block of that layout can be from this buffer. One of zero size may be anywhere.
    #[inline(always)]
    pub(crate) fn may_have(self, block: NonNull<u8>, layout: Layout) -> bool {
        layout.size() == 0 || self.has_block(block, layout)
    }

    /// Whether a live block of that layout is from this buffer. One of zero size may lie at its end.
    #[inline(always)]
    pub(crate) fn has_block(self, block: NonNull<u8>, layout: Layout) -> bool {
        let offset = block.addr().get().wrapping_sub(self.start.addr().get());
        offset < self.len || (offset == self.len && layout.size() == 0)
    }

    /// The offset behind a block.
    #[inline(always)]
    fn behind(self, block: NonNull<u8>, layout: Layout) -> usize {
        // Wraps for a block of zero size that is nobody's, which so is never the last.
        block.addr().get().wrapping_sub(self.start.addr().get()).wrapping_add(layout.size())
    }

    /// A block from a buffer of which one thread has taken so much.
    #[inline(always)]
    pub(crate) fn allocate(self, used: &Cell<usize>, layout: Layout) -> Allocated {
        let (offset, end) = self.place(used.get(), layout).ok_or(AllocError)?;
        used.set(end);
        Ok(self.block(offset, layout))
    }

    /// Makes the last block as long as that; whether that could be done.
    #[inline(always)]
    pub(crate) fn resize_last(
        self,
        used: &Cell<usize>,
        block: NonNull<u8>,
        old: Layout,
        size: usize,
    ) -> bool {
        let behind = self.behind(block, old);
        if behind != used.get() {
            return false;
        }
        let start = behind - old.size();
        if size > self.len - start {
            return false;
        }
        used.set(start + size);
        true
    }

    /// Grows or shrinks a block of one thread's buffer where it lies, if that can be done. A block that shrinks and is not
    /// the last stays as it is.
    #[inline(always)]
    pub(crate) fn resize(self, used: &Cell<usize>, block: NonNull<u8>, old: Layout, new: Layout) -> bool {
        block.addr().get().is_multiple_of(new.align())
            && (self.resize_last(used, block, old, new.size()) || new.size() <= old.size())
    }
}

/// A borrowed buffer for one thread.
#[derive(Debug)]
pub struct Fixed<'b> {
    span: Span,
    used: Cell<usize>,
    buffer: PhantomData<&'b mut [MaybeUninit<u8>]>,
}

// SAFETY: the buffer is borrowed for it alone.
unsafe impl Send for Fixed<'_> {}

impl<'b> Fixed<'b> {
    /// An allocator for the whole of `buffer`, whose contents are lost. Takes blocks from its first aligned byte on.
    pub const fn new(buffer: &'b mut [MaybeUninit<u8>]) -> Fixed<'b> {
        Fixed { span: Span::of(buffer), used: Cell::new(0), buffer: PhantomData }
    }

    /// Whether the block is the one that is freed or grown in place.
    pub fn is_last(&self, block: NonNull<u8>, layout: Layout) -> bool {
        self.span.has_block(block, layout) && self.span.behind(block, layout) == self.used.get()
    }
}

// SAFETY: taken: blocks come from bytes that belong to nobody; the buffer stays where it is.
unsafe impl Alloc for Fixed<'_> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Allocated {
        self.span.allocate(&self.used, layout)
    }

    #[inline(always)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        debug_assert!(self.span.may_have(block, layout), "{block:?} is not from this buffer");
        self.span.resize_last(&self.used, block, layout, 0);
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if self.span.resize(&self.used, block, old, new) {
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        // SAFETY: the caller's promise.
        unsafe { copied(self, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the same with a smaller size, which `grow` copes with.
        unsafe { self.grow(block, old, new) }
    }
}

implement_allocator!(impl['b] Fixed<'b>);

// SAFETY: taken: the last block goes as far as it is told; others only shrink, which changes nothing.
unsafe impl ResizeInPlace for Fixed<'_> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        if self.span.resize(&self.used, block, old, new) { Ok(()) } else { Err(AllocError) }
    }
}

// SAFETY: the buffer's addresses and no others.
unsafe impl Owns for Fixed<'_> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.span.holds(address)
    }
}

impl Capacity for Fixed<'_> {
    fn capacity(&self) -> usize {
        self.span.len
    }

    fn used(&self) -> usize {
        self.used.get()
    }
}

impl Reset for Fixed<'_> {
    fn reset(&mut self) {
        self.used.set(0);
    }
}
