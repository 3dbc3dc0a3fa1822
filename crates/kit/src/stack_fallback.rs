//! A buffer first, on the stack as a rule, and a parent for what does not fit.
//!
//! # What it is
//!
//! [`StackFallback`] holds `N` bytes that are used as a [fixed buffer](crate::fixed); what they cannot serve goes to the
//! parent. A free is told apart by the block's address. A block that outgrows the buffer moves to the parent.
//!
//! # Where it comes from
//!
//! Zig's `std.heap.StackFallbackAllocator` (2018); in C++ Hinnant's `short_alloc` (2007) and Alexandrescu's
//! `FallbackAllocator<StackAllocator<N>, …>` (2015).
//!
//! # When to use it, and when not
//!
//! For work that is small as a rule and large now and then: a path name, a line, a list of arguments. As long as the buffer
//! serves, the parent is not called at all. Not for large `N`: the buffer is a part of the value, and on the stack.
//!
//! # Costs
//!
//! Those of the fixed buffer and one comparison more; for what does not fit, those of the parent on top. Bytes of the buffer
//! that were freed out of turn are not used again.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "system", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::{Stats, c::C, counting::Counting, stack_fallback::StackFallback};
//!
//! let stack = StackFallback::<256, _>::new(Counting::new(C));
//! let mut line = Vec::new_in(&stack);
//! line.extend_from_slice(b"a short line");
//! assert_eq!(stack.parent().stats().total_blocks, 0);
//! line.extend_from_slice(&[b'-'; 500]);
//! assert_eq!(stack.parent().stats().live_blocks, 1);
//! assert!(line.starts_with(b"a short line---"));
//! # }
//! ```
//!
//! # Safety
//!
//! *Whose*: a block lies in the buffer and is the buffer's, or does not and is the parent's; a block of zero size at the end of
//! the buffer may be either's, and is given back to nobody. Only a reference allocates, as for [`Inline`].
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::moved;
use crate::fixed::Inline;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, Reset, ResizeInPlace};

/// `N` bytes before the parent `A`. References to it are allocators, for one thread.
#[derive(Debug)]
pub struct StackFallback<const N: usize, A> {
    buffer: Inline<N>,
    parent: A,
}

impl<const N: usize, A: Alloc> StackFallback<N, A> {
    /// With an empty buffer.
    pub const fn new(parent: A) -> Self {
        StackFallback { buffer: Inline::new(), parent }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The buffer, to ask what of it is used.
    pub fn buffer(&self) -> &impl Capacity {
        &self.buffer
    }

    #[inline(always)]
    fn is_buffered(&self, block: NonNull<u8>) -> bool {
        self.buffer.parts().0.holds(block)
    }

    /// A block of zero size that the buffer gave out at its very end looks like one of another's.
    #[inline(always)]
    fn is_nobodys(&self, block: NonNull<u8>, layout: Layout) -> bool {
        layout.size() == 0 && self.buffer.parts().0.has_block(block, layout)
    }
}

// SAFETY: whose: each call goes to the one that the block came from.
unsafe impl<const N: usize, A: Alloc> Alloc for &StackFallback<N, A> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Allocated {
        match (&self.buffer).allocate(layout) {
            Ok(block) => Ok(block),
            Err(_) => self.parent.allocate(layout),
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        match (&self.buffer).allocate_zeroed(layout) {
            Ok(block) => Ok(block),
            Err(_) => self.parent.allocate_zeroed(layout),
        }
    }

    #[inline(always)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if self.is_buffered(block) {
            // SAFETY: whose.
            unsafe { (&self.buffer).deallocate(block, layout) };
        } else if !self.is_nobodys(block, layout) {
            // SAFETY: whose.
            unsafe { self.parent.deallocate(block, layout) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if !self.is_buffered(block) && !self.is_nobodys(block, old) {
            // SAFETY: whose.
            return unsafe { self.parent.grow(block, old, new) };
        }
        let (span, used) = self.buffer.parts();
        if span.resize(used, block, old, new) {
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if !self.is_buffered(block) && !self.is_nobodys(block, old) {
            // SAFETY: whose.
            return unsafe { self.parent.shrink(block, old, new) };
        }
        // SAFETY: `grow` copes with smaller sizes of the buffer's blocks.
        unsafe { self.grow(block, old, new) }
    }
}

implement_allocator!(impl[const N: usize, A: Alloc] &StackFallback<N, A>);

// SAFETY: whose.
unsafe impl<const N: usize, A: ResizeInPlace> ResizeInPlace for &StackFallback<N, A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        if self.is_buffered(block) {
            // SAFETY: whose.
            return unsafe { (&self.buffer).resize_in_place(block, old, new) };
        }
        if self.is_nobodys(block, old) {
            return if new.size() == 0 { Ok(()) } else { Err(AllocError) };
        }
        // SAFETY: whose.
        unsafe { self.parent.resize_in_place(block, old, new) }
    }
}

// SAFETY: whose.
unsafe impl<const N: usize, A: Owns> Owns for &StackFallback<N, A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.is_buffered(address) || self.parent.owns(address)
    }
}

impl<const N: usize, A: Reset> Reset for StackFallback<N, A> {
    fn reset(&mut self) {
        self.buffer.reset();
        self.parent.reset();
    }
}
