//! The handle: making, sharing, dropping.
//!
//! # Safety
//!
//! 1. *Alive*: while there is a handle, its block holds the counts, the allocator and the object, and all but what lies in cells is
//!    only read, as long as there are several handles.
//! 2. *Last*: who counted the last handle down, or was the only one and is no more, has the object for himself.
//! 3. *Provenance*: a handle's pointer may reach the whole block.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::{self, NonNull};

use freestone_kit::{Alloc, AllocError};

use super::block::{Block, moved_to, refused};
use super::counts::{Counts, Place};
use crate::Global;

/// A counted handle to an object: see [the module](super) for the kinds that there are.
///
/// `P` says what counts and where, `A` is the allocator, which lies in the block, so that a handle to a sized type is one pointer
/// and there is always room for `Option`'s `None`.
pub struct Handle<T: ?Sized, P: Place<T>, A: Alloc = Global> {
    pub(crate) block: NonNull<Block<P, A, T>>,
    owner: PhantomData<Block<P, A, T>>,
}

// SAFETY: alive and last: the object is read by several threads, and dropped by any; so is the allocator. The counts are atomic,
// since else `P::Counts` would not be `Sync`.
unsafe impl<T: ?Sized + Send + Sync, P: Place<T>, A: Alloc + Send + Sync> Send for Handle<T, P, A> where
    P::Counts: Send + Sync
{
}
// SAFETY: the same, since a shared handle can be cloned.
unsafe impl<T: ?Sized + Send + Sync, P: Place<T>, A: Alloc + Send + Sync> Sync for Handle<T, P, A> where
    P::Counts: Send + Sync
{
}

impl<T: ?Sized, P: Place<T>, A: Alloc> Unpin for Handle<T, P, A> {}

impl<T, P: Place<T>> Handle<T, P, Global> {
    /// A new object, with one handle, from the program's allocator.
    ///
    /// What comes of it when there is no memory is the program's to say (`handle_alloc_error`).
    #[inline]
    pub fn new(object: T) -> Self {
        Self::new_in(object, Global)
    }

    /// The same, pinned: the object stays where it is until it is dropped.
    pub fn pin(object: T) -> Pin<Self> {
        // SAFETY: an object moves only out of a handle that is not pinned.
        unsafe { Pin::new_unchecked(Self::new(object)) }
    }
}

impl<T, P: Place<T>, A: Alloc> Handle<T, P, A> {
    /// A new object, with one handle, from `alloc`.
    ///
    /// ```
    /// use freestone_gc::counted::Rc;
    /// use freestone_kit::Bump;
    ///
    /// let bump: Bump<_> = Bump::new(freestone_kit::C);
    /// let one = Rc::new_in(String::from("one"), &bump);
    /// assert_eq!(*one.clone(), "one");
    /// assert_eq!(size_of_val(&one), size_of::<usize>());
    /// ```
    #[inline]
    pub fn new_in(object: T, alloc: A) -> Self {
        match Self::allocated(&alloc) {
            // SAFETY: just allocated for it.
            Ok(block) => unsafe { Self::filled(block, object, alloc) },
            Err(AllocError) => refused(Layout::new::<Block<P, A, T>>()),
        }
    }

    /// The same, for those who can do without.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the allocator refuses; the object is dropped.
    pub fn try_new_in(object: T, alloc: A) -> Result<Self, AllocError> {
        let block = Self::allocated(&alloc)?;
        // SAFETY: just allocated for it.
        Ok(unsafe { Self::filled(block, object, alloc) })
    }

    #[inline]
    fn allocated(alloc: &A) -> Result<NonNull<Block<P, A, T>>, AllocError> {
        Ok(alloc.allocate(Layout::new::<Block<P, A, T>>())?.cast())
    }

    /// # Safety
    ///
    /// An empty block of that allocator.
    #[inline]
    unsafe fn filled(block: NonNull<Block<P, A, T>>, object: T, alloc: A) -> Self {
        // SAFETY: the caller's promise.
        unsafe { block.write(Block { place: P::first(), alloc, object }) };
        // SAFETY: all is there.
        unsafe { Self::from_block(block) }
    }

    /// The object, if this is the only handle.
    ///
    /// Weak handles do not matter: they find nothing from then on.
    ///
    /// # Errors
    ///
    /// The handle itself, if there are others.
    ///
    /// ```
    /// use freestone_gc::counted::Arc;
    ///
    /// let one = Arc::new(1);
    /// let other = one.clone();
    /// let one = Arc::try_unwrap(one).unwrap_err();
    /// drop(other);
    /// assert_eq!(Arc::try_unwrap(one), Ok(1));
    /// ```
    pub fn try_unwrap(this: Self) -> Result<T, Self> {
        if !Self::counts(&this).release_if_unique() {
            return Err(this);
        }
        let this = ManuallyDrop::new(this);
        // SAFETY: alive.
        let object = unsafe { &raw const (*this.block.as_ptr()).object };
        // SAFETY: last.
        let object = unsafe { object.read() };
        // SAFETY: last; the object was moved out.
        unsafe { Self::let_go(this.block) };
        Ok(object)
    }

