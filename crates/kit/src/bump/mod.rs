//! A bump pointer over chunks that grow: the fastest way to allocate many things that die together.
//!
//! # What it is
//!
//! A pointer moves down through a chunk of memory; a request moves it by so many bytes, rounds it down to the alignment,
//! and has its block. When a chunk is used up, the parent gives one twice as long. Nothing is freed one by one, except the
//! block that was allocated last; all of it goes when the bump allocator is [reset](crate::Reset) or dropped.
//!
//! ```text
//!             start            cursor                      end
//!               ▼                ▼                          ▼
//!      ┌────────┬────────────────┬────────┬─────┬───────────┐
//!      │ header │ free           │ newest │ ... │ first     │   the current chunk
//!      └───┬────┴────────────────┴────────┴─────┴───────────┘
//!          ▼ previous
//!      ┌────────┬───────────────────────────────────────────┐
//!      │ header │ full                                      │   half as long
//!      └────────┴───────────────────────────────────────────┘
//! ```
//!
//! # Where it comes from
//!
//! Regions: Hanson, "Fast allocation and deallocation of memory based on object lifetimes" (Software: Practice and
//! Experience, 1990). That the pointer had better go down: Fitzgerald, "Always bump downwards" (2019): one comparison
//! against the start is enough, since rounding down cannot pass it.
//!
//! # When to use it, and when not
//!
//! For phases (a request, a frame, a compilation unit) whose objects all die at its end and have no destructor. Not for
//! collections that grow a lot: the block that grows last is moved down by a copy; [`Arena`](crate::arena::Arena), which
//! goes up, extends it where it lies. Not for values with destructors: [`Bump::alloc`] does not compile for them; use
//! [`Bump::alloc_boxed`] or a [`TypedArena`](crate::arena::TypedArena).
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | a subtraction, a mask, a comparison |
//! | allocate when the chunk is full | one call of the parent, at most one for each doubling of the total |
//! | deallocate, the newest block | a comparison and an addition; its memory is used again |
//! | deallocate, any other | a comparison |
//! | grow | the newest block: a copy downwards; else allocate and copy |
//! | reset | constant, but for giving all chunks back except the largest |
//! | memory | 32 bytes a chunk; at most half of it unused, plus padding |
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "system")] {
//! use freestone_kit::{Reset, bump::Bump, c::C};
//!
//! let mut bump: Bump<_> = Bump::new(C);
//! let point = bump.alloc((3, 4));
//! let name = bump.alloc_str("corner");
//! point.0 += 1;
//! assert_eq!((point.0, &*name), (4, "corner"));
//! bump.reset();
//! # }
//! ```
//!
//! A value with a destructor would never be dropped, so this does not compile:
//!
//! ```compile_fail
//! # use freestone_kit::{bump::Bump, c::C};
//! let bump: Bump<_> = Bump::new(C);
//! bump.alloc(String::from("who drops me?"));
//! ```
//!
//! And nothing outlives a reset:
//!
//! ```compile_fail
//! # use freestone_kit::{Reset, bump::Bump, c::C};
//! let mut bump: Bump<_> = Bump::new(C);
//! let number = bump.alloc(1);
//! bump.reset();
//! *number += 1;
//! ```
//!
//! # Safety
//!
//! *Cursor*: `start` and `cursor` lie in the current chunk's data or at its end, `start <= cursor`; or both are the same
//! address, which is nobody's, and there is no chunk. Bytes from `start` to `cursor` belong to nobody. *List*: the chunks
//! from `chunk` on, and `spare`, came from `parent` and are in no other list.
#![allow(unsafe_code)]

mod boxed;
pub(crate) mod chunk;
mod scope;
mod typed;

pub use boxed::BumpBox;
pub use scope::Scope;
pub(crate) use typed::out_of_memory;

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

use self::chunk::{ALIGN, Chunk, FIRST, HEADER};
use crate::alloc::{copied, nothing};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, Reset, ResizeInPlace};

