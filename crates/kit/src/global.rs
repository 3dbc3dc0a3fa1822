//! Any allocator of the kit as the allocator of a whole program, under `#[global_allocator]`.
//!
//! # When to use it, and when not
//!
//! For a program all of whose memory is to come from one place: a fixed buffer where there is no system, a counting or
//! limiting layer over the C library, an arena for a command that runs for a moment and frees nothing. The allocator must be
//! `Sync` and be made by a `const fn`; one that is not `Sync` goes into [`Locked`](crate::locked::Locked) first.
//!
//! What allocates while it serves a request (a sink of [`Logging`](crate::logging) that formats into a `String`, say) must
//! cope with being called by itself.
//!
//! # Costs
//!
//! None of its own: each call is handed on.
//!
//! # Example
//!
//! ```
//! use freestone_kit::Stats;
//! use freestone_kit::{c::C, counting::Counting, global::AsGlobal};
//!
//! #[global_allocator]
//! static GLOBAL: AsGlobal<Counting<C>> = AsGlobal::new(Counting::new(C));
//!
//! let before = GLOBAL.get().stats().live_bytes;
//! let kept = vec![0_u8; 1000];
//! assert!(GLOBAL.get().stats().live_bytes >= before + 1000);
//! drop(kept);
//! ```
//!
//! # Safety
//!
//! The contract of `GlobalAlloc` is that of [`Alloc`], but for sizes of zero, which it excludes, and for `realloc`, which is
//! growing or shrinking with one alignment. The allocator does not unwind, but to report a broken promise.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use crate::{Alloc, Allocated};

/// Hands the calls of the program on to `A`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsGlobal<A>(A);

impl<A: Alloc> AsGlobal<A> {
    /// For a `static` with `#[global_allocator]`.
    pub const fn new(alloc: A) -> AsGlobal<A> {
        AsGlobal(alloc)
    }

    /// The allocator.
    pub const fn get(&self) -> &A {
        &self.0
    }
}

#[inline]
fn address(allocated: Allocated) -> *mut u8 {
    allocated.map_or(null_mut(), |block| block.cast().as_ptr())
}

// SAFETY: see the module.
unsafe impl<A: Alloc> GlobalAlloc for AsGlobal<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        address(self.0.allocate(layout))
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        address(self.0.allocate_zeroed(layout))
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a live block is not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, old: Layout, size: usize) -> *mut u8 {
        // SAFETY: a live block is not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the caller promises that the size, rounded up to the alignment, is no overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, old.align()) };
        if size >= old.size() {
            // SAFETY: the caller's promise.
            address(unsafe { self.0.grow(block, old, new) })
        } else {
            // SAFETY: the caller's promise.
            address(unsafe { self.0.shrink(block, old, new) })
        }
    }
}