    /// The object, if this is the last handle; of several threads that call it at once for all of the handles exactly one gets it.
    pub fn into_inner(this: Self) -> Option<T> {
        let this = ManuallyDrop::new(this);
        if !Self::counts(&this).release() {
            return None;
        }
        // SAFETY: alive.
        let object = unsafe { &raw const (*this.block.as_ptr()).object };
        // SAFETY: last.
        let object = unsafe { object.read() };
        // SAFETY: last; the object was moved out.
        unsafe { Self::let_go(this.block) };
        Some(object)
    }

    /// The object, or a clone of it if there are other handles.
    pub fn unwrap_or_clone(this: Self) -> T
    where
        T: Clone,
    {
        Self::try_unwrap(this).unwrap_or_else(|shared| (*shared).clone())
    }

    /// The object for changing it, as a copy of its own if there are other handles.
    ///
    /// Where there is no other strong handle but weak ones, the object moves to a new block and the weak ones find nothing any more.
    ///
    /// ```
    /// use freestone_gc::counted::Rc;
    ///
    /// let mut one = Rc::new(vec![1]);
    /// let other = one.clone();
    /// Rc::make_mut(&mut one).push(2);
    /// assert_eq!((&one[..], &other[..]), (&[1, 2][..], &[1][..]));
    /// ```
    pub fn make_mut(this: &mut Self) -> &mut T
    where
        T: Clone,
        A: Clone,
    {
        if !Self::is_unique(this) {
            let alloc = Self::allocator(this).clone();
            if Self::counts(this).strong() == 1 {
                // Weak handles only. The new block is there before the object leaves the old one.
                let copy = Handle::<T, P, A>::draft(&alloc);
                if Self::counts(this).release_if_unique() {
                    let old = this.block;
                    // SAFETY: alive.
                    let object = unsafe { &raw const (*old.as_ptr()).object };
                    // SAFETY: last.
                    let object = unsafe { object.read() };
                    // SAFETY: just allocated.
                    let fresh = unsafe { Self::filled(copy, object, alloc) };
                    // The old handle was given up above.
                    std::mem::forget(std::mem::replace(this, fresh));
                    // SAFETY: last; the object was moved out.
                    unsafe { Self::let_go(old) };
                } else {
                    // Another one was upgraded meanwhile.
                    // SAFETY: just allocated with that layout, and empty.
                    unsafe { alloc.deallocate(copy.cast(), Layout::new::<Block<P, A, T>>()) };
                    *this = Self::new_in((**this).clone(), Self::allocator(this).clone());
                }
            } else {
                *this = Self::new_in((**this).clone(), alloc);
            }
        }
        // SAFETY: alive.
        let object = unsafe { &raw mut (*this.block.as_ptr()).object };
        // SAFETY: last: this is the only handle, without weak ones.
        unsafe { &mut *object }
    }

    fn draft(alloc: &A) -> NonNull<Block<P, A, T>> {
        Self::allocated(alloc).unwrap_or_else(|AllocError| refused(Layout::new::<Block<P, A, T>>()))
    }

    /// The address of the object, and the handle is no more; see [`from_raw`](Handle::from_raw).
    pub fn into_raw(this: Self) -> *const T {
        let this = ManuallyDrop::new(this);
        // SAFETY: alive.
        unsafe { &raw const (*this.block.as_ptr()).object }
    }

    /// The handle back.
    ///
    /// # Safety
    ///
    /// The pointer comes from [`into_raw`](Handle::into_raw) of the same type, which was called at least once more than this for
    /// this object.
    pub unsafe fn from_raw(object: *const T) -> Self {
        let offset = std::mem::offset_of!(Block<P, A, T>, object);
        // SAFETY: the caller's promise: the object lies there in its block.
        let block = unsafe { object.byte_sub(offset) }.cast_mut().cast();
        // SAFETY: not null, being inside of a block.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the caller's promise.
        unsafe { Self::from_block(block) }
    }
}

impl<T: ?Sized, P: Place<T>, A: Alloc> Handle<T, P, A> {
    /// # Safety
    ///
    /// A block with all in it, one of whose handles this is to be.
    #[inline]
    pub(crate) unsafe fn from_block(block: NonNull<Block<P, A, T>>) -> Self {
        Handle { block, owner: PhantomData }
    }

    #[inline]
    pub(crate) fn counts(this: &Self) -> &P::Counts {
        // SAFETY: alive.
        let place = unsafe { &(*this.block.as_ptr()).place };
        place.counts(this)
    }