/// Where the pointer is when there is no chunk.
const NOWHERE: NonNull<u8> =
    NonNull::without_provenance(NonZeroUsize::new(ALIGN).expect("the alignment is not zero"));

/// A bump allocator over the parent `A`.
///
/// Every block is aligned to `MIN_ALIGN` bytes, a power of two up to 16, also when less was asked for: with 8, say, a
/// program of words and pointers rounds sizes instead of addresses and leaves no gaps.
///
/// One thread uses it at a time; it may be sent to another.
pub struct Bump<A: Alloc, const MIN_ALIGN: usize = 1> {
    cursor: Cell<NonNull<u8>>,
    start: Cell<NonNull<u8>>,
    chunk: Cell<Option<Chunk>>,
    /// A chunk that a scope left behind, for the next time that one is needed.
    spare: Cell<Option<Chunk>>,
    parent: A,
}

// SAFETY: list: all that it points to is its own or the parent's.
unsafe impl<A: Alloc + Send, const MIN_ALIGN: usize> Send for Bump<A, MIN_ALIGN> {}

impl<A: Alloc, const MIN_ALIGN: usize> Bump<A, MIN_ALIGN> {
    /// An empty one; the first request takes the first chunk, of half a KiB, from the parent.
    pub const fn new(parent: A) -> Self {
        const { assert!(MIN_ALIGN.is_power_of_two() && MIN_ALIGN <= ALIGN, "MIN_ALIGN: a power of two, 1 to 16") };
        let (chunk, spare) = (Cell::new(None), Cell::new(None));
        Bump { cursor: Cell::new(NOWHERE), start: Cell::new(NOWHERE), chunk, spare, parent }
    }

