//! The program's own allocator, as one of the kit's.
//!
//! # Safety
//!
//! The contract of [`Alloc`] is that of `GlobalAlloc`, but for blocks of zero size, which never reach it.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use freestone_kit::{Alloc, AllocError, Allocated};

/// What the program allocates with: whatever stands under `#[global_allocator]`. Takes no space in a handle or a block.
///
/// ```
/// use freestone_gc::counted::{General, Rc};
///
/// let text: Rc<str, General> = Rc::from("kept");
/// assert_eq!(&*text, "kept");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct General;

fn block(at: *mut u8, layout: Layout) -> Allocated {
    let block = NonNull::new(at).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

fn nothing(layout: Layout) -> Allocated {
    let at = std::ptr::without_provenance_mut(layout.align());
    block(at, layout)
}

// SAFETY: see the module.
unsafe impl Alloc for General {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return nothing(layout);
        }
        // SAFETY: the size is not zero.
        block(unsafe { alloc(layout) }, layout)
    }

    #[inline]
    unsafe fn deallocate(&self, at: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise.
            unsafe { dealloc(at.as_ptr(), layout) };
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return nothing(layout);
        }
        // SAFETY: the size is not zero.
        block(unsafe { alloc_zeroed(layout) }, layout)
    }
}
