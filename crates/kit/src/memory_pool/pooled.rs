//! An object in a pool.
//!
//! # Safety
//!
//! *Whole*: the slot of a [`Pooled`] is taken from its pool, holds a value, and is nobody else's.
#![allow(unsafe_code)]

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::MemoryPool;
use crate::Alloc;

/// An object in a [`MemoryPool`]: dropped, and its slot given back, when this goes.
pub struct Pooled<'p, T, A: Alloc, const ALIGN: usize = 1, const GROWABLE: bool = true> {
    pool: &'p MemoryPool<T, A, ALIGN, GROWABLE>,
    slot: NonNull<T>,
}

impl<'p, T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Pooled<'p, T, A, ALIGN, GROWABLE> {
    /// # Safety
    ///
    /// `slot` is taken from `pool`, holds a value, and is used by nobody else.
    pub(super) unsafe fn new(pool: &'p MemoryPool<T, A, ALIGN, GROWABLE>, slot: NonNull<T>) -> Self {
        Pooled { pool, slot }
    }

    /// The object itself; its slot goes back to the pool.
    pub fn into_inner(self) -> T {
        // SAFETY: *whole*; the value is not touched there again.
        let value = unsafe { self.slot.read() };
        // SAFETY: *whole*, and this object ends here.
        unsafe { self.pool.give(self.slot) };
        core::mem::forget(self);
        value
    }

    /// The object for as long as the pool is borrowed; it is not dropped, and its slot comes back with a reset.
    pub fn leak(self) -> &'p mut T {
        let slot = self.slot;
        core::mem::forget(self);
        // SAFETY: *whole*; the slot stays taken, and a reset needs the pool that `'p` borrows.
        unsafe { &mut *slot.as_ptr() }
    }
}

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Deref for Pooled<'_, T, A, ALIGN, GROWABLE> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: *whole*.
        unsafe { self.slot.as_ref() }
    }
}

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> DerefMut for Pooled<'_, T, A, ALIGN, GROWABLE> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: *whole*, and this handle is borrowed alone.
        unsafe { self.slot.as_mut() }
    }
}

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Drop for Pooled<'_, T, A, ALIGN, GROWABLE> {
    fn drop(&mut self) {
        /// Gives the slot back even when the object's own drop unwinds.
        struct Back<'p, T, A: Alloc, const ALIGN: usize, const GROWABLE: bool>(
            &'p MemoryPool<T, A, ALIGN, GROWABLE>,
            NonNull<T>,
        );
        impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Drop for Back<'_, T, A, ALIGN, GROWABLE> {
            fn drop(&mut self) {
                // SAFETY: *whole*, and the object has ended.
                unsafe { self.0.give(self.1) };
            }
        }
        let _back = Back(self.pool, self.slot);
        // SAFETY: *whole*, and nobody looks at the object again.
        unsafe { self.slot.drop_in_place() };
    }
}

impl<T: fmt::Debug, A: Alloc, const ALIGN: usize, const GROWABLE: bool> fmt::Debug
    for Pooled<'_, T, A, ALIGN, GROWABLE>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
