//! The same allocators under the traits of others, and others' allocators as parents of ours.
//!
//! Every allocator of the kit is an `Allocator` of `allocator-api2` 0.2 (feature `allocator-api2-02`; that is hashbrown's and
//! bumpalo's), of 0.4 (feature `allocator-api2-04`), and of the standard library where the compiler has it (feature
//! `nightly`), and through [`AsGlobal`](crate::global::AsGlobal) the allocator of a program.
//!
//! The other way about, `Adopted02`, `Adopted04` and [`AdoptedGlobal`] make a parent for the kit out of any allocator
//! with these traits:
//!
//! ```
//! use freestone_kit::bump::Bump;
//! use freestone_kit::foreign::AdoptedGlobal;
//!
//! let bump: Bump<_> = Bump::new(AdoptedGlobal(&std::alloc::System));
//! assert_eq!(*bump.alloc(1), 1);
//! ```
//!
//! # Safety
//!
//! The contracts of these traits are that of [`Alloc`](crate::Alloc), by the same words, but for `GlobalAlloc`'s, which has no
//! blocks of zero size (those are nobody's and never reach it), and whose blocks need not survive a move of the allocator
//! (so it is borrowed).
#![allow(unsafe_code)]

mod adopted;

#[cfg(feature = "allocator-api2-02")]
pub use adopted::Adopted02;
#[cfg(feature = "allocator-api2-04")]
pub use adopted::Adopted04;
pub use adopted::AdoptedGlobal;
#[cfg(feature = "nightly")]
pub use adopted::AdoptedNative;

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

#[cfg(any(feature = "allocator-api2-02", feature = "allocator-api2-04", feature = "nightly"))]
macro_rules! implement_one {
    ([$($generics:tt)*] $type:ty, $($module:tt)*) => {
        #[allow(unsafe_code)]
        const _: () = {
            use ::core::alloc::Layout;
            use ::core::ptr::NonNull;
            use $($module)*::{AllocError, Allocator};
            use $crate::Alloc;

            // SAFETY: the contract of `Alloc`, which the type keeps, is the same.
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
#[cfg(any(feature = "allocator-api2-02", feature = "allocator-api2-04", feature = "nightly"))]
pub(crate) use implement_one;
