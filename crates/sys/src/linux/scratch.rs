//! Memory to work in for a moment, apart from the heap and from stacks that may be small.
//!
//! # Safety
//!
//! The mapping is this file's own until it is dropped, and holds a value from the beginning ([`Zeroed`]).
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use libc::c_long;

use super::call::syscall;
use super::errno::PreservedErrno;

/// Types for which zeroed memory is a value.
///
/// # Safety
/// All bytes zero are a valid value of the type, which needs no dropping.
pub unsafe trait Zeroed {}

/// A value in a mapping of its own, zero at first: for work that must burden neither the heap nor a small stack.
pub struct Scratch<T: Zeroed> {
    at: NonNull<T>,
    value: PhantomData<T>,
}

impl<T: Zeroed> Scratch<T> {
    const LEN: usize = size_of::<T>().next_multiple_of(4096);

    /// Maps one; `None` when memory is refused.
    pub fn map() -> Option<Scratch<T>> {
        const { assert!(align_of::<T>() <= 4096) };
        let _preserved = PreservedErrno::new();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let none: c_long = -1;
        // SAFETY: a new mapping wherever the kernel likes touches nobody's memory.
        let at = unsafe { syscall!(libc::SYS_mmap, 0usize, Self::LEN, protection, flags, none, 0usize) };
        if at < 0 {
            return None;
        }
        let at = NonNull::new(core::ptr::with_exposed_provenance_mut(at as usize))?;
        Some(Scratch { at, value: PhantomData })
    }

    /// Keeps the mapping for later, as a number for [`Scratch::again`].
    pub fn keep(self) -> usize {
        core::mem::ManuallyDrop::new(self).at.as_ptr().expose_provenance()
    }

    /// The mapping of this number, zero again. `None` for 0.
    ///
    /// # Safety
    /// The number is 0, or [`Scratch::keep`] of this type returned it, and it is used once.
    pub unsafe fn again(kept: usize) -> Option<Scratch<T>> {
        let at = NonNull::new(core::ptr::with_exposed_provenance_mut::<T>(kept))?;
        // SAFETY: the mapping is as long as a T, and nobody else has it.
        unsafe { at.write_bytes(0, 1) };
        Some(Scratch { at, value: PhantomData })
    }

    /// The range of addresses that the value takes, in whole OS pages.
    pub fn range(&self) -> (usize, usize) {
        let start = self.at.as_ptr().addr();
        (start, start + Self::LEN)
    }
}

impl<T: Zeroed> Deref for Scratch<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped for a T, zero at first, which is a value; nobody else has it.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Zeroed> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { self.at.as_mut() }
    }
}

impl<T: Zeroed> Drop for Scratch<T> {
    fn drop(&mut self) {
        let _preserved = PreservedErrno::new();
        // SAFETY: this mapping's own range, which nobody uses any more.
        unsafe { syscall!(libc::SYS_munmap, self.at.as_ptr().addr(), Self::LEN) };
    }
}
