//! Weak handles: they keep the block, not the object.
//!
//! # Safety
//!
//! 1. *There*: while there is a weak handle, its block holds the counts and the allocator; the object only while there is a strong one.
//! 2. As [`handle`](super::handle).
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use freestone_kit::Alloc;

use super::block::{Block, moved_to, refused};
use super::counts::{Counts, WeakCounts};
use super::handle::Handle;
use crate::Global;

/// A handle that does not keep the object alive and finds it while others do.
///
/// The object is dropped with its last strong handle; the block's memory goes with the last of both kinds.
///
/// ```
/// use freestone_gc::counted::Rc;
///
/// let one = Rc::new(1);
/// let weak = Rc::downgrade(&one);
/// assert_eq!(weak.upgrade().as_deref(), Some(&1));
/// drop(one);
/// assert!(weak.upgrade().is_none());
/// ```
pub struct Weak<T: ?Sized, C: WeakCounts, A: Alloc = Global> {
    block: Option<NonNull<Block<C, A, T>>>,
    owner: PhantomData<Block<C, A, T>>,
}

// SAFETY: as a strong handle, which it can become.
unsafe impl<T: ?Sized + Send + Sync, C: WeakCounts + Send + Sync, A: Alloc + Send + Sync> Send
    for Weak<T, C, A>
{
}
// SAFETY: the same.
unsafe impl<T: ?Sized + Send + Sync, C: WeakCounts + Send + Sync, A: Alloc + Send + Sync> Sync
    for Weak<T, C, A>
{
}

impl<T, C: WeakCounts, A: Alloc> Weak<T, C, A> {
    /// One that never finds anything, and allocates nothing.
    pub const fn new() -> Self {
        Weak { block: None, owner: PhantomData }
    }
}

impl<T, C: WeakCounts, A: Alloc> Default for Weak<T, C, A> {
    fn default() -> Self {
        Weak::new()
    }
}

impl<T: ?Sized, C: WeakCounts, A: Alloc> Weak<T, C, A> {
    /// The counts, where there is a block.
    fn counts(&self) -> Option<&C> {
        // SAFETY: there.
        self.block.map(|block| unsafe { &(*block.as_ptr()).place })
    }

    /// A strong handle, while there is another one.
    pub fn upgrade(&self) -> Option<Handle<T, C, A>> {
        let block = self.block?;
        // SAFETY: it has been counted, and so the object is there.
        self.counts()?.upgrade().then(|| unsafe { Handle::from_block(block) })
    }

    /// How many strong handles there are; where other threads have some, at some moment near the call.
    pub fn strong_count(&self) -> usize {
        self.counts().map_or(0, Counts::strong)
    }

    /// How many weak handles there are while there is a strong one; else 0.
    pub fn weak_count(&self) -> usize {
        self.counts().map_or(0, |counts| if counts.strong() == 0 { 0 } else { counts.weak() })
    }

