//! Values in a bump allocator: references that live as long as the borrow of it.
//!
//! # Safety
//!
//! *New*: `take` returns memory of that layout that nobody else has; it is initialised before a reference to it is made, and
//! stays until `&mut` access to the allocator, which ends the reference's life.
#![allow(unsafe_code)]
// Each call returns another block.
#![allow(clippy::mut_from_ref)]

use core::alloc::Layout;
use core::mem::needs_drop;
use core::ptr::NonNull;

use super::{Bump, BumpBox};
use crate::{Alloc, AllocError};

/// Kept out of line, so that the callers stay small.
#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn out_of_memory(layout: Layout) -> ! {
    panic!("out of memory: {} bytes, aligned to {}, were refused", layout.size(), layout.align())
}

/// Fails to compile for values that would never be dropped.
macro_rules! refuse_destructors {
    ($type:ty) => {
        const {
            assert!(
                !needs_drop::<$type>(),
                "the value's destructor would never run: use `alloc_boxed`, or a `TypedArena`"
            )
        }
    };
}

impl<A: Alloc, const MIN_ALIGN: usize> Bump<A, MIN_ALIGN> {
    #[inline(always)]
    fn take_for<T>(&self) -> Option<NonNull<T>> {
        Some(self.take(Layout::new::<T>())?.cast())
    }

    /// Stores a value that has no destructor.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    #[inline(always)]
    pub fn alloc<T>(&self, value: T) -> &mut T {
        self.alloc_with(|| value)
    }

    /// Stores what `make` returns, made where it will stay if the compiler can.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    #[inline(always)]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &mut T {
        refuse_destructors!(T);
        let Some(mut place) = self.take_for::<T>() else { out_of_memory(Layout::new::<T>()) };
        // SAFETY: new.
        unsafe { place.write(make()) };
        // SAFETY: new.
        unsafe { place.as_mut() }
    }

    /// Stores a value that has no destructor.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    #[inline(always)]
    pub fn try_alloc<T>(&self, value: T) -> Result<&mut T, AllocError> {
        refuse_destructors!(T);
        let mut place = self.take_for::<T>().ok_or(AllocError)?;
        // SAFETY: new.
        unsafe { place.write(value) };
        // SAFETY: new.
        Ok(unsafe { place.as_mut() })
    }

    /// Stores any value, in a box that drops it.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    #[inline(always)]
    pub fn alloc_boxed<T>(&self, value: T) -> BumpBox<'_, T> {
        let Some(place) = self.take_for::<T>() else { out_of_memory(Layout::new::<T>()) };
        // SAFETY: new.
        unsafe { place.write(value) };
        // SAFETY: new, and the box is its only owner.
        unsafe { BumpBox::from_raw(place) }
    }

    /// Stores a copy of a slice.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    #[inline(always)]
    pub fn alloc_slice_copy<T: Copy>(&self, slice: &[T]) -> &mut [T] {
        let layout = Layout::for_value(slice);
        let Some(place) = self.take(layout) else { out_of_memory(layout) };
        let place = place.cast::<T>();
        // SAFETY: new, so they are apart.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(slice).cast(), slice.len()) };
        // SAFETY: new.
        unsafe { NonNull::slice_from_raw_parts(place, slice.len()).as_mut() }
    }

    /// Stores a copy of a text.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    #[inline(always)]
    pub fn alloc_str(&self, text: &str) -> &mut str {
        let bytes = self.alloc_slice_copy(text.as_bytes());
        // SAFETY: the same bytes.
        unsafe { core::str::from_utf8_unchecked_mut(bytes) }
    }

    /// Stores `len` values, the one at `index` being `make(index)`.
    ///
    /// # Panics
    ///
    /// When there is no memory, or when `make` does; what it had made is then forgotten.
    #[inline(always)]
    pub fn alloc_slice_fill_with<T>(&self, len: usize, mut make: impl FnMut(usize) -> T) -> &mut [T] {
        refuse_destructors!(T);
        let Ok(layout) = Layout::array::<T>(len) else { panic!("a slice of {len} values is too long") };
        let Some(place) = self.take(layout) else { out_of_memory(layout) };
        let place = place.cast::<T>();
        for index in 0..len {
            // SAFETY: new, with room for `len`.
            let element = unsafe { place.add(index) };
            // SAFETY: new.
            unsafe { element.write(make(index)) };
        }
        // SAFETY: new, and all elements were written.
        unsafe { NonNull::slice_from_raw_parts(place, len).as_mut() }
    }

    /// Stores what an iterator yields.
    ///
    /// # Panics
    ///
    /// When there is no memory, or when the iterator panics or yields less than its length.
    pub fn alloc_slice_iter<T>(
        &self,
        values: impl IntoIterator<IntoIter: ExactSizeIterator<Item = T>>,
    ) -> &mut [T] {
        let mut values = values.into_iter();
        self.alloc_slice_fill_with(values.len(), |_| {
            values.next().expect("an iterator was shorter than its length")
        })
    }
}
