//! Arrays in mappings of their own: what the profile keeps lies neither in the heap that it is about nor in a stack.
//!
//! # Safety
//!
//! Y1: `at` is a mapping of room for `room` values, this array's own, zero where nothing was written; all bytes zero are a
//! value of the type (`Zeroed`).
#![allow(unsafe_code)]

use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, without_provenance_mut};

use freestone_sys::System;
use freestone_sys::linux::scratch::Zeroed;

use crate::slow::LEVELS;

/// The first mapping's bytes.
const FIRST: usize = 64 << 10;

/// An array that grows by doubling. It is never dropped, but cleared.
pub(super) struct Array<T: Zeroed + Copy> {
    at: NonNull<T>,
    len: usize,
    room: usize,
}

// SAFETY: Y1: the array owns its memory.
unsafe impl<T: Zeroed + Copy + Send> Send for Array<T> {}

impl<T: Zeroed + Copy> Array<T> {
    pub(super) const fn new() -> Array<T> {
        Array { at: NonNull::dangling(), len: 0, room: 0 }
    }

    /// Appends values; false when memory is refused.
    pub(super) fn extend(&mut self, values: &[T]) -> bool {
        let end = self.len + values.len();
        if end > self.room && !self.grow(end) {
            return false;
        }
        self.len = end;
        self[end - values.len()..].copy_from_slice(values);
        true
    }

    /// Makes it an array of `len` zeros; false, and unchanged, when memory is refused.
    pub(super) fn set_zeros(&mut self, len: usize) -> bool {
        let mut fresh = Array::new();
        if !fresh.grow(len) {
            return false;
        }
        fresh.len = len;
        core::mem::swap(self, &mut fresh);
        fresh.release();
        true
    }

    /// Gives the memory back.
    pub(super) fn clear(&mut self) {
        let mut old = Array::new();
        core::mem::swap(self, &mut old);
        old.release();
    }

    /// The addresses of the memory, from a start to an end.
    pub(super) fn range(&self) -> (usize, usize) {
        let start = self.at.as_ptr().addr();
        if self.room == 0 { (0, 0) } else { (start, start + Self::bytes(self.room)) }
    }

    fn bytes(room: usize) -> usize {
        (room * size_of::<T>()).next_multiple_of(FIRST)
    }

    fn grow(&mut self, least: usize) -> bool {
        let bytes = Self::bytes(least.max(2 * self.room));
        let Ok(at) = LEVELS.pages.system().map(bytes) else { return false };
        let Some(at) = NonNull::new(core::ptr::with_exposed_provenance_mut::<T>(at)) else { return false };
        // SAFETY: Y1; the new mapping is longer, and apart.
        unsafe { at.as_ptr().copy_from_nonoverlapping(self.at.as_ptr(), self.len) };
        let mut old = Array { at, len: self.len, room: bytes / size_of::<T>() };
        core::mem::swap(self, &mut old);
        old.release();
        true
    }

    fn release(self) {
        if self.room > 0 {
            let start = self.at.as_ptr().expose_provenance();
            // SAFETY: Y1; the array is given up.
            let _ = unsafe { LEVELS.pages.system().release(start, Self::bytes(self.room)) };
        }
    }
}

impl<T: Zeroed + Copy> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let at = if self.len == 0 { without_provenance_mut(align_of::<T>()) } else { self.at.as_ptr() };
        // SAFETY: Y1; so many values were written or are zero.
        unsafe { core::slice::from_raw_parts(at, self.len) }
    }
}

impl<T: Zeroed + Copy> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let at = if self.len == 0 { without_provenance_mut(align_of::<T>()) } else { self.at.as_ptr() };
        // SAFETY: as above, borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(at, self.len) }
    }
}

// SAFETY: zero is a number.
unsafe impl Zeroed for Word {}

/// A word of an [`Array`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Word(pub(super) usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_keeps_what_it_held_as_it_grows() {
        let mut array = Array::new();
        assert!(array.is_empty());
        for n in 0..50_000 {
            assert!(array.extend(&[Word(n), Word(2 * n)]));
        }
        assert!(array.iter().step_by(2).enumerate().all(|(n, word)| word.0 == n));
        assert!(array.set_zeros(10));
        assert!(array.len() == 10 && array.iter().all(|word| word.0 == 0));
        array.clear();
        assert!(array.is_empty() && array.range() == (0, 0));
    }
}
