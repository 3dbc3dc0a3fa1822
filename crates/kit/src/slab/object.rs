//! Typed objects that stay constructed while they are free.
//!
//! # Safety
//!
//! *Constructed*: whatever a source gives out is a valid `T`: constructed when its slab came, and valid since,
//! because a [`Slot`] gives out no more than a reference to it.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::cache::{Lifecycle, Reap, SlabCache};
use super::magazines::Magazines;
use super::shape::PAGE;
use crate::{Alloc, AllocError};

/// Constructs with a closure, destroys by dropping.
pub struct Typed<T, F> {
    construct: F,
    of: PhantomData<T>,
}

// SAFETY: writes the object, and drops it.
unsafe impl<T, F: Fn() -> T> Lifecycle for Typed<T, F> {
    unsafe fn construct(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise: memory for a `T`.
        unsafe { object.cast::<T>().write((self.construct)()) };
    }

    unsafe fn destroy(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise: a `T` that nobody uses.
        unsafe { object.cast::<T>().drop_in_place() };
    }
}

/// Where an [`ObjectCache`] takes its objects from: a [`SlabCache`] for one thread, [`Magazines`] for many.
///
/// # Safety
///
/// For the implementer: what `take` returns was constructed by the lifecycle `L` and is nobody else's until it is put
/// back.
pub unsafe trait Source<L> {
    /// Takes an object.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    fn take(&self) -> Result<NonNull<u8>, AllocError>;

    /// Puts an object back.
    ///
    /// # Safety
    ///
    /// It was taken from here, and is in a state in which the next may have it.
    unsafe fn put(&self, object: NonNull<u8>);

    /// As [`SlabCache::reap`].
    fn reap(&self, reap: Reap) -> usize;
}

// SAFETY: constructed.
unsafe impl<A: Alloc, L: Lifecycle> Source<L> for SlabCache<A, L> {
    fn take(&self) -> Result<NonNull<u8>, AllocError> {
        SlabCache::take(self)
    }

    unsafe fn put(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { SlabCache::put(self, object) }
    }

    fn reap(&self, reap: Reap) -> usize {
        SlabCache::reap(self, reap)
    }
}

// SAFETY: constructed: magazines hold what came out of the slabs.
unsafe impl<A: Alloc, L: Lifecycle, const CPUS: usize> Source<L> for Magazines<A, L, CPUS> {
    fn take(&self) -> Result<NonNull<u8>, AllocError> {
        Magazines::take(self)
    }

    unsafe fn put(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { Magazines::put(self, object) }
    }

    fn reap(&self, reap: Reap) -> usize {
        Magazines::reap(self, reap)
    }
}

/// Objects of a type that are constructed once a slab and used many times.
///
/// What a [`Slot`] leaves in an object is what the next finds: buffers keep their capacity, locks stay initialised. The
/// closure and the destructor run when a slab comes and when it goes, not for each use.
///
/// ```
/// use freestone_kit::page::Page;
/// use freestone_kit::slab::ObjectCache;
///
/// let cache = ObjectCache::new(Page, || Vec::<u8>::with_capacity(1024))?;
/// let mut buffer = cache.get()?;
/// buffer.extend_from_slice(b"hello");
/// buffer.clear();
/// drop(buffer);
/// // The same buffer: still constructed, and with its capacity.
/// assert!(cache.get()?.is_empty() && cache.get()?.capacity() >= 1024);
/// # Ok::<(), freestone_kit::AllocError>(())
/// ```
///
/// A slot does not outlive its cache:
///
/// ```compile_fail
/// # use freestone_kit::{page::Page, slab::ObjectCache};
/// let cache = ObjectCache::new(Page, || 0_u32).unwrap();
/// let slot = cache.get().unwrap();
/// drop(cache);
/// assert_eq!(*slot, 0);
/// ```
pub struct ObjectCache<T, L, S: Source<L>> {
    source: S,
    of: PhantomData<(T, L)>,
}

