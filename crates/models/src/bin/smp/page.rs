//! Memory for slabs: the system's, counted, and handed out at a moment when another thread may run.
//!
//! # Safety
//!
//! Blocks come from the system's allocator and go back with the same layout.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use shuttle::sync::atomic::{AtomicUsize, Ordering};

use crate::{Alloc, AllocError, Allocated};

/// The parent of the model.
pub(crate) struct Page {
    live: AtomicUsize,
}

impl Page {
    pub(crate) fn new() -> Page {
        Page { live: AtomicUsize::new(0) }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }
}

// SAFETY: the system's allocator keeps the contract; no size here is zero.
unsafe impl Alloc for Page {
    fn allocate(&self, layout: Layout) -> Allocated {
        self.live.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block.as_ptr(), layout) }
    }
}
