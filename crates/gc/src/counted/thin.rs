//! A header and a slice behind a handle of one pointer.
//!
//! # Safety
//!
//! *Length*: the object is a body whose `length` is that of its slice, so the wide pointer can be had from the thin one.
//! Else as [`handle`](super::handle).
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use freestone_kit::Alloc;

use super::block::{Block, Draft, refused};
use super::counts::Counts;
use super::handle::Handle;
use super::slices::{fill, too_long};
use crate::Global;

/// What a [`Thin`] handle leads to.
#[repr(C)]
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Body<H, S: ?Sized> {
    length: usize,
    /// What there is one of.
    pub header: H,
    /// What there are many of.
    pub slice: S,
}

type Whole<H, T, C, A> = Block<C, A, Body<H, [T]>>;

/// A handle to a header and a slice in one block, of the size of one pointer: the length lies with them.
///
/// For trees and tables with many handles to short slices. Triomphe's `ThinArc` is the like.
///
/// ```
/// use freestone_gc::counted::{LocalCount, Thin};
///
/// let name: Thin<u32, u8, LocalCount> = Thin::new(7, b"seven");
/// let other = name.clone();
/// assert_eq!((other.header, &other.slice), (7, &b"seven"[..]));
/// assert_eq!(size_of_val(&name), size_of::<usize>());
/// ```
pub struct Thin<H, T, C: Counts, A: Alloc = Global> {
    block: NonNull<Block<C, A, Body<H, [T; 0]>>>,
    owner: PhantomData<Handle<Body<H, [T]>, C, A>>,
}

// SAFETY: as the wide handle, which it is.
unsafe impl<H, T, C: Counts, A: Alloc> Send for Thin<H, T, C, A> where Handle<Body<H, [T]>, C, A>: Send {}
// SAFETY: as the wide handle, which it is.
unsafe impl<H, T, C: Counts, A: Alloc> Sync for Thin<H, T, C, A> where Handle<Body<H, [T]>, C, A>: Sync {}

impl<H, T, C: Counts> Thin<H, T, C> {
    /// A header and a copy of the elements.
    pub fn new(header: H, elements: &[T]) -> Self
    where
        T: Clone,
    {
        Self::make_in(header, elements.len(), |index| elements[index].clone(), Global)
    }
}

impl<H, T, C: Counts, A: Alloc> Thin<H, T, C, A> {
    /// A header and `count` elements, each made for its index.
    pub fn make_in(header: H, count: usize, make: impl FnMut(usize) -> T, alloc: A) -> Self {
        let body =
            Layout::array::<T>(count).and_then(|elements| Layout::new::<Body<H, [T; 0]>>().extend(elements));
        let Ok((body, _)) = body else { too_long(count) };
        let Ok(layout) = Whole::<H, T, C, A>::layout(body.pad_to_align()) else { too_long(count) };
        let Ok(block) = alloc.allocate(layout) else { refused(layout) };
        let draft = Draft { alloc: &alloc, block: block.cast(), layout };
        let block: NonNull<Block<C, A, Body<H, [T; 0]>>> = draft.block.cast();
        let wide = widened(block, count);
        // SAFETY: inside of the new block.
        let first = unsafe { &raw mut (*wide).object.slice }.cast::<T>();
        // SAFETY: the block was made for as many.
        unsafe { fill(first, count, make) };
        std::mem::forget(draft);
        // Field by field: padding behind the header is where the first elements lie.
        // SAFETY: inside of the new block.
        let place = unsafe { &raw mut (*wide).place };
        // SAFETY: inside of the new block.
        unsafe { place.write(C::first()) };
        // SAFETY: inside of the new block.
        let home = unsafe { &raw mut (*wide).alloc };
        // SAFETY: inside of the new block.
        unsafe { home.write(alloc) };
        // SAFETY: inside of the new block.
        let length = unsafe { &raw mut (*wide).object.length };
        // SAFETY: inside of the new block.
        unsafe { length.write(count) };
        // SAFETY: inside of the new block.
        let top = unsafe { &raw mut (*wide).object.header };
        // SAFETY: inside of the new block.
        unsafe { top.write(header) };
        Thin { block, owner: PhantomData }
    }

    /// The wide handle that this one is.
    fn wide(&self) -> ManuallyDrop<Handle<Body<H, [T]>, C, A>> {
        // SAFETY: the body is there as long as its handle.
        let count = unsafe { (*self.block.as_ptr()).object.length };
        // SAFETY: not null.
        let block = unsafe { NonNull::new_unchecked(widened(self.block, count)) };
        // SAFETY: length. It is not dropped, so that it counts for this one.
        ManuallyDrop::new(unsafe { Handle::from_block(block) })
    }

    /// The same as a wide handle, without counting.
    pub fn into_wide(this: Self) -> Handle<Body<H, [T]>, C, A> {
        ManuallyDrop::into_inner(ManuallyDrop::new(this).wide())
    }

    /// The header and the elements for changing them, if there is no other handle.
    pub fn get_mut(this: &mut Self) -> Option<(&mut H, &mut [T])> {
        if !Handle::is_unique(&mut this.wide()) {
            return None;
        }
        // SAFETY: the body is there as long as its handle.
        let count = unsafe { (*this.block.as_ptr()).object.length };
        // SAFETY: inside of the block.
        let body = unsafe { &raw mut (*widened(this.block, count)).object };
        // SAFETY: the only handle, and it is borrowed.
        let body = unsafe { &mut *body };
        Some((&mut body.header, &mut body.slice))
    }

    /// How many handles there are.
    pub fn strong_count(this: &Self) -> usize {
        Handle::strong_count(&this.wide())
    }

    /// Whether both are handles to one object.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.block == other.block
    }
}

fn widened<H, T, C, A>(block: NonNull<Block<C, A, Body<H, [T; 0]>>>, count: usize) -> *mut Whole<H, T, C, A> {
    ptr::slice_from_raw_parts_mut(block.as_ptr().cast::<T>(), count) as *mut Whole<H, T, C, A>
}

impl<H, T, C: Counts, A: Alloc> Deref for Thin<H, T, C, A> {
    type Target = Body<H, [T]>;

    #[inline]
    fn deref(&self) -> &Body<H, [T]> {
        // SAFETY: the body is there as long as its handle.
        let count = unsafe { (*self.block.as_ptr()).object.length };
        // SAFETY: length.
        unsafe { &(*widened(self.block, count)).object }
    }
}

impl<H, T, C: Counts, A: Alloc> Clone for Thin<H, T, C, A> {
    #[inline]
    fn clone(&self) -> Self {
        std::mem::forget(Handle::clone(&self.wide()));
        Thin { block: self.block, owner: PhantomData }
    }
}

impl<H, T, C: Counts, A: Alloc> Drop for Thin<H, T, C, A> {
    #[inline]
    fn drop(&mut self) {
        drop(ManuallyDrop::into_inner(self.wide()));
    }
}

impl<H: fmt::Debug, T: fmt::Debug, C: Counts, A: Alloc> fmt::Debug for Thin<H, T, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
