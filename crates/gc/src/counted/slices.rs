//! Handles to slices and texts.
//!
//! # Safety
//!
//! As [`handle`](super::handle).
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use freestone_kit::Alloc;

use super::block::{Block, Draft, refused};
use super::counts::{Counts, Place};
use super::handle::Handle;
use crate::Global;

/// Elements that are dropped if not all can be made.
struct Made<T> {
    first: *mut T,
    count: usize,
}

impl<T> Drop for Made<T> {
    fn drop(&mut self) {
        let made = ptr::slice_from_raw_parts_mut(self.first, self.count);
        // SAFETY: so many were written.
        unsafe { made.drop_in_place() };
    }
}

/// Fills `count` places from `first` on with what `make` gives for each index. Whatever panics leaves none behind.
///
/// # Safety
///
/// So many places can be written.
pub(super) unsafe fn fill<T>(first: *mut T, count: usize, mut make: impl FnMut(usize) -> T) {
    let mut made = Made { first, count: 0 };
    while made.count < count {
        let element = make(made.count);
        // SAFETY: below the count.
        let at = unsafe { first.add(made.count) };
        // SAFETY: the caller's promise.
        unsafe { at.write(element) };
        made.count += 1;
    }
    std::mem::forget(made);
}

impl<T, C: Counts, A: Alloc> Handle<[T], C, A> {
    /// A slice of `count` elements, each made for its index.
    ///
    /// ```
    /// use freestone_gc::counted::{Arc, Global};
    ///
    /// let squares = Arc::slice_in(4, |n| n * n, Global);
    /// assert_eq!(squares[..], [0, 1, 4, 9]);
    /// ```
    pub fn slice_in(count: usize, make: impl FnMut(usize) -> T, alloc: A) -> Self {
        let Ok(elements) = Layout::array::<T>(count) else { too_long(count) };
        let Ok(layout) = Block::<C, A, [T]>::layout(elements) else { too_long(count) };
        let Ok(block) = alloc.allocate(layout) else { refused(layout) };
        let draft = Draft { alloc: &alloc, block: block.cast(), layout };
        let block =
            ptr::slice_from_raw_parts_mut(draft.block.as_ptr().cast::<T>(), count) as *mut Block<C, A, [T]>;
        // SAFETY: inside of the new block.
        let first = unsafe { &raw mut (*block).object }.cast::<T>();
        // SAFETY: the block was made for as many.
        unsafe { fill(first, count, make) };
        std::mem::forget(draft);
        // SAFETY: inside of the new block.
        let place = unsafe { &raw mut (*block).place };
        // SAFETY: inside of the new block.
        unsafe { place.write(C::first()) };
        // SAFETY: inside of the new block.
        let home = unsafe { &raw mut (*block).alloc };
        // SAFETY: inside of the new block.
        unsafe { home.write(alloc) };
        // SAFETY: not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: all is there.
        unsafe { Handle::from_block(block) }
    }

    /// The elements of a slice, cloned.
    pub fn copied_in(elements: &[T], alloc: A) -> Self
    where
        T: Clone,
    {
        Self::slice_in(elements.len(), |index| elements[index].clone(), alloc)
    }

    /// The elements of a vector, moved.
    pub fn moved_in(elements: Vec<T>, alloc: A) -> Self {
        let count = elements.len();
        let mut elements = elements.into_iter();
        Self::slice_in(count, |_| elements.next().expect("as many as were counted"), alloc)
    }

    /// Room for elements that are written later, through [`get_mut`](Handle::get_mut).
    pub fn uninit_in(count: usize, alloc: A) -> Handle<[MaybeUninit<T>], C, A> {
        Handle::slice_in(count, |_| MaybeUninit::uninit(), alloc)
    }
}

impl<C: Counts, A: Alloc> Handle<str, C, A> {
    /// A text, copied.
    pub fn text_in(text: &str, alloc: A) -> Self {
        let bytes = Handle::<[u8], C, A>::copied_in(text.as_bytes(), alloc);
        Handle::unsize(bytes, |bytes| {
            // SAFETY: these are the bytes of a text: the function is called here, and only here.
            unsafe { std::str::from_utf8_unchecked(bytes) }
        })
    }
}

#[cold]
pub(super) fn too_long(count: usize) -> ! {
    panic!("a slice of {count} elements is longer than any memory");
}

impl<T: Clone, C: Counts> From<&[T]> for Handle<[T], C> {
    fn from(elements: &[T]) -> Self {
        Self::copied_in(elements, Global)
    }
}

impl<T, C: Counts> From<Vec<T>> for Handle<[T], C> {
    fn from(elements: Vec<T>) -> Self {
        Self::moved_in(elements, Global)
    }
}

impl<T, C: Counts, const N: usize> From<[T; N]> for Handle<[T], C> {
    fn from(elements: [T; N]) -> Self {
        let mut elements = elements.into_iter();
        Self::slice_in(N, |_| elements.next().expect("as many as the array has"), Global)
    }
}

impl<T, C: Counts> FromIterator<T> for Handle<[T], C> {
    /// By way of a vector: how many there are is not known before.
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self::from(elements.into_iter().collect::<Vec<T>>())
    }
}

impl<C: Counts> From<&str> for Handle<str, C> {
    fn from(text: &str) -> Self {
        Self::text_in(text, Global)
    }
}

impl<C: Counts> From<String> for Handle<str, C> {
    fn from(text: String) -> Self {
        Self::text_in(&text, Global)
    }
}

impl<T: ?Sized, C: Counts> From<Box<T>> for Handle<T, C> {
    fn from(object: Box<T>) -> Self {
        Self::from_box_in(object, Global)
    }
}

impl<T, P: Place<T>> From<T> for Handle<T, P> {
    fn from(object: T) -> Self {
        Self::new(object)
    }
}
