//! The system's pages as an allocator: every block is a mapping of its own.
//!
//! # What it is
//!
//! A request is rounded up to OS pages and mapped; freeing unmaps. Nothing is kept between calls, there is no state and no
//! lock, and fresh memory is zero. Growing and shrinking is `mremap`: no byte is copied, and a block that can grow where it
//! lies stays there. An alignment above a page is cut out of a longer mapping.
//!
//! # Where it comes from
//!
//! Zig's `std.heap.page_allocator`; below it `mmap` (SunOS 4.0, 1988) and `mremap` (Linux 1.3, 1996).
//!
//! # When to use it, and when not
//!
//! As the parent of what takes memory in long pieces (arenas, slabs, pools), and for buffers of many pages. Not for small
//! blocks: one byte takes 4096, and the system has a limit on mappings (65,530 as a rule).
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate, deallocate | a system call each, about a microsecond, and a page fault for each page that is touched |
//! | allocate with an alignment above a page | up to two calls more |
//! | grow, shrink | a system call, whatever the length; none within the last page |
//! | memory | rounded up to pages |
//!
//! # Example
//!
//! ```
//! use freestone_kit::{Alloc, Remap, page::Page};
//! use std::alloc::Layout;
//!
//! let (mib, gib) = (Layout::from_size_align(1 << 20, 8).unwrap(), Layout::from_size_align(1 << 30, 8).unwrap());
//! let block = Page.allocate(mib).unwrap();
//! // SAFETY: a live block of that layout, each time.
//! unsafe {
//!     block.cast::<u8>().write(1);
//!     let block = Page.remap(block.cast(), mib, gib).expect("a GiB of addresses");
//!     assert_eq!(block.cast::<u8>().read(), 1);
//!     Page.deallocate(block.cast(), gib);
//! }
//! ```
//!
//! # Safety
//!
//! *Mapping*: a block that is not of zero size is a whole number of pages, mapped for it alone, from its address to its size
//! rounded up. So whoever owns the block may unmap or move exactly these pages.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use freestone_sys::linux::PreservedErrno;
use freestone_sys::{Linux, System};

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Remap, ResizeInPlace, UsableSize};

static SYSTEM: Linux = Linux::new();

/// The system's pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page;

impl Page {
    /// Bytes in a page of the system's.
    pub fn page_size() -> usize {
        SYSTEM.os_page_size()
    }

    /// What a block of that layout takes.
    fn mapped(layout: Layout) -> usize {
        // No overflow: a layout's size is at most half of the addresses.
        layout.size().next_multiple_of(Page::page_size())
    }
}

fn block_at(address: usize, len: usize) -> Allocated {
    let block = NonNull::new(with_exposed_provenance_mut(address)).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, len))
}

/// Unmaps what is left of a mapping, if anything.
fn trim(start: usize, end: usize) {
    if start != end {
        // SAFETY: mapping: a part of one that nobody has seen. Refused, it stays mapped, which costs addresses only.
        let _ = unsafe { SYSTEM.release(start, end - start) };
    }
}

fn map_aligned(len: usize, align: usize) -> Allocated {
    let longer = len.checked_add(align - Page::page_size()).ok_or(AllocError)?;
    let start = SYSTEM.map(longer).map_err(|_| AllocError)?;
    let at = start.next_multiple_of(align);
    trim(start, at);
    trim(at + len, start + longer);
    block_at(at, len)
}

/// `mremap`; `flags` say whether the block may move.
///
/// # Safety
///
/// A live block; both lengths are whole pages and not zero.
unsafe fn remap(block: NonNull<u8>, old_len: usize, len: usize, flags: i32) -> Allocated {
    let _preserved = PreservedErrno::new();
    // SAFETY: mapping: these pages are the block's alone; the caller's promise.
    let at = unsafe { libc::mremap(block.as_ptr().cast(), old_len, len, flags) };
    if at == libc::MAP_FAILED { Err(AllocError) } else { block_at(at.expose_provenance(), len) }
}

// SAFETY: mapping.
unsafe impl Alloc for Page {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let len = Page::mapped(layout);
        if layout.align() > Page::page_size() {
            return map_aligned(len, layout.align());
        }
        block_at(SYSTEM.map(len).map_err(|_| AllocError)?, len)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        // A mapping begins as zeros.
        self.allocate(layout)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            let address = block.as_ptr().expose_provenance();
            // SAFETY: mapping; the caller gives it up.
            let released = unsafe { SYSTEM.release(address, Page::mapped(layout)) };
            debug_assert!(
                released.is_ok(),
                "the system refused to unmap {block:?}: not a block of that layout?"
            );
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if block.addr().get().is_multiple_of(new.align()) {
            // SAFETY: the caller's promise.
            if let Ok(()) = unsafe { self.resize_in_place(block, old, new) } {
                return Ok(NonNull::slice_from_raw_parts(block, Page::mapped(new)));
            }
        }
        if old.size() != 0 && new.size() != 0 && new.align() <= Page::page_size() {
            // SAFETY: the caller's promise.
            return unsafe { self.remap(block, old, new) };
        }
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let grown = unsafe { self.grow(block, old, new) }?;
        let dirty = Page::mapped(old).min(grown.len()) - old.size();
        // SAFETY: the block is longer than `old`.
        let tail = unsafe { grown.cast::<u8>().add(old.size()) };
        // SAFETY: that many bytes follow. Pages that are new are zero.
        unsafe { tail.write_bytes(0, dirty) };
        Ok(grown)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the same with a smaller size, which `grow` copes with.
        unsafe { self.grow(block, old, new) }
    }
}

implement_allocator!(impl[] Page);

// SAFETY: mapping: the whole of it may be used.
unsafe impl UsableSize for Page {
    unsafe fn usable_size(&self, _block: NonNull<u8>, layout: Layout) -> usize {
        Page::mapped(layout)
    }
}

// SAFETY: mapping: the system adds and takes away pages behind the block's.
unsafe impl ResizeInPlace for Page {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let (old_len, len) = (Page::mapped(old), Page::mapped(new));
        if old_len == len {
            return Ok(());
        }
        if old_len == 0 || len == 0 {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise; neither is zero.
        unsafe { remap(block, old_len, len, 0) }.map(|_| ())
    }
}

// SAFETY: mapping: the system moves page tables, not bytes.
unsafe impl Remap for Page {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let (old_len, len) = (Page::mapped(old), Page::mapped(new));
        if old_len == len {
            return Ok(NonNull::slice_from_raw_parts(block, len));
        }
        if old_len == 0 || len == 0 {
            return Err(AllocError);
        }
        // Elsewhere, a block is aligned to a page and no more.
        let flags = if new.align() <= Page::page_size() { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: the caller's promise; neither is zero.
        unsafe { remap(block, old_len, len, flags) }
    }
}