    /// One with a first chunk of at least `bytes`.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the parent refuses.
    pub fn with_capacity(parent: A, bytes: usize) -> Result<Self, AllocError> {
        let bump = Self::new(parent);
        let chunk = Chunk::new(&bump.parent, bytes, ALIGN, None).ok_or(AllocError)?;
        bump.enter(Some(chunk));
        Ok(bump)
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// Bytes taken from the parent, headers and spare included.
    pub fn held_bytes(&self) -> usize {
        Chunk::chain(self.chunk.get()).chain(self.spare.get()).map(Chunk::len).sum()
    }

    /// Makes `chunk` the current one, with all of it free.
    fn enter(&self, chunk: Option<Chunk>) {
        self.chunk.set(chunk);
        self.start.set(chunk.map_or(NOWHERE, Chunk::start));
        self.cursor.set(chunk.map_or(NOWHERE, Chunk::end));
    }

    /// A block from the current chunk.
    #[inline(always)]
    fn carve(&self, layout: Layout) -> Option<NonNull<u8>> {
        let cursor = self.cursor.get();
        let (top, start) = (cursor.addr().get(), self.start.get().addr().get());
        if layout.size() > top - start {
            return None;
        }
        let align = if layout.align() > MIN_ALIGN { layout.align() } else { MIN_ALIGN };
        let at = (top - layout.size()) & !(align - 1);
        // The start is a multiple of ALIGN: rounding down to less cannot pass it.
        if layout.align() > ALIGN && at < start {
            return None;
        }
        // SAFETY: cursor: `start <= at <= top`, all in one chunk.
        let block = unsafe { cursor.sub(top - at) };
        self.cursor.set(block);
        Some(block)
    }

    /// A block; `None` when there is no memory.
    #[inline(always)]
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        match self.carve(layout) {
            Some(block) => Some(block),
            None => self.take_slow(layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() == 0 {
            return Some(nothing(layout).cast());
        }
        // Above ALIGN, the end of the data may be anywhere between two multiples of the alignment.
        let padding = if layout.align() > ALIGN { layout.align() } else { 0 };
        let data = layout.size().checked_next_multiple_of(ALIGN)?.checked_add(padding)?;
        let previous = self.chunk.get();
        let chunk = match self.spare.get() {
            Some(spare) if spare.data() >= data => {
                self.spare.set(None);
                spare.set_previous(previous);
                spare
            }
            // The first, whose length is a constant: most of what is to be looked at is known beforehand.
            _ if previous.is_none() && data <= FIRST - HEADER => {
                Chunk::new(&self.parent, FIRST - HEADER, ALIGN, None)
                    .or_else(|| Chunk::after(&self.parent, None, data, ALIGN))?
            }
            _ => Chunk::after(&self.parent, previous, data, ALIGN)?,
        };
        self.enter(Some(chunk));
        self.carve(layout)
    }

    /// Whether `block` is the one that was allocated last and can be freed or moved.
    #[inline(always)]
    fn is_newest(&self, block: NonNull<u8>) -> bool {
        block == self.cursor.get()
    }

    /// Makes the spare chunk the current one, if that is shorter and holds nothing.
    fn prefer_spare(&mut self) {
        let current = self.chunk.get();
        if let Some(spare) = self.spare.get()
            && current.is_none_or(|chunk| self.cursor.get() == chunk.end() && chunk.data() < spare.data())
        {
            spare.set_previous(current.and_then(Chunk::previous));
            if let Some(chunk) = current {
                chunk.set_previous(None);
            }
            self.spare.set(current);
            self.enter(Some(spare));
        }
    }

    /// Where the next block would come from, for [`restore`](Bump::restore).
    fn position(&self) -> (Option<Chunk>, NonNull<u8>) {
        (self.chunk.get(), self.cursor.get())
    }

    /// Frees all that was allocated since `position` was told; keeps the longest chunk of it for later.
    ///
    /// # Safety
    ///
    /// Blocks allocated since then are not used any more, and none from before was freed since.
    #[inline(always)]
    unsafe fn restore(&self, (chunk, cursor): (Option<Chunk>, NonNull<u8>)) {
        if self.chunk.get() != chunk {
            // SAFETY: the caller's promise.
            unsafe { self.leave_newer(chunk) };
        }
        self.cursor.set(cursor);
    }

    /// Makes `chunk` the current one again.
    ///
    /// # Safety
    ///
    /// Blocks in newer chunks are not used any more.
    #[cold]
    #[inline(never)]
    unsafe fn leave_newer(&self, chunk: Option<Chunk>) {
        while self.chunk.get() != chunk
            && let Some(newer) = self.chunk.get()
        {
            self.enter(newer.previous());
            let (longer, shorter) = match self.spare.get() {
                Some(spare) if spare.data() >= newer.data() => (spare, Some(newer)),
                spare => (newer, spare),
            };
            longer.set_previous(None);
            self.spare.set(Some(longer));
            if let Some(chunk) = shorter {
                // SAFETY: list: it is in none any more; the caller's promise.
                unsafe { chunk.free(&self.parent) };
            }
        }
    }
}

// SAFETY: cursor: blocks come from bytes that belong to nobody, which they then leave; chunks stay where they are.
unsafe impl<A: Alloc, const MIN_ALIGN: usize> Alloc for Bump<A, MIN_ALIGN> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Allocated {
        let block = self.take(layout).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    #[inline(always)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if self.is_newest(block) {
            let len = layout.size().next_multiple_of(MIN_ALIGN);
            // SAFETY: cursor: the block lies between the cursor and the end, with the rounding that it took.
            self.cursor.set(unsafe { block.add(len) });
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let (top, start) = (block.addr().get(), self.start.get().addr().get());
        let more = new.size() - old.size();
        if self.is_newest(block) && more <= top - start {
            let at = (top - more) & !(new.align().max(MIN_ALIGN) - 1);
            if at >= start {
                // SAFETY: cursor: `start <= at`, in the chunk of the block.
                let moved = unsafe { block.sub(top - at) };
                // SAFETY: the block has the old size, and so has what begins below it.
                unsafe { moved.copy_from(block, old.size()) };
                self.cursor.set(moved);
                return Ok(NonNull::slice_from_raw_parts(moved, new.size()));
            }
        }
        // SAFETY: the caller's promise.
        unsafe { copied(self, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if !block.addr().get().is_multiple_of(new.align()) {
            // SAFETY: the caller's promise.
            return unsafe { copied(self, block, old, new) };
        }
        let gain = (old.size() - new.size()) & !(new.align().max(MIN_ALIGN) - 1);
        // Moving the newest block up wins `gain` bytes at the price of copying it: done when that wins more than it copies.
        if self.is_newest(block) && gain > new.size() {
            // SAFETY: the block is longer than that.
            let moved = unsafe { block.add(gain) };
            // SAFETY: both lie in the old block, and are apart since the gain is longer than the new block.
            unsafe { moved.copy_from_nonoverlapping(block, new.size()) };
            self.cursor.set(moved);
            return Ok(NonNull::slice_from_raw_parts(moved, new.size()));
        }
        Ok(NonNull::slice_from_raw_parts(block, new.size()))
    }
}

implement_allocator!(impl[A: Alloc, const MIN_ALIGN: usize] Bump<A, MIN_ALIGN>);

// SAFETY: only shrinks, which changes nothing.
unsafe impl<A: Alloc, const MIN_ALIGN: usize> ResizeInPlace for Bump<A, MIN_ALIGN> {
    unsafe fn resize_in_place(
        &self,
        _block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<(), AllocError> {
        if new.size() <= old.size() { Ok(()) } else { Err(AllocError) }
    }
}

// SAFETY: list: the chunks are where blocks come from. Takes time linear in the number of chunks, the logarithm of the total.
unsafe impl<A: Alloc, const MIN_ALIGN: usize> Owns for Bump<A, MIN_ALIGN> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        Chunk::chain(self.chunk.get()).any(|chunk| chunk.holds(address))
    }
}

impl<A: Alloc, const MIN_ALIGN: usize> Capacity for Bump<A, MIN_ALIGN> {
    /// Of the chunks held at present: the parent may give more.
    fn capacity(&self) -> usize {
        Chunk::chain(self.chunk.get()).map(Chunk::data).sum()
    }

    /// Chunks before the current one count as used to the end.
    fn used(&self) -> usize {
        self.capacity() - (self.cursor.get().addr().get() - self.start.get().addr().get())
    }
}

impl<A: Alloc, const MIN_ALIGN: usize> Reset for Bump<A, MIN_ALIGN> {
    /// Frees all blocks, keeps the longest chunk and gives the others back.
    fn reset(&mut self) {
        let longest = Chunk::chain(self.chunk.get()).chain(self.spare.get()).max_by_key(|chunk| chunk.data());
        for chunk in Chunk::chain(self.chunk.get()).chain(self.spare.take()) {
            if Some(chunk) != longest {
                // SAFETY: list: the lists are given up here; `&mut self`: no block is in use.
                unsafe { chunk.free(&self.parent) };
            }
        }
        if let Some(chunk) = longest {
            chunk.set_previous(None);
        }
        self.enter(longest);
    }
}

impl<A: Alloc, const MIN_ALIGN: usize> Drop for Bump<A, MIN_ALIGN> {
    fn drop(&mut self) {
        // SAFETY: list; nobody can use the blocks any more.
        unsafe { Chunk::free_chain(self.chunk.take(), &self.parent) };
        // SAFETY: the same.
        unsafe { Chunk::free_chain(self.spare.take(), &self.parent) };
    }
}

impl<A: Alloc, const MIN_ALIGN: usize> fmt::Debug for Bump<A, MIN_ALIGN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, capacity) = (self.used(), self.capacity());
        f.debug_struct("Bump").field("used", &used).field("capacity", &capacity).finish_non_exhaustive()
    }
}