    /// Whether both are of one object, or both of none.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (self.block, other.block) {
            (Some(one), Some(other)) => ptr::addr_eq(one.as_ptr(), other.as_ptr()),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<T: ?Sized, C: WeakCounts, A: Alloc> Handle<T, C, A> {
    /// A weak handle to the same object.
    pub fn downgrade(this: &Self) -> Weak<T, C, A> {
        Handle::counts(this).retain_weak();
        Weak { block: Some(this.block), owner: PhantomData }
    }
}

impl<T, C: WeakCounts> Handle<T, C, Global> {
    /// An object that knows itself: `make` gets a weak handle to what it makes, which finds it once `make` is done.
    ///
    /// ```
    /// use freestone_gc::counted::{LocalCounts, Rc, Weak};
    ///
    /// struct Node { this: Weak<Node, LocalCounts> }
    /// let node = Rc::new_cyclic(|this| Node { this: this.clone() });
    /// assert!(Rc::ptr_eq(&node, &node.this.upgrade().unwrap()));
    /// ```
    pub fn new_cyclic(make: impl FnOnce(&Weak<T, C>) -> T) -> Self {
        Self::new_cyclic_in(make, Global)
    }
}

impl<T, C: WeakCounts, A: Alloc> Handle<T, C, A> {
    /// The same, from `alloc`.
    pub fn new_cyclic_in(make: impl FnOnce(&Weak<T, C, A>) -> T, alloc: A) -> Self {
        let layout = std::alloc::Layout::new::<Block<C, A, T>>();
        let Ok(block) = alloc.allocate(layout) else { refused(layout) };
        let block: NonNull<Block<C, A, T>> = block.cast();
        // SAFETY: inside of the new block.
        let place = unsafe { &raw mut (*block.as_ptr()).place };
        // SAFETY: inside of the new block.
        unsafe { place.write(C::weak_first()) };
        // SAFETY: inside of the new block.
        let home = unsafe { &raw mut (*block.as_ptr()).alloc };
        // SAFETY: inside of the new block.
        unsafe { home.write(alloc) };
        // If `make` panics, this weak handle frees the block, which holds no object.
        let weak = Weak { block: Some(block), owner: PhantomData };
        let object = make(&weak);
        // SAFETY: inside of the block.
        let at = unsafe { &raw mut (*block.as_ptr()).object };
        // SAFETY: nothing is there yet.
        unsafe { at.write(object) };
        // SAFETY: there.
        unsafe { &(*block.as_ptr()).place }.begin();
        // SAFETY: its first handle has been counted.
        unsafe { Handle::from_block(block) }
    }
}

impl<T: ?Sized, C: WeakCounts, A: Alloc> Weak<T, C, A> {
    /// The same object seen as a slice or a trait object, as [`Handle::unsize`]; where there is no object any more, `None`.
    ///
    /// # Panics
    ///
    /// As [`Handle::unsize`].
    pub fn unsize<U: ?Sized>(&self, how: for<'a> fn(&'a T) -> &'a U) -> Option<Weak<U, C, A>> {
        Some(Handle::downgrade(&Handle::unsize(self.upgrade()?, how)))
    }
}

impl<T: ?Sized, C: WeakCounts, A: Alloc> Clone for Weak<T, C, A> {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(counts) = self.counts() {
            counts.retain_weak();
        }
        Weak { block: self.block, owner: PhantomData }
    }
}

impl<T: ?Sized, C: WeakCounts, A: Alloc> Drop for Weak<T, C, A> {
    #[inline]
    fn drop(&mut self) {
        let Some(block) = self.block else { return };
        // SAFETY: there.
        if Counts::release_block(unsafe { &(*block.as_ptr()).place }) {
            // SAFETY: neither handles nor other weak ones are left.
            drop(unsafe { Block::free(block) });
        }
    }
}

impl<T: ?Sized, C: WeakCounts, A: Alloc> fmt::Debug for Weak<T, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(weak)")
    }
}

impl<T: ?Sized, P: Counts, A: Alloc> Handle<T, P, A> {
    /// The object of a box, moved into a counted block: the way for trait objects and other unsized values that are boxed already.
    ///
    /// ```
    /// use freestone_gc::counted::{Arc, Global};
    ///
    /// let task: Box<dyn Fn() -> u32 + Send + Sync> = Box::new(|| 7);
    /// assert_eq!((Arc::from_box_in(task, Global))(), 7);
    /// ```
    pub fn from_box_in(object: Box<T>, alloc: A) -> Self {
        let layout = std::alloc::Layout::for_value(&*object);
        let Ok(address) = Block::<P, A, T>::allocate(&alloc, layout) else { refused(layout) };
        let from = Box::into_raw(object);
        let block = moved_to(from as *mut Block<P, A, T>, address.as_ptr());
        // SAFETY: inside of the new block.
        let place = unsafe { &raw mut (*block).place };
        // SAFETY: inside of the new block.
        unsafe { place.write(P::first()) };
        // SAFETY: inside of the new block.
        let home = unsafe { &raw mut (*block).alloc };
        // SAFETY: inside of the new block.
        unsafe { home.write(alloc) };
        // SAFETY: inside of the new block.
        let at = unsafe { &raw mut (*block).object };
        // SAFETY: both hold that many bytes; the object moves.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), at.cast::<u8>(), layout.size()) };
        // SAFETY: the object is gone from it, and `ManuallyDrop` looks the same: only the memory is freed.
        drop(unsafe { Box::from_raw(from as *mut ManuallyDrop<T>) });
        // SAFETY: not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: all is there.
        unsafe { Handle::from_block(block) }
    }
}
