//! The C library's allocator, with all that it can do ([`C`]) or with `malloc` and `free` alone ([`RawC`]).
//!
//! # What it is
//!
//! Whatever answers to `malloc` in the process: glibc's or musl's allocator, or one that was preloaded or linked in.
//! [`C`] uses aligned allocation where the alignment calls for it, zeroes by `calloc`, and tells how much of a block may be
//! used. [`RawC`] calls `malloc`, `realloc` and `free` and nothing else.
//!
//! # Where it comes from
//!
//! Zig's `c_allocator` and `raw_c_allocator` (`std.heap`, 2016 and 2021). The functions are those of C11 7.22.3 and, for the
//! usable size, of glibc and musl.
//!
//! # When to use it, and when not
//!
//! `C` is the parent to take when there is no reason for another. `RawC` is for a libc without aligned allocation, for
//! measuring `malloc` itself, or for blocks that C code is to `free`; it refuses alignments above `max_align_t`'s, 16 here.
//!
//! # Costs
//!
//! Those of the library: one call each. `C` at alignments above 16: `posix_memalign`, whose blocks grow by a copy unless
//! they have room. Resizing in place calls `malloc_usable_size`.
//!
//! # Example
//!
//! ```
//! use freestone_kit::{Alloc, UsableSize, c::C};
//! use std::alloc::Layout;
//!
//! let layout = Layout::from_size_align(100, 64).unwrap();
//! let block = C.allocate_zeroed(layout).unwrap().cast::<u8>();
//! // SAFETY: a live block of that layout, not used after it is freed.
//! unsafe {
//!     assert!(C.usable_size(block, layout) >= 100);
//!     C.deallocate(block, layout);
//! }
//! ```
//!
//! # Safety
//!
//! *Ours*: a block that is not of zero size came from the library and has not been given back; so the library's functions
//! may be called with it. A block of zero size is nobody's and never reaches the library.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, ResizeInPlace, UsableSize};

/// What `malloc` aligns to: that of C's `max_align_t`.
const MALLOC_ALIGN: usize = align_of::<libc::max_align_t>();

/// The C library's allocator, in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct C;

/// The C library's `malloc`, `realloc` and `free`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawC;

#[inline]
fn given(block: *mut c_void, layout: Layout) -> Allocated {
    let block = NonNull::new(block.cast()).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

#[inline]
fn c_malloc(layout: Layout) -> Allocated {
    // SAFETY: may be called with any size.
    given(unsafe { libc::malloc(layout.size()) }, layout)
}

/// # Safety
///
/// `block` is ours, of the layout `old`; both sizes are not zero; the new alignment is at most `malloc`'s.
#[inline]
unsafe fn c_realloc(block: NonNull<u8>, new: Layout) -> Allocated {
    // SAFETY: the caller's promise.
    given(unsafe { libc::realloc(block.as_ptr().cast(), new.size()) }, new)
}

/// # Safety
///
/// `block` is ours, of that layout.
#[inline]
unsafe fn c_free(block: NonNull<u8>, layout: Layout) {
    if layout.size() != 0 {
        // SAFETY: the caller's promise.
        unsafe { libc::free(block.as_ptr().cast()) };
    }
}

// SAFETY: the library keeps that contract.
unsafe impl Alloc for C {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if layout.align() <= MALLOC_ALIGN {
            return c_malloc(layout);
        }
        let mut block = null_mut();
        // SAFETY: a place to write to; the alignment is a power of two and a multiple of a pointer's size.
        let refused = unsafe { libc::posix_memalign(&mut block, layout.align(), layout.size()) };
        if refused == 0 { given(block, layout) } else { Err(AllocError) }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if layout.align() <= MALLOC_ALIGN {
            // SAFETY: may be called with any size.
            return given(unsafe { libc::calloc(layout.size(), 1) }, layout);
        }
        let block = self.allocate(layout)?;
        // SAFETY: the block is new and that long.
        unsafe { block.cast::<u8>().write_bytes(0, layout.size()) };
        Ok(block)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { c_free(block, layout) }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { resize(self, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { resize(self, block, old, new) }
    }
}

/// # Safety
///
/// As [`Alloc::grow`], or [`Alloc::shrink`].
unsafe fn resize(c: &C, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
    if old.size() != 0 && new.size() != 0 && old.align().max(new.align()) <= MALLOC_ALIGN {
        // SAFETY: ours; the sizes were looked at.
        return unsafe { c_realloc(block, new) };
    }
    let fits = block.addr().get().is_multiple_of(new.align())
        // SAFETY: the caller's promise.
        && unsafe { c.resize_in_place(block, old, new) }.is_ok();
    let stays = Ok(NonNull::slice_from_raw_parts(block, new.size()));
    // `realloc` would forget the alignment, and nothing else gives the rest of a block back.
    // SAFETY: the caller's promise.
    if fits && new.size() >= unsafe { c.usable_size(block, old) } / 2 {
        return stays;
    }
    // SAFETY: the caller's promise.
    let moved = unsafe { moved(c, block, old, new) };
    if fits { moved.or(stays) } else { moved }
}

// SAFETY: the library says how much may be used.
unsafe impl UsableSize for C {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 {
            return 0;
        }
        // SAFETY: ours.
        unsafe { libc::malloc_usable_size(block.as_ptr().cast()) }
    }
}

// SAFETY: a block may be used as far as the library says, and is freed by its address alone.
unsafe impl ResizeInPlace for C {
    /// Shrinks always, without giving anything back; grows as far as the block was rounded up.
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // What is of no size is not the library's, and the other way about.
        let fits = match (old.size(), new.size()) {
            (0, 0) => true,
            (0, _) | (_, 0) => false,
            // SAFETY: the caller's promise.
            (old_size, size) => size <= old_size || size <= unsafe { self.usable_size(block, old) },
        };
        if fits { Ok(()) } else { Err(AllocError) }
    }
}

implement_allocator!(impl[] C);

// SAFETY: the library keeps that contract, for the alignments that it is asked for.
unsafe impl Alloc for RawC {
    /// # Errors
    ///
    /// [`AllocError`] also for alignments above that of `max_align_t`.
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        match (layout.size(), layout.align()) {
            (0, _) => Ok(nothing(layout)),
            (_, align) if align > MALLOC_ALIGN => Err(AllocError),
            _ => c_malloc(layout),
        }
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { c_free(block, layout) }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 || new.size() == 0 || new.align() > MALLOC_ALIGN {
            // SAFETY: the caller's promise.
            return unsafe { moved(self, block, old, new) };
        }
        // SAFETY: ours; the sizes were looked at.
        unsafe { c_realloc(block, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the same for a smaller size.
        unsafe { self.grow(block, old, new) }
    }
}

implement_allocator!(impl[] RawC);
