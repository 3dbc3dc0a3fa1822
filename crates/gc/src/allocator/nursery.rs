//! The memory of young objects: an eden that a pointer fills, and two halves for those that have survived once.
//!
//! ```text
//! ┌──────────────────────────────────────────────┬────────────┬────────────┐
//! │ eden                                         │ survivors  │ survivors  │   and, when the eden is full before
//! │ ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ cursor          limit    │ ▓▓▓▓▓      │            │   anybody can collect: more of it
//! └──────────────────────────────────────────────┴────────────┴────────────┘
//! ```
//!
//! It is one block of the parent, so that "is it young?" is a subtraction and a comparison.
//!
//! # Safety
//!
//! *Nursery*: `base` is a live block of `len` bytes of the parent, each of `more` one of its length; cursors lie in them, and what they
//! give out is nobody else's until the next [`Nursery::clear`].
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use freestone_kit::Alloc;

use crate::collector::object::{FILLER, Object, WORD};

/// Bytes of the first block that a full eden is continued in; each further is twice as long.
const MORE: usize = 256 << 10;

/// The young objects' memory.
pub(crate) struct Nursery {
    cursor: *mut u8,
    limit: *mut u8,
    base: *mut u8,
    /// All of it; 0 before the first allocation.
    len: usize,
    eden: usize,
    half: usize,
    /// Which half the survivors of the last collection are in.
    survivors: usize,
    /// In the half into which survivors are copied.
    survivor_cursor: *mut u8,
    survivor_limit: *mut u8,
    more: Vec<(NonNull<u8>, usize)>,
    /// Bytes given out since the heap began, up to the last clearing.
    taken: u64,
}

fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len, 16).ok()
}

/// The next object of a block that a pointer fills.
#[inline]
fn bump(cursor: &mut *mut u8, limit: *mut u8, size: usize, aligned: bool) -> Option<Object> {
    let mut at = *cursor;
    let filler = if aligned { at.addr().wrapping_add(WORD) % 16 } else { 0 };
    if limit.addr() - at.addr() < size + filler {
        return None;
    }
    if aligned && filler != 0 {
        // SAFETY: nursery: the word is nobody's.
        unsafe { at.cast::<usize>().write(FILLER) };
        at = at.wrapping_add(filler);
    }
    *cursor = at.wrapping_add(size);
    // SAFETY: `at` lies in a block, so it is not null.
    let payload = unsafe { NonNull::new_unchecked(at.wrapping_add(WORD)) };
    // SAFETY: live as soon as the caller has written the header.
    Some(unsafe { Object::new(payload) })
}

impl Nursery {
    pub(crate) fn new(eden: usize) -> Self {
        let eden = eden.clamp(64 << 10, 1 << 40).next_multiple_of(4096);
        Nursery {
            cursor: null_mut(),
            limit: null_mut(),
            base: null_mut(),
            len: 0,
            eden,
            half: (eden / 8).next_multiple_of(4096),
            survivors: 0,
            survivor_cursor: null_mut(),
            survivor_limit: null_mut(),
            more: Vec::new(),
            taken: 0,
        }
    }

    /// A new object of `size` bytes, header included; the header is the caller's to write.
    #[inline]
    pub(crate) fn allocate(&mut self, parent: &impl Alloc, size: usize, aligned: bool) -> Option<Object> {
        if let Some(object) = bump(&mut self.cursor, self.limit, size, aligned) {
            return Some(object);
        }
        self.allocate_slow(parent, size, aligned)
    }

    #[cold]
    #[inline(never)]
    fn allocate_slow(&mut self, parent: &impl Alloc, size: usize, aligned: bool) -> Option<Object> {
        if self.len == 0 {
            let len = self.eden + 2 * self.half;
            self.base = parent.allocate(layout(len)?).ok()?.cast::<u8>().as_ptr();
            self.len = len;
            self.open_eden();
        } else {
            let len = MORE << self.more.len().min(10);
            let block = parent.allocate(layout(len)?).ok()?.cast::<u8>();
            self.taken += self.in_block() as u64;
            self.more.push((block, len));
            self.cursor = block.as_ptr();
            self.limit = block.as_ptr().wrapping_add(len);
        }
        bump(&mut self.cursor, self.limit, size, aligned)
    }

    fn open_eden(&mut self) {
        self.cursor = self.base;
        self.limit = self.base.wrapping_add(self.eden);
    }

    /// Bytes given out of the block in use.
    fn in_block(&self) -> usize {
        let start = self.more.last().map_or(self.base, |more| more.0.as_ptr());
        self.cursor.addr() - start.addr()
    }

    /// Whether there was more to allocate than the eden holds.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        !self.more.is_empty()
    }

    /// Bytes given out since the heap began.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken + self.in_block() as u64
    }

    fn half_start(&self, half: usize) -> *mut u8 {
        if self.len == 0 { null_mut() } else { self.base.wrapping_add(self.eden + half * self.half) }
    }

    /// Whether an object is young.
    #[inline]
    pub(crate) fn holds(&self, object: Object) -> bool {
        object.address().wrapping_sub(self.base.addr()) < self.len || (self.is_full() && self.in_more(object))
    }

    #[cold]
    #[inline(never)]
    fn in_more(&self, object: Object) -> bool {
        // The longest are the last.
        self.more.iter().rev().any(|&(block, len)| object.address().wrapping_sub(block.addr().get()) < len)
    }

    /// Whether a young object has survived a collection.
    #[inline]
    pub(crate) fn has_survived(&self, object: Object) -> bool {
        object.address().wrapping_sub(self.base.addr() + self.eden) < self.len - self.eden
    }

    /// While a collection is under way: whether a young object is a copy that it has made.
    #[inline]
    pub(crate) fn is_copy(&self, object: Object) -> bool {
        object.address().wrapping_sub(self.half_start(self.survivors).addr()) < self.half
    }

    /// Before a collection: survivors go into the other half from now on.
    pub(crate) fn flip(&mut self) {
        self.survivors ^= 1;
        self.survivor_cursor = self.half_start(self.survivors);
        self.survivor_limit = self.survivor_cursor.wrapping_add(if self.len == 0 { 0 } else { self.half });
    }

    /// Room for a survivor, if there is any.
    #[inline]
    pub(crate) fn allocate_survivor(&mut self, size: usize, aligned: bool) -> Option<Object> {
        bump(&mut self.survivor_cursor, self.survivor_limit, size, aligned)
    }

    /// After a collection: the eden is empty.
    pub(crate) fn clear(&mut self, parent: &impl Alloc) {
        if self.len == 0 {
            return;
        }
        self.taken += self.in_block() as u64;
        self.free_more(parent);
        self.open_eden();
    }

    fn free_more(&mut self, parent: &impl Alloc) {
        for (block, len) in self.more.drain(..) {
            if let Some(layout) = layout(len) {
                // SAFETY: nursery: a live block of that layout, whose objects are gone.
                unsafe { parent.deallocate(block, layout) };
            }
        }
    }

    /// Gives all memory back.
    pub(crate) fn free(&mut self, parent: &impl Alloc) {
        self.free_more(parent);
        if let (Some(base), Some(layout)) = (NonNull::new(self.base), layout(self.len)) {
            // SAFETY: nursery: as above.
            unsafe { parent.deallocate(base, layout) };
        }
        *self = Nursery::new(self.eden);
    }
}
