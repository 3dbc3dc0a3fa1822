//! A slice of unknown length on its way into a typed arena.
//!
//! # Safety
//!
//! *Built*: `chunk` is in no list, has room for `room` elements, and the first `len` of them are initialised.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::TypedArena;
use crate::Alloc;
use crate::bump::chunk::Chunk;

/// Holds its elements in a chunk of their own, so that nothing that the iterator does comes between them.
pub(super) struct Building<'a, T, A: Alloc> {
    arena: &'a TypedArena<T, A>,
    chunk: Option<Chunk>,
    room: usize,
    len: usize,
}

impl<'a, T, A: Alloc> Building<'a, T, A> {
    pub(super) fn new(arena: &'a TypedArena<T, A>) -> Self {
        Building { arena, chunk: None, room: 0, len: 0 }
    }

    fn start(&self) -> NonNull<T> {
        self.chunk.map_or(NonNull::dangling(), |chunk| chunk.start().cast())
    }

    /// Appends a value, when at least `more` others are expected.
    pub(super) fn push(&mut self, value: T, more: usize) {
        if size_of::<T>() == 0 {
            self.arena.alloc(value);
            self.len += 1;
            return;
        }
        if self.len == self.room {
            self.make_room(more.max(self.len).saturating_add(1));
        }
        // SAFETY: built: there is room for one more.
        let place = unsafe { self.start().add(self.len) };
        // SAFETY: built: no element is there yet.
        unsafe { place.write(value) };
        self.len += 1;
    }

    #[cold]
    fn make_room(&mut self, more: usize) {
        let wanted = self.len.saturating_add(more);
        let Some(chunk) = self.arena.new_chunk(wanted) else {
            crate::bump::out_of_memory(Layout::new::<T>());
        };
        let start = chunk.start().cast::<T>();
        // SAFETY: built: the new chunk has room for them, and they are apart.
        unsafe { start.copy_from_nonoverlapping(self.start(), self.len) };
        if let Some(old) = self.chunk.replace(chunk) {
            // SAFETY: built: its elements have moved, and it is in no list.
            unsafe { old.free(self.arena.parent()) };
        }
        self.room = chunk.data() / size_of::<T>();
    }

    pub(super) fn finish(self) -> &'a mut [T] {
        let mut slice = NonNull::slice_from_raw_parts(self.start(), self.len);
        drop(self);
        // SAFETY: built; the elements are in the arena now, which never hands them out again, and are not moved any more.
        unsafe { slice.as_mut() }
    }
}

impl<T, A: Alloc> Drop for Building<'_, T, A> {
    /// Also when the iterator panicked: the elements are the arena's then.
    fn drop(&mut self) {
        if let Some(chunk) = self.chunk {
            self.arena.insert(chunk, self.len);
        }
    }
}
