//! A fixed buffer that is a part of its allocator.
//!
//! # Safety
//!
//! *Pinned*: only a reference to the allocator allocates, so that it cannot be moved while anybody can have a block.
//! *Taken*, as for the borrowed form.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::Span;
use crate::alloc::copied;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, Reset, ResizeInPlace};

/// Bytes for any block of up to 16 bytes' alignment, without padding at the beginning.
#[repr(C, align(16))]
pub(crate) struct Bytes<const N: usize>(pub(crate) UnsafeCell<[MaybeUninit<u8>; N]>);

impl<const N: usize> Bytes<N> {
    pub(crate) const fn new() -> Self {
        Bytes(UnsafeCell::new([MaybeUninit::uninit(); N]))
    }

    pub(crate) const fn span(&self) -> Span {
        // SAFETY: a cell's contents are not at null.
        let start = unsafe { NonNull::new_unchecked(self.0.get()) };
        Span::at(start.cast(), N)
    }
}

/// `N` bytes, on the stack for instance, for one thread. References to it are allocators.
///
/// ```
/// # #[cfg(feature = "allocator-api2-04")] {
/// use allocator_api2_04::boxed::Box;
/// use freestone_kit::fixed::Inline;
///
/// let inline = Inline::<64>::new();
/// let number = Box::new_in(7, &inline);
/// assert_eq!(*number, 7);
/// # }
/// ```
///
/// It cannot be moved from under its blocks:
///
/// ```compile_fail
/// # use freestone_kit::fixed::Inline;
/// # use allocator_api2_04::boxed::Box;
/// let inline = Inline::<64>::new();
/// let number = Box::new_in(7, &inline);
/// let elsewhere = inline;
/// assert_eq!(*number, 7);
/// ```
pub struct Inline<const N: usize> {
    bytes: Bytes<N>,
    used: Cell<usize>,
}

impl<const N: usize> Inline<N> {
    /// An empty buffer.
    pub const fn new() -> Self {
        Inline { bytes: Bytes::new(), used: Cell::new(0) }
    }

    pub(crate) fn parts(&self) -> (Span, &Cell<usize>) {
        (self.bytes.span(), &self.used)
    }
}

impl<const N: usize> Default for Inline<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").field("capacity", &N).field("used", &self.used.get()).finish_non_exhaustive()
    }
}

// SAFETY: pinned; taken: blocks come from bytes that belong to nobody.
unsafe impl<const N: usize> Alloc for &Inline<N> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Allocated {
        let (span, used) = self.parts();
        span.allocate(used, layout)
    }

    #[inline(always)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let (span, used) = self.parts();
        debug_assert!(span.may_have(block, layout), "{block:?} is not from this buffer");
        span.resize_last(used, block, layout, 0);
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let (span, used) = self.parts();
        if span.resize(used, block, old, new) {
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

implement_allocator!(impl[const N: usize] &Inline<N>);

// SAFETY: taken: the last block goes as far as it is told; others only shrink, which changes nothing.
unsafe impl<const N: usize> ResizeInPlace for &Inline<N> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let (span, used) = self.parts();
        if span.resize(used, block, old, new) { Ok(()) } else { Err(AllocError) }
    }
}

// SAFETY: the buffer's addresses and no others.
unsafe impl<const N: usize> Owns for &Inline<N> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.bytes.span().holds(address)
    }
}

impl<const N: usize> Capacity for Inline<N> {
    fn capacity(&self) -> usize {
        N
    }

    fn used(&self) -> usize {
        self.used.get()
    }
}

impl<const N: usize> Reset for Inline<N> {
    fn reset(&mut self) {
        self.used.set(0);
    }
}