    /// What is left to do when the object was dropped or moved out.
    ///
    /// # Safety
    ///
    /// Last.
    #[inline]
    unsafe fn let_go(block: NonNull<Block<P, A, T>>) {
        // SAFETY: the block is there until it is let go.
        let place = unsafe { &(*block.as_ptr()).place };
        if Place::release_block(place) {
            // SAFETY: neither handles nor weak ones are left.
            drop(unsafe { Block::free(block) });
        }
    }

    /// Whether both are handles to one object.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        ptr::addr_eq(this.block.as_ptr(), other.block.as_ptr())
    }

    /// The address of the object.
    pub fn as_ptr(this: &Self) -> *const T {
        // SAFETY: alive.
        unsafe { &raw const (*this.block.as_ptr()).object }
    }

    /// How many handles there are; where other threads have some, at some moment near the call.
    pub fn strong_count(this: &Self) -> usize {
        Self::counts(this).strong()
    }

    /// How many weak handles there are; where other threads have some, at some moment near the call.
    pub fn weak_count(this: &Self) -> usize {
        Self::counts(this).weak()
    }

    /// Whether there is no other handle, neither strong nor weak.
    pub fn is_unique(this: &mut Self) -> bool {
        Self::counts(this).is_unique()
    }

    /// The object for changing it, if there is no other handle, neither strong nor weak.
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        if !Self::is_unique(this) {
            return None;
        }
        // SAFETY: alive.
        let object = unsafe { &raw mut (*this.block.as_ptr()).object };
        // SAFETY: last: this is the only handle, and it is borrowed.
        Some(unsafe { &mut *object })
    }

    /// The allocator of the object.
    pub fn allocator(this: &Self) -> &A {
        // SAFETY: alive.
        unsafe { &(*this.block.as_ptr()).alloc }
    }

    /// The same object seen as a slice or a trait object: the way that the compiler's own pointers go by themselves, which on stable Rust
    /// other types' cannot.
    ///
    /// # Panics
    ///
    /// If `how` gives anything but the whole object: another address, size or alignment.
    ///
    /// ```
    /// use freestone_gc::counted::Rc;
    /// use std::fmt::Display;
    ///
    /// let shapes: Vec<Rc<dyn Display>> =
    ///     vec![Rc::unsize(Rc::new(1), |it| it), Rc::unsize(Rc::new("two"), |it| it)];
    /// assert_eq!(shapes.iter().map(|it| it.to_string()).collect::<String>(), "1two");
    /// let bytes: Rc<[u8]> = Rc::unsize(Rc::new([1, 2, 3]), |array| array);
    /// assert_eq!(bytes[1..], [2, 3]);
    /// ```
    pub fn unsize<U: ?Sized>(this: Self, how: for<'a> fn(&'a T) -> &'a U) -> Handle<U, P, A>
    where
        P: Counts,
    {
        let seen = how(&this);
        assert!(
            ptr::addr_eq(seen, &raw const *this) && Layout::for_value(seen) == Layout::for_value(&*this),
            "unsize: the function must give the whole object, not a part of it or another one"
        );
        let block = ptr::from_ref(seen).cast_mut() as *mut Block<P, A, U>;
        let this = ManuallyDrop::new(this);
        let block = moved_to(block, this.block.as_ptr().cast());
        // SAFETY: not null, being that of a block.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the handle passes on; the block has the layout that it had, and the object is what `how` says it is as well.
        unsafe { Handle::from_block(block) }
    }
}

impl<T: ?Sized, P: Place<T>, A: Alloc> Clone for Handle<T, P, A> {
    /// Another handle to the same object: one addition.
    #[inline]
    fn clone(&self) -> Self {
        Self::counts(self).retain();
        // SAFETY: it has been counted.
        unsafe { Self::from_block(self.block) }
    }
}

impl<T: ?Sized, P: Place<T>, A: Alloc> Drop for Handle<T, P, A> {
    #[inline]
    fn drop(&mut self) {
        if Self::counts(self).release() {
            /// Lets the block go also when the object's destructor panics.
            struct Rest<T: ?Sized, P: Place<T>, A: Alloc>(NonNull<Block<P, A, T>>);
            impl<T: ?Sized, P: Place<T>, A: Alloc> Drop for Rest<T, P, A> {
                #[inline]
                fn drop(&mut self) {
                    // SAFETY: last; the object was dropped.
                    unsafe { Handle::let_go(self.0) };
                }
            }
            let rest = Rest(self.block);
            // SAFETY: alive.
            let object = unsafe { &raw mut (*rest.0.as_ptr()).object };
            // SAFETY: last.
            unsafe { object.drop_in_place() };
        }
    }
}

impl<T: ?Sized, P: Place<T>, A: Alloc> Deref for Handle<T, P, A> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: alive.
        unsafe { &(*self.block.as_ptr()).object }
    }
}
