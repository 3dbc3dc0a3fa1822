//! The `Allocator` trait of `allocator-api2`, in the two versions now in use.
//!
//! # Safety
//!
//! The contract of `Allocator`: blocks stay until they are deallocated, also when the allocator is moved or copied; all
//! copies of [`Freestone`], and all references to one [`Heap`], are the same allocator.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use crate::{Freestone, Heap, front, heap};

/// Allocates by layout; a layout of size zero gets a dangling pointer of its alignment.
fn sized(layout: Layout, take: impl FnOnce() -> Option<NonNull<u8>>) -> Option<NonNull<[u8]>> {
    let block = if layout.size() == 0 {
        NonNull::new(core::ptr::without_provenance_mut(layout.align()))
    } else {
        take()
    };
    block.map(|block| NonNull::slice_from_raw_parts(block, layout.size()))
}

fn global(layout: Layout, zeroed: bool) -> Option<NonNull<[u8]>> {
    sized(layout, || NonNull::new(front::alloc(layout, zeroed)))
}

/// # Safety
/// The block was allocated with `layout`.
unsafe fn global_free(block: NonNull<u8>, layout: Layout) {
    if layout.size() != 0 {
        // SAFETY: the caller's promise.
        unsafe { Freestone.dealloc(block.as_ptr(), layout) }
    }
}

/// # Safety
/// The block was allocated with `old`.
unsafe fn global_resize(
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
    zero_tail: bool,
) -> Option<NonNull<[u8]>> {
    if old.size() == 0 || new.size() == 0 || old.align() != new.align() {
        let fresh = global(new, zero_tail)?;
        let kept = old.size().min(new.size());
        // SAFETY: both blocks hold that many bytes and are apart.
        unsafe { fresh.cast::<u8>().copy_from_nonoverlapping(block, kept) };
        // SAFETY: the caller's promise.
        unsafe { global_free(block, old) };
        return Some(fresh);
    }
    // SAFETY: the caller's promise; the new size is not zero and fits a layout.
    let moved = NonNull::new(unsafe { Freestone.realloc(block.as_ptr(), old, new.size()) })?;
    if zero_tail && new.size() > old.size() {
        // SAFETY: the block holds `new.size()` bytes.
        let tail = unsafe { moved.add(old.size()) };
        // SAFETY: as above.
        unsafe { tail.write_bytes(0, new.size() - old.size()) };
    }
    Some(NonNull::slice_from_raw_parts(moved, new.size()))
}

/// # Safety
/// The block was allocated from `owner` with `old`.
unsafe fn heap_resize(
    owner: &Heap,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
    zero_tail: bool,
) -> Option<NonNull<[u8]>> {
    let fresh = if old.size() != 0 && heap::same_class(old, new) {
        block
    } else {
        let fresh = sized(new, || owner.allocate(new))?.cast::<u8>();
        // SAFETY: both blocks hold that many bytes and are apart.
        unsafe { fresh.copy_from_nonoverlapping(block, old.size().min(new.size())) };
        if old.size() != 0 {
            // SAFETY: the caller's promise.
            unsafe { owner.deallocate(block) };
        }
        fresh
    };
    if zero_tail && new.size() > old.size() {
        // SAFETY: the block holds `new.size()` bytes.
        let tail = unsafe { fresh.add(old.size()) };
        // SAFETY: as above.
        unsafe { tail.write_bytes(0, new.size() - old.size()) };
    }
    Some(NonNull::slice_from_raw_parts(fresh, new.size()))
}

macro_rules! implement {
    ($feature:literal, $version:ident) => {
        #[cfg(feature = $feature)]
        mod $version {
            use super::*;
            use ::$version::alloc::{AllocError, Allocator};

            // SAFETY: see the module.
            unsafe impl Allocator for Freestone {
                #[inline]
                fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    global(layout, false).ok_or(AllocError)
                }

                #[inline]
                fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    global(layout, true).ok_or(AllocError)
                }

                #[inline]
                unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                    // SAFETY: the caller's promise.
                    unsafe { global_free(block, layout) }
                }

                #[inline]
                unsafe fn grow(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { global_resize(block, old, new, false) }.ok_or(AllocError)
                }

                #[inline]
                unsafe fn grow_zeroed(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { global_resize(block, old, new, true) }.ok_or(AllocError)
                }

                #[inline]
                unsafe fn shrink(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { global_resize(block, old, new, false) }.ok_or(AllocError)
                }
            }

            // SAFETY: see the module.
            unsafe impl Allocator for &Heap {
                fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    sized(layout, || Heap::allocate(self, layout)).ok_or(AllocError)
                }

                fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    sized(layout, || Heap::allocate_zeroed(self, layout)).ok_or(AllocError)
                }

                unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                    if layout.size() != 0 {
                        // SAFETY: the caller's promise.
                        unsafe { Heap::deallocate(self, block) }
                    }
                }

                unsafe fn grow(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { heap_resize(self, block, old, new, false) }.ok_or(AllocError)
                }

                unsafe fn grow_zeroed(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { heap_resize(self, block, old, new, true) }.ok_or(AllocError)
                }

                unsafe fn shrink(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { heap_resize(self, block, old, new, false) }.ok_or(AllocError)
                }
            }
        }
    };
}

implement!("allocator-api2-02", allocator_api2_02);
implement!("allocator-api2-04", allocator_api2_04);
