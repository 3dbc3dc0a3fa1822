//! A slice of unknown length on its way into a typed arena.
//!
//! # Safety
//!
//! *Built*: `start` has room for `room` elements, the first `len` of which are initialised and nobody else's. The room is
//! either what was left of the arena's current chunk, which the arena takes for full meanwhile, or a chunk of its own that is
//! in no list.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::TypedArena;
use crate::Alloc;
use crate::bump::chunk::Chunk;

/// Where a slice is built.
#[derive(Clone, Copy)]
enum Place {
    /// In the rest of a chunk of the arena's, which ends there.
    Shared(Option<Chunk>, NonNull<u8>),
    Own(Chunk),
}

/// Holds its elements where nothing that the iterator does comes between them.
pub(super) struct Building<'a, T, A: Alloc> {
    arena: &'a TypedArena<T, A>,
    place: Place,
    start: NonNull<T>,
    room: usize,
    len: usize,
}

/// The length while a loop runs, which a register holds; it is told at the end, also when the iterator panics.
struct Filling<'l> {
    len: usize,
    told: &'l mut usize,
}

impl Drop for Filling<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        *self.told = self.len;
    }
}

impl<'a, T, A: Alloc> Building<'a, T, A> {
    #[inline]
    pub(super) fn new(arena: &'a TypedArena<T, A>) -> Self {
        let storage = arena.storage();
        let (cursor, end) = (storage.cursor.get(), storage.end.replace(storage.cursor.get()));
        let room = (end.addr().get() - cursor.addr().get()) / size_of::<T>().max(1);
        Building { arena, place: Place::Shared(storage.chunk.get(), end), start: cursor.cast(), room, len: 0 }
    }

    /// Appends all that `values` yields.
    #[inline]
    pub(super) fn fill(&mut self, mut values: impl Iterator<Item = T>) {
        if size_of::<T>() == 0 {
            for value in values {
                self.arena.alloc(value);
                self.len += 1;
            }
            return;
        }
        loop {
            let mut filling = Filling { len: self.len, told: &mut self.len };
            while filling.len < self.room {
                let Some(value) = values.next() else { return };
                // SAFETY: built: there is room for one more.
                let place = unsafe { self.start.add(filling.len) };
                // SAFETY: built: no element is there yet.
                unsafe { place.write(value) };
                filling.len += 1;
            }
            drop(filling);
            let Some(value) = values.next() else { return };
            self.make_room(values.size_hint().0.max(self.len).saturating_add(1));
            // SAFETY: built: there is room for one more.
            let place = unsafe { self.start.add(self.len) };
            // SAFETY: built: no element is there yet.
            unsafe { place.write(value) };
            self.len += 1;
        }
    }

    /// Moves to a chunk of its own, or to a longer one.
    #[cold]
    fn make_room(&mut self, more: usize) {
        let wanted = self.len.saturating_add(more);
        let Some(chunk) = self.arena.new_chunk(wanted) else {
            crate::bump::out_of_memory(Layout::new::<T>());
        };
        let start = chunk.start().cast::<T>();
        // SAFETY: built: the new chunk has room for them, and they are apart.
        unsafe { start.copy_from_nonoverlapping(self.start, self.len) };
        match self.place {
            Place::Shared(shared, end) => self.arena.storage().give_back(shared, end, 0),
            // SAFETY: built: its elements have moved, and it is in no list.
            Place::Own(old) => unsafe { old.free(self.arena.parent()) },
        }
        self.place = Place::Own(chunk);
        self.start = start;
        self.room = chunk.data() / size_of::<T>();
    }

    #[inline]
    pub(super) fn finish(self) -> &'a mut [T] {
        let mut slice = NonNull::slice_from_raw_parts(self.start, self.len);
        drop(self);
        // SAFETY: built; the elements are in the arena now, which never hands them out again, and are not moved any more.
        unsafe { slice.as_mut() }
    }
}

impl<T, A: Alloc> Drop for Building<'_, T, A> {
    /// Also when the iterator panicked: the elements are the arena's then.
    #[inline]
    fn drop(&mut self) {
        match self.place {
            Place::Shared(shared, end) if size_of::<T>() != 0 => {
                self.arena.storage().give_back(shared, end, self.len);
            }
            Place::Shared(..) => {}
            Place::Own(chunk) => self.arena.storage().insert(chunk, self.len),
        }
    }
}
