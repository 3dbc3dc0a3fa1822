//! Scopes: what was allocated inside one is freed at its end, what came before stays.
//!
//! # Safety
//!
//! *Alone*: a scope came from `&mut` of its bump allocator or of the scope around it, so nobody else allocates while it is in
//! use. What a scope hands out lives for `'b` at most, which ends before the memory is taken back.
#![allow(unsafe_code)]
// Each call returns another block.
#![allow(clippy::mut_from_ref)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::{Bump, BumpBox};
use crate::bump::chunk::Chunk;
use crate::foreign::implement_allocator;
use crate::{Alloc, Allocated};

/// The right to allocate from a [`Bump`], with references that live for `'b`, whatever happens to this handle.
///
/// ```
/// # #[cfg(feature = "system")] {
/// use freestone_kit::{bump::Bump, c::C};
///
/// let mut bump: Bump<_> = Bump::new(C);
/// let mut scope = bump.scope();
/// let kept = scope.alloc(1);
/// for round in 0..1000 {
///     // All that is allocated inside is gone after each round; `kept` stays.
///     *kept += scope.nested(|inner| inner.alloc_slice_copy(&[round; 100]).len());
/// }
/// assert_eq!(*kept, 100_001);
/// # }
/// ```
///
/// Nothing gets out of the scope that it was allocated in:
///
/// ```compile_fail
/// # use freestone_kit::{bump::Bump, c::C};
/// let mut bump: Bump<_> = Bump::new(C);
/// let escaped = bump.scope().nested(|inner| inner.alloc(1));
/// ```
pub struct Scope<'b, A: Alloc, const MIN_ALIGN: usize = 1> {
    bump: &'b Bump<A, MIN_ALIGN>,
}

impl<A: Alloc, const MIN_ALIGN: usize> Bump<A, MIN_ALIGN> {
    /// The outermost scope. It ends by nothing but a reset, a drop, or the next call of this.
    pub fn scope(&mut self) -> Scope<'_, A, MIN_ALIGN> {
        // Nobody remembers a position now: the chunk that scopes before needed can be the first of those to come.
        self.prefer_spare();
        Scope { bump: self }
    }
}

/// Takes back what was allocated since, also when the scope's work panics.
struct Restore<'b, A: Alloc, const MIN_ALIGN: usize> {
    bump: &'b Bump<A, MIN_ALIGN>,
    position: (Option<Chunk>, NonNull<u8>),
}

impl<A: Alloc, const MIN_ALIGN: usize> Drop for Restore<'_, A, MIN_ALIGN> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: alone: the inner scope's references are gone, and those from before could not be freed meanwhile.
        unsafe { self.bump.restore(self.position) }
    }
}

impl<'b, A: Alloc, const MIN_ALIGN: usize> Scope<'b, A, MIN_ALIGN> {
    /// Runs `work` with a scope of its own, then frees what it allocated there.
    #[inline]
    pub fn nested<R>(&mut self, work: impl for<'n> FnOnce(Scope<'n, A, MIN_ALIGN>) -> R) -> R {
        let restore = Restore { bump: self.bump, position: self.bump.position() };
        work(Scope { bump: restore.bump })
    }

    /// As [`Bump::alloc`].
    #[inline(always)]
    pub fn alloc<T>(&self, value: T) -> &'b mut T {
        self.bump.alloc(value)
    }

    /// As [`Bump::alloc_with`].
    #[inline(always)]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &'b mut T {
        self.bump.alloc_with(make)
    }

    /// As [`Bump::alloc_boxed`].
    #[inline(always)]
    pub fn alloc_boxed<T>(&self, value: T) -> BumpBox<'b, T> {
        self.bump.alloc_boxed(value)
    }

    /// As [`Bump::alloc_slice_copy`].
    #[inline(always)]
    pub fn alloc_slice_copy<T: Copy>(&self, slice: &[T]) -> &'b mut [T] {
        self.bump.alloc_slice_copy(slice)
    }

    /// As [`Bump::alloc_str`].
    #[inline(always)]
    pub fn alloc_str(&self, text: &str) -> &'b mut str {
        self.bump.alloc_str(text)
    }

    /// As [`Bump::alloc_slice_fill_with`].
    #[inline(always)]
    pub fn alloc_slice_fill_with<T>(&self, len: usize, make: impl FnMut(usize) -> T) -> &'b mut [T] {
        self.bump.alloc_slice_fill_with(len, make)
    }
}

// SAFETY: the bump allocator's; a block is used no longer than `'b`, since whoever uses it has the scope.
unsafe impl<A: Alloc, const MIN_ALIGN: usize> Alloc for Scope<'_, A, MIN_ALIGN> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Allocated {
        self.bump.allocate(layout)
    }

    #[inline(always)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.bump.deallocate(block, layout) }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.bump.grow(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.bump.shrink(block, old, new) }
    }
}

implement_allocator!(impl[A: Alloc, const MIN_ALIGN: usize] Scope<'_, A, MIN_ALIGN>);