// SAFETY: constructed: objects are reached through slots alone; they go to other threads with the cache.
unsafe impl<T: Send, L: Send, S: Source<L> + Send> Send for ObjectCache<T, L, S> {}
// SAFETY: a shared cache hands objects from thread to thread, and nothing else.
unsafe impl<T: Send, L: Send, S: Source<L> + Sync> Sync for ObjectCache<T, L, S> {}

impl<T, F: Fn() -> T, A: Alloc> ObjectCache<T, Typed<T, F>, SlabCache<A, Typed<T, F>>> {
    /// A cache for one thread at a time.
    ///
    /// # Errors
    ///
    /// When `T` is too long for a slab.
    pub fn new(parent: A, construct: F) -> Result<Self, AllocError> {
        let lifecycle = Typed { construct, of: PhantomData };
        let source = SlabCache::with_lifecycle(parent, Layout::new::<T>(), PAGE, lifecycle)?;
        Ok(ObjectCache { source, of: PhantomData })
    }
}

impl<T, F: Fn() -> T, A: Alloc, const CPUS: usize>
    ObjectCache<T, Typed<T, F>, Magazines<A, Typed<T, F>, CPUS>>
{
    /// A cache for many threads, with magazines for each of `CPUS` processors. The closure and the destructor run
    /// under a lock of the cache, and must not use it.
    ///
    /// # Errors
    ///
    /// When `T` is too long for a slab.
    pub fn shared(parent: A, construct: F) -> Result<Self, AllocError> {
        let lifecycle = Typed { construct, of: PhantomData };
        let slabs = SlabCache::with_lifecycle(parent, Layout::new::<T>(), PAGE, lifecycle)?;
        Ok(ObjectCache { source: Magazines::over(slabs), of: PhantomData })
    }
}

impl<T, L, S: Source<L>> ObjectCache<T, L, S> {
    /// Takes an object for use. O(1); a new slab constructs all of its objects.
    ///
    /// # Errors
    ///
    /// When there is no memory for a slab.
    ///
    /// # Panics
    ///
    /// When the constructor does; nothing is lost then.
    pub fn get(&self) -> Result<Slot<'_, T, L, S>, AllocError> {
        let object = self.source.take()?.cast();
        Ok(Slot { cache: self, object })
    }

    /// Destroys objects that are not in use, by whole slabs; returns the bytes given back.
    pub fn reap(&self, reap: Reap) -> usize {
        self.source.reap(reap)
    }

    /// Where the objects come from, for its figures.
    pub fn source(&self) -> &S {
        &self.source
    }
}

/// The use of an object of an [`ObjectCache`], until it is dropped; the object stays as it is left.
pub struct Slot<'c, T, L, S: Source<L>> {
    cache: &'c ObjectCache<T, L, S>,
    object: NonNull<T>,
}

// SAFETY: a slot is the only way to its object.
unsafe impl<T: Send, L: Send, S: Source<L> + Sync> Send for Slot<'_, T, L, S> {}
// SAFETY: a shared slot gives shared references to the object, no more.
unsafe impl<T: Sync + Send, L: Send, S: Source<L> + Sync> Sync for Slot<'_, T, L, S> {}

impl<T, L, S: Source<L>> Deref for Slot<'_, T, L, S> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: constructed, and ours.
        unsafe { self.object.as_ref() }
    }
}

impl<T, L, S: Source<L>> DerefMut for Slot<'_, T, L, S> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: constructed, and ours.
        unsafe { self.object.as_mut() }
    }
}

impl<T, L, S: Source<L>> Drop for Slot<'_, T, L, S> {
    fn drop(&mut self) {
        // SAFETY: taken from there, valid, and not used after this.
        unsafe { self.cache.source.put(self.object.cast()) }
    }
}

impl<T: fmt::Debug, L, S: Source<L>> fmt::Debug for Slot<'_, T, L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&**self).finish()
    }
}
