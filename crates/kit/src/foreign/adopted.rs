//! Allocators with other traits as parents.
//!
//! # Safety
//!
//! As the module above.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use super::implement_allocator;
use crate::alloc::{moved, nothing};
use crate::{Alloc, AllocError, Allocated};

/// A `GlobalAlloc` (`std::alloc::System`, the crate `freestone`, any that a program could be run on) as a parent.
///
/// By reference: such an allocator may have its blocks inside of it, as the one in the documentation of `GlobalAlloc` has,
/// and promises nothing about being moved or cloned.
#[derive(Debug)]
pub struct AdoptedGlobal<'g, G: ?Sized>(pub &'g G);

impl<G: ?Sized> Clone for AdoptedGlobal<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G: ?Sized> Copy for AdoptedGlobal<'_, G> {}

impl<G: GlobalAlloc + ?Sized> AdoptedGlobal<'_, G> {
    /// `realloc`, where it has one alignment and a block on both sides.
    ///
    /// # Safety
    ///
    /// As [`Alloc::grow`], or [`Alloc::shrink`].
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.align() == new.align() && old.size() != 0 && new.size() != 0 {
            // SAFETY: the caller's promise; the new size is that of a layout.
            let at = unsafe { self.0.realloc(block.as_ptr(), old, new.size()) };
            return given(at, new);
        }
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }
}

fn given(at: *mut u8, layout: Layout) -> Allocated {
    let block = NonNull::new(at).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

// SAFETY: see the module.
unsafe impl<G: GlobalAlloc + ?Sized> Alloc for AdoptedGlobal<'_, G> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        // SAFETY: the size is not zero.
        given(unsafe { self.0.alloc(layout) }, layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise.
            unsafe { self.0.dealloc(block.as_ptr(), layout) };
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        // SAFETY: the size is not zero.
        given(unsafe { self.0.alloc_zeroed(layout) }, layout)
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }
}

implement_allocator!(impl['g, G: GlobalAlloc + ?Sized] AdoptedGlobal<'g, G>);

macro_rules! adopted {
    ($(#[$attribute:meta])* $name:ident, $version:literal, $($module:tt)*) => {
        #[doc = concat!("An allocator with the trait `Allocator` of ", $version, " as a parent.")]
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name<F>(pub F);

        $(#[$attribute])*
        // SAFETY: see the module.
        unsafe impl<F: $($module)*::Allocator> Alloc for $name<F> {
            #[inline]
            fn allocate(&self, layout: Layout) -> Allocated {
                self.0.allocate(layout).map_err(|_| AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise.
                unsafe { self.0.deallocate(block, layout) }
            }

            fn allocate_zeroed(&self, layout: Layout) -> Allocated {
                self.0.allocate_zeroed(layout).map_err(|_| AllocError)
            }

            unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
                // SAFETY: the caller's promise.
                unsafe { self.0.grow(block, old, new) }.map_err(|_| AllocError)
            }

            unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
                // SAFETY: the caller's promise.
                unsafe { self.0.grow_zeroed(block, old, new) }.map_err(|_| AllocError)
            }

            unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
                // SAFETY: the caller's promise.
                unsafe { self.0.shrink(block, old, new) }.map_err(|_| AllocError)
            }
        }
    };
}

adopted!(
    #[cfg(feature = "allocator-api2-02")]
    Adopted02,
    "`allocator-api2` 0.2",
    allocator_api2_02::alloc
);
adopted!(
    #[cfg(feature = "allocator-api2-04")]
    Adopted04,
    "`allocator-api2` 0.4",
    allocator_api2_04::alloc
);
adopted!(
    #[cfg(feature = "nightly")]
    AdoptedNative,
    "the standard library",
    core::alloc
);
