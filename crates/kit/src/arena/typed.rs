//! An arena of values of one type, which it drops.
//!
//! # Safety
//!
//! *Filled*, as in the storage. *Apart*: each element is handed out once as `&mut`; all at once only through `&mut self`.
#![allow(unsafe_code)]
// Each call returns another element.
#![allow(clippy::mut_from_ref)]

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::building::Building;
use super::storage::Storage;
use crate::bump::chunk::Chunk;
use crate::{Alloc, AllocError};

/// Stores values of one type until it is dropped, and drops them then, the oldest first.
///
/// ```
/// # #[cfg(feature = "system")] {
/// use freestone_kit::{arena::TypedArena, c::C};
/// use std::cell::Cell;
///
/// /// Nodes that point at each other, in cycles if they like: all die at once.
/// struct Node<'a> {
///     name: String,
///     friend: Cell<Option<&'a Node<'a>>>,
/// }
///
/// let arena = TypedArena::new(C);
/// let one: &Node = arena.alloc(Node { name: "one".into(), friend: Cell::new(None) });
/// let two: &Node = arena.alloc(Node { name: "two".into(), friend: Cell::new(Some(one)) });
/// one.friend.set(Some(two));
/// assert_eq!(two.friend.get().unwrap().friend.get().unwrap().name, "two");
/// # }
/// ```
///
/// A destructor that could look at another value of the same arena does not compile:
///
/// ```compile_fail
/// # use freestone_kit::{arena::TypedArena, c::C};
/// # use std::cell::Cell;
/// struct Node<'a>(Cell<Option<&'a Node<'a>>>);
/// impl Drop for Node<'_> {
///     fn drop(&mut self) {}
/// }
/// let arena = TypedArena::new(C);
/// let one: &Node = arena.alloc(Node(Cell::new(None)));
/// one.0.set(Some(one));
/// ```
pub struct TypedArena<T, A: Alloc> {
    storage: Storage<A>,
    /// It owns values of `T`, and takes in what it was declared for and nothing that lives shorter.
    owns: PhantomData<Cell<T>>,
}

// SAFETY: filled: it owns its elements and its chunks.
unsafe impl<T: Send, A: Alloc + Send> Send for TypedArena<T, A> {}

impl<T, A: Alloc> TypedArena<T, A> {
    /// An empty one.
    pub const fn new(parent: A) -> Self {
        TypedArena { storage: Storage::new::<T>(parent), owns: PhantomData }
    }

    /// One with room for so many values in its first chunk.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the parent refuses.
    pub fn with_capacity(parent: A, values: usize) -> Result<Self, AllocError> {
        let arena = Self::new(parent);
        if size_of::<T>() != 0 && values != 0 {
            arena.reserve(values).ok_or(AllocError)?;
        }
        Ok(arena)
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.storage.parent
    }

    /// Stores a value.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    #[inline(always)]
    pub fn alloc(&self, value: T) -> &mut T {
        match self.try_alloc(value) {
            Ok(place) => place,
            Err(_) => crate::bump::out_of_memory(Layout::new::<T>()),
        }
    }

    /// Stores a value.
    ///
    /// # Errors
    ///
    /// The value, when there is no memory.
    #[inline(always)]
    pub fn try_alloc(&self, value: T) -> Result<&mut T, T> {
        let storage = &self.storage;
        if size_of::<T>() == 0 {
            // It is nowhere, and counted.
            storage.before.set(storage.before.get() + 1);
            core::mem::forget(value);
            // SAFETY: a value without size may be at any aligned address.
            return Ok(unsafe { NonNull::dangling().as_mut() });
        }
        let mut place = storage.cursor.get();
        if place == storage.end.get() {
            if self.reserve(1).is_none() {
                return Err(value);
            }
            place = storage.cursor.get();
        }
        let mut element = place.cast::<T>();
        // SAFETY: filled: there is room for an element, which is none yet.
        unsafe { element.write(value) };
        // SAFETY: filled: the room ends at a multiple of the size behind this.
        storage.cursor.set(unsafe { place.add(size_of::<T>()) });
        // SAFETY: apart.
        Ok(unsafe { element.as_mut() })
    }

    /// Stores what an iterator yields, side by side. The iterator may itself store values here.
    ///
    /// # Panics
    ///
    /// When there is no memory; the values that it had yielded stay in the arena.
    #[inline]
    pub fn alloc_extend(&self, values: impl IntoIterator<Item = T>) -> &mut [T] {
        let mut building = Building::new(self);
        building.fill(values.into_iter());
        building.finish()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values. Those stored one by one come in the order in which they came; slices come between them as a whole.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        self.storage.settle();
        let last = self.storage.chunk.get();
        IterMut { last, chunk: Chunk::chain(last).last(), at: 0, left: self.len(), values: PhantomData }
    }

    /// Drops all values; keeps the longest chunk.
    pub fn clear(&mut self) {
        let list = self.storage.drop_values();
        let longest = Chunk::chain(list).max_by_key(|chunk| chunk.data());
        for chunk in Chunk::chain(list) {
            if Some(chunk) != longest {
                // SAFETY: its values are gone, and nobody has it.
                unsafe { chunk.free(self.parent()) };
            }
        }
        if let Some(chunk) = longest {
            chunk.set_previous(None);
        }
        self.storage.enter(longest, 0);
    }

    /// A chunk for at least so many elements, in no list.
    pub(super) fn new_chunk(&self, values: usize) -> Option<Chunk> {
        let data = Layout::array::<T>(values).ok()?.size();
        let chunk = Chunk::after(self.parent(), self.storage.chunk.get(), data, align_of::<T>())?;
        chunk.set_previous(None);
        Some(chunk)
    }

    pub(super) fn storage(&self) -> &Storage<A> {
        &self.storage
    }

    /// A new current chunk, with room for so many elements.
    #[cold]
    #[inline(never)]
    fn reserve(&self, values: usize) -> Option<()> {
        let chunk = self.new_chunk(values)?;
        let storage = &self.storage;
        storage.settle();
        storage.before.set(storage.len());
        chunk.set_previous(storage.chunk.get());
        storage.enter(Some(chunk), 0);
        Some(())
    }
}

impl<T, A: Alloc> fmt::Debug for TypedArena<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedArena").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// All values of a [`TypedArena`]; see [`TypedArena::iter_mut`].
pub struct IterMut<'a, T> {
    /// The newest chunk, from which the way leads to the others.
    last: Option<Chunk>,
    chunk: Option<Chunk>,
    at: usize,
    left: usize,
    values: PhantomData<&'a mut T>,
}

impl<'a, T> Iterator for IterMut<'a, T> {
    type Item = &'a mut T;

    fn next(&mut self) -> Option<&'a mut T> {
        self.left = self.left.checked_sub(1)?;
        if size_of::<T>() == 0 {
            // SAFETY: a value without size is anywhere; as many are handed out as there are.
            return Some(unsafe { NonNull::dangling().as_mut() });
        }
        let mut chunk = self.chunk?;
        while self.at == chunk.used() {
            chunk = Chunk::chain(self.last).take_while(|&next| next != chunk).last()?;
            (self.chunk, self.at) = (Some(chunk), 0);
        }
        // SAFETY: filled: the chunk has more elements than that.
        let mut element = unsafe { chunk.start().cast::<T>().add(self.at) };
        self.at += 1;
        // SAFETY: apart: each is handed out once, while the arena is borrowed.
        Some(unsafe { element.as_mut() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for IterMut<'_, T> {}
