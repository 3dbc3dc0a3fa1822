//! The chunks of a typed arena, without its type: so that the arena itself has no `Drop`, and its values may borrow from
//! each other as long as their own destructors do not look.
//!
//! # Safety
//!
//! *Filled*: in the current chunk, the elements from its start to `cursor` are initialised; in every other chunk of the
//! list, as many as its header says are used. Elements have `size` bytes and are dropped by `drop_values`, and none is moved
//! or dropped before [`Storage::drop_values`] runs. *List*: the chunks came from `parent` and are in no other list.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::NonNull;

use crate::Alloc;
use crate::bump::chunk::Chunk;

pub(super) struct Storage<A: Alloc> {
    pub(super) cursor: Cell<NonNull<u8>>,
    pub(super) end: Cell<NonNull<u8>>,
    pub(super) chunk: Cell<Option<Chunk>>,
    /// Elements in chunks other than the current one; of a type without size, all.
    pub(super) before: Cell<usize>,
    /// Drops so many values from an address on.
    drop_values: unsafe fn(NonNull<u8>, usize),
    size: usize,
    pub(super) parent: A,
}

/// # Safety
///
/// So many values of `T` from there on are initialised, and nobody uses them again.
unsafe fn drop_slice<T>(first: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { NonNull::slice_from_raw_parts(first.cast::<T>(), len).drop_in_place() }
}

impl<A: Alloc> Storage<A> {
    pub(super) const fn new<T>(parent: A) -> Self {
        Storage {
            cursor: Cell::new(NonNull::<T>::dangling().cast()),
            end: Cell::new(NonNull::<T>::dangling().cast()),
            chunk: Cell::new(None),
            before: Cell::new(0),
            drop_values: drop_slice::<T>,
            size: size_of::<T>(),
            parent,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.before.get() + self.in_current()
    }

    fn in_current(&self) -> usize {
        match self.chunk.get() {
            Some(chunk) if self.size != 0 => {
                (self.cursor.get().addr().get() - chunk.start().addr().get()) / self.size
            }
            _ => 0,
        }
    }

    /// Writes into the current chunk's header how many elements it has.
    pub(super) fn settle(&self) {
        if let Some(chunk) = self.chunk.get() {
            chunk.set_used(self.in_current());
        }
    }

    /// Makes `chunk` the current one, with so many elements in it.
    pub(super) fn enter(&self, chunk: Option<Chunk>, used: usize) {
        self.chunk.set(chunk);
        let Some(chunk) = chunk else {
            // No room: both are the same.
            self.cursor.set(self.end.get());
            return;
        };
        let whole = chunk.data() - chunk.data() % self.size.max(1);
        // SAFETY: the chunk has that many bytes of data.
        self.end.set(unsafe { chunk.start().add(whole) });
        // SAFETY: the same.
        self.cursor.set(unsafe { chunk.start().add(used * self.size) });
    }

    /// Room for so many elements in the current chunk.
    fn room(&self) -> usize {
        (self.end.get().addr().get() - self.cursor.get().addr().get()) / self.size.max(1)
    }

    /// The current chunk, cut off at its cursor for a slice to be built behind it, goes on to `end` again, and the slice has
    /// so many elements. If there is another current chunk by now, the elements are all that becomes of the room.
    #[inline]
    pub(super) fn give_back(&self, chunk: Option<Chunk>, end: NonNull<u8>, built: usize) {
        if self.chunk.get() == chunk {
            self.end.set(end);
            // SAFETY: the elements were built there, before `end`.
            self.cursor.set(unsafe { self.cursor.get().add(built * self.size) });
        } else if let Some(chunk) = chunk {
            chunk.set_used(chunk.used() + built);
            self.before.set(self.before.get() + built);
        }
    }

    /// Puts a chunk with `used` elements, a slice that was built apart, into the list. The one of the two with more room
    /// is filled next.
    pub(super) fn insert(&self, chunk: Chunk, used: usize) {
        let room = chunk.data() / self.size - used;
        match self.chunk.get() {
            Some(current) if room < self.room() => {
                chunk.set_used(used);
                chunk.set_previous(current.previous());
                current.set_previous(Some(chunk));
                self.before.set(self.before.get() + used);
            }
            current => {
                self.settle();
                self.before.set(self.len());
                chunk.set_previous(current);
                self.enter(Some(chunk), used);
            }
        }
    }

    /// Drops all values, from the oldest on; the arena is empty and without memory from the start of it, whatever a
    /// destructor does. Returns the chunks, which nobody has now.
    pub(super) fn drop_values(&self) -> Option<Chunk> {
        self.settle();
        let none_sized = self.before.replace(0);
        let list = self.chunk.get();
        self.enter(None, 0);
        if self.size == 0 {
            // SAFETY: filled: so many values without size were stored.
            unsafe { (self.drop_values)(self.end.get(), none_sized) };
            return None;
        }
        let mut done = None;
        // The list leads the other way; its length is the logarithm of the total.
        while let Some(chunk) = Chunk::chain(list).take_while(|&chunk| Some(chunk) != done).last() {
            done = Some(chunk);
            // SAFETY: filled, and no longer in the arena.
            unsafe { (self.drop_values)(chunk.start(), chunk.used()) };
        }
        list
    }
}

impl<A: Alloc> Drop for Storage<A> {
    fn drop(&mut self) {
        let list = self.drop_values();
        // SAFETY: list; the values are gone. A destructor that panicked leaves the chunks to nobody.
        unsafe { Chunk::free_chain(list, &self.parent) };
    }
}
