//! The program's allocator as a parent.
//!
//! # Safety
//!
//! `std::alloc`'s functions keep the contract of [`Alloc`] but for sizes of zero, which never reach them.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use freestone_kit::{Alloc, AllocError, Allocated};

/// The program's allocator: what `#[global_allocator]` says, `freestone::Freestone` for instance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

fn nothing(layout: Layout) -> NonNull<[u8]> {
    let aligned = core::num::NonZeroUsize::new(layout.align()).unwrap_or(core::num::NonZeroUsize::MIN);
    NonNull::slice_from_raw_parts(NonNull::without_provenance(aligned), 0)
}

fn given(at: *mut u8, layout: Layout) -> Allocated {
    let block = NonNull::new(at).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

// SAFETY: see the module.
unsafe impl Alloc for Global {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        // SAFETY: the size is not zero.
        given(unsafe { std::alloc::alloc(layout) }, layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise.
            unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        // SAFETY: the size is not zero.
        given(unsafe { std::alloc::alloc_zeroed(layout) }, layout)
    }
}
