//! A value in a bump allocator that is dropped where it lies.
//!
//! # Safety
//!
//! *Owner*: the box is the only way to a live value, for as long as `'b`.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Owns a value whose memory belongs to a bump allocator: dropping it runs the destructor and frees nothing.
pub struct BumpBox<'b, T: ?Sized> {
    value: NonNull<T>,
    owner: PhantomData<&'b mut T>,
}

// SAFETY: owner: as the value itself.
unsafe impl<T: ?Sized + Send> Send for BumpBox<'_, T> {}
// SAFETY: owner: as the value itself.
unsafe impl<T: ?Sized + Sync> Sync for BumpBox<'_, T> {}

impl<'b, T: ?Sized> BumpBox<'b, T> {
    /// # Safety
    ///
    /// A live value that nobody else can reach, in memory that stays for `'b`.
    pub(super) unsafe fn from_raw(value: NonNull<T>) -> BumpBox<'b, T> {
        BumpBox { value, owner: PhantomData }
    }

    /// Forgets the destructor.
    pub fn leak(this: BumpBox<'b, T>) -> &'b mut T {
        let mut this = ManuallyDrop::new(this);
        // SAFETY: owner, and the box is gone.
        unsafe { this.value.as_mut() }
    }
}

impl<T> BumpBox<'_, T> {
    /// Takes the value out.
    pub fn into_inner(this: Self) -> T {
        let this = ManuallyDrop::new(this);
        // SAFETY: owner, and the box is gone.
        unsafe { this.value.read() }
    }
}

impl<T: ?Sized> Drop for BumpBox<'_, T> {
    fn drop(&mut self) {
        // SAFETY: owner.
        unsafe { self.value.drop_in_place() }
    }
}

impl<T: ?Sized> Deref for BumpBox<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: owner.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for BumpBox<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: owner.
        unsafe { self.value.as_mut() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for BumpBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for BumpBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
