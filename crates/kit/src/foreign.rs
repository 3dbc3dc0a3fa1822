//! The same allocators under the traits of others: `allocator-api2` 0.2 and 0.4, the standard library's own, and
//! `GlobalAlloc`; and others' allocators as parents of ours.
//!
//! # Safety
//!
//! The contracts of these traits are that of [`Alloc`](crate::Alloc), by the same words.
#![allow(unsafe_code)]

/// Gives an allocator of the kit the traits of others, as far as their features are on:
/// `implement_allocator!(impl[A: Alloc] Arena<A>);`.
macro_rules! implement_allocator {
    (impl[$($generics:tt)*] $type:ty) => {
        #[cfg(feature = "allocator-api2-02")]
        $crate::foreign::implement_one!([$($generics)*] $type, ::allocator_api2_02::alloc);
        #[cfg(feature = "allocator-api2-04")]
        $crate::foreign::implement_one!([$($generics)*] $type, ::allocator_api2_04::alloc);
        #[cfg(feature = "nightly")]
        $crate::foreign::implement_one!([$($generics)*] $type, ::core::alloc);
    };
}
pub(crate) use implement_allocator;

macro_rules! implement_one {
    ([$($generics:tt)*] $type:ty, $($module:tt)*) => {
        // SAFETY: the contract of `Alloc`, which the type keeps, is the same.
        #[allow(unsafe_code)]
        const _: () = {
            use ::core::alloc::Layout;
            use ::core::ptr::NonNull;
            use $($module)*::{AllocError, Allocator};
            use $crate::Alloc;

            unsafe impl<$($generics)*> Allocator for $type {
                #[inline]
                fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    Alloc::allocate(self, layout).map_err(|_| AllocError)
                }

                #[inline]
                fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                    Alloc::allocate_zeroed(self, layout).map_err(|_| AllocError)
                }

                #[inline]
                unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                    // SAFETY: the caller's promise.
                    unsafe { Alloc::deallocate(self, block, layout) }
                }

                #[inline]
                unsafe fn grow(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { Alloc::grow(self, block, old, new) }.map_err(|_| AllocError)
                }

                #[inline]
                unsafe fn grow_zeroed(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { Alloc::grow_zeroed(self, block, old, new) }.map_err(|_| AllocError)
                }

                #[inline]
                unsafe fn shrink(
                    &self,
                    block: NonNull<u8>,
                    old: Layout,
                    new: Layout,
                ) -> Result<NonNull<[u8]>, AllocError> {
                    // SAFETY: the caller's promise.
                    unsafe { Alloc::shrink(self, block, old, new) }.map_err(|_| AllocError)
                }
            }
        };
    };
}
pub(crate) use implement_one;
