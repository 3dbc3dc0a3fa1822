//! What is counted of a block.
//!
//! # Safety
//!
//! Calls are handed on under the conditions of the caller.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::UsableSize;

/// What is counted of a block.
///
/// # Safety
///
/// For the implementer: as long as a block lives, the answer is the same for every layout that the accounting allocator
/// lets it fit. It may hand out less than the parent gave, namely `measure` bytes.
pub unsafe trait Measure<A> {
    /// Whether that is known before the block is there: the size that was asked for.
    const KNOWN: bool;

    /// The bytes to be counted for a block, all of which may be used.
    ///
    /// # Safety
    ///
    /// `block` is a live block of `alloc` and fits `layout`.
    unsafe fn measure(alloc: &A, block: NonNull<u8>, layout: Layout) -> usize;
}

/// Counts the bytes that were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requested;

// SAFETY: blocks are handed out with the length of their layout exactly, so they fit that layout alone.
unsafe impl<A> Measure<A> for Requested {
    const KNOWN: bool = true;

    unsafe fn measure(_: &A, _: NonNull<u8>, layout: Layout) -> usize {
        layout.size()
    }
}

/// Counts the bytes that the block has, rounding included, as Redis does with `malloc_usable_size`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usable;

// SAFETY: the block is as long as it is; blocks of no bytes count as none.
unsafe impl<A: UsableSize> Measure<A> for Usable {
    const KNOWN: bool = false;

    unsafe fn measure(alloc: &A, block: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 {
            return 0;
        }
        // SAFETY: the caller's promise.
        unsafe { alloc.usable_size(block, layout) }
    }
}
