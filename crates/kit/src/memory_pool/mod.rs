//! A pool of objects of one type: the last one freed is the next one created.
//!
//! # What it is
//!
//! Slots of one size, cut from chunks that the parent supplies. A freed slot heads a list of free slots that runs
//! through the slots themselves; the next object is created there, in memory that is likely still in the CPU's cache.
//! Chunks grow with the pool, up to 32 MiB, so that
//! it asks its parent seldom.
//!
//! ```text
//!  pool: free ──┐  cursor ───────────────────┐
//!               │                            │
//!  chunk ┌──────┼──────┬──────┬──────┬──────┬▼─────┬──────┐   next   ┌───────┬──────┬──────
//!        │ head │ live │ free │ live │ free │ new  │ new  │ ───────► │ head  │ new  │ …
//!        └──────┴──────┴───▲──┴──────┴─│──▲─┴──────┴──────┘          └───────┴──────┴──────
//!                          └───────────┘  └── free
//! ```
//!
//! # Where it comes from
//!
//! `std.heap.MemoryPool` of Zig (Felix Queißner, 2022; options for alignment and growth, preheating, reset modes). Unlike
//! there, a reset that keeps the capacity keeps the chunks as they are: it takes constant time and cannot fail.
//!
//! # When to use it
//!
//! For many objects of one type that come and go in any order: nodes of lists, trees and graphs, connections, tasks.
//! Not for objects of several sizes ([`FreeLists`](crate::free_list::FreeLists)), not where all go at once
//! ([`arena`](crate::arena)), not across threads without a lock around it.
//!
//! # Cost
//!
//! | operation | time |
//! |---|---|
//! | create, drop | constant (in debug builds, which look for misuse, a step a chunk); a miss of free slot and chunk asks the parent once |
//! | preheat | one request to the parent |
//! | reset, keeping all | constant (in debug builds, one step a chunk) |
//! | reset, freeing; `owns` | one step a chunk |
//!
//! A slot takes at least a pointer; a chunk has a head of 16 bytes.
//!
//! # Example
//!
//! ```
//! use freestone_kit::c::C;
//! use freestone_kit::memory_pool::MemoryPool;
//!
//! let pool = MemoryPool::<[u64; 4], C>::preheated(C, 100)?;
//! let first = pool.create([1; 4])?;
//! let place = &raw const *first;
//! drop(first);
//! let second = pool.create([2; 4])?;
//! assert_eq!(place, &raw const *second, "the last freed is the first reused");
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```
//!
//! An alignment that is none does not compile:
//!
//! ```compile_fail,E0080
//! # use freestone_kit::{c::C, memory_pool::MemoryPool};
//! let pool = MemoryPool::<u32, C, 3>::new(C);
//! ```
//!
//! An object borrows from its pool, so that it cannot outlive it or survive a reset:
//!
//! ```compile_fail,E0505
//! # use freestone_kit::{c::C, memory_pool::MemoryPool};
//! let pool = MemoryPool::<u32, C>::new(C);
//! let object = pool.create(7).unwrap();
//! drop(pool);
//! assert_eq!(*object, 7);
//! ```
//!
//! # Safety
//!
//! 1. *Chunks*: `first` heads a list of chunks, each a live block of the parent, with a head and then as many slots as it
//!    says; no list is changed but by methods that take the pool for themselves or append at its end.
//! 2. *One place*: a slot is live, or on the free list, or between `cursor` and `end`, or in a chunk behind `current`.
//! 3. *One thread*: the pool is not `Sync`, so nothing changes between two steps of a method.
//! 4. *Room*: a slot is as large and aligned as an object and as a pointer.
#![allow(unsafe_code)]

mod misuse;
mod pooled;
mod traits;

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

pub use pooled::Pooled;

use crate::{Alloc, AllocError};

/// What a [reset](MemoryPool::reset) does with the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolReset {
    /// All go back to the parent.
    FreeAll,
    /// All stay.
    RetainCapacity,
    /// Those stay that are within so many bytes together, the oldest first.
    RetainWithLimit(usize),
}

/// A free slot.
struct Node {
    next: Option<NonNull<Node>>,
}

/// The head of a chunk; the slots follow.
struct Chunk {
    next: Cell<Option<NonNull<Chunk>>>,
    slots: usize,
}

/// The least and the most that a chunk which the pool makes by itself takes, as far as a slot is not larger.
const LEAST_CHUNK: usize = 1 << 10;
const MOST_CHUNK: usize = 32 << 20;

/// A pool of objects of type `T` over the parent `A`; see the [module](self).
///
/// `ALIGN` raises the alignment of the objects, in bytes, a power of two; 1 leaves it at `T`'s. A pool that is not
/// `GROWABLE` asks its parent for memory only in [`preheat`](MemoryPool::preheat).
pub struct MemoryPool<T, A: Alloc, const ALIGN: usize = 1, const GROWABLE: bool = true> {
    parent: A,
    free: Cell<Option<NonNull<Node>>>,
    /// The slots not used yet in the chunk `current`.
    cursor: Cell<*mut u8>,
    end: Cell<*mut u8>,
    first: Cell<Option<NonNull<Chunk>>>,
    current: Cell<Option<NonNull<Chunk>>>,
    /// The chunk to append at.
    last: Cell<Option<NonNull<Chunk>>>,
    live: Cell<usize>,
    slots: Cell<usize>,
    held: Cell<usize>,
    created: Cell<u64>,
    peak: Cell<usize>,
    refused: Cell<u64>,
    object: PhantomData<fn() -> T>,
}

// SAFETY: what the pool points to is its own (chunks), and objects borrow from the pool, so that none is out when it
// moves to another thread; what was taken as a bare slot is the caller's to answer for.
unsafe impl<T, A: Alloc + Send, const ALIGN: usize, const GROWABLE: bool> Send
    for MemoryPool<T, A, ALIGN, GROWABLE>
{
}

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> MemoryPool<T, A, ALIGN, GROWABLE> {
    /// The size and the alignment of a slot.
    const SLOT: Layout = {
        assert!(ALIGN.is_power_of_two(), "the alignment of a pool's objects is a power of two");
        let mut align =
            if align_of::<T>() > align_of::<Node>() { align_of::<T>() } else { align_of::<Node>() };
        if ALIGN > align {
            align = ALIGN;
        }
        let size = if size_of::<T>() > size_of::<Node>() { size_of::<T>() } else { size_of::<Node>() };
        match Layout::from_size_align(size, align) {
            Ok(layout) => layout.pad_to_align(),
            Err(_) => panic!("an object of a pool is too large for its alignment"),
        }
    };

    /// Where the first slot lies in a chunk.
    const HEAD: usize = size_of::<Chunk>().next_multiple_of(Self::SLOT.align());

    /// The bytes from one slot to the next.
    pub const SLOT_SIZE: usize = Self::SLOT.size();
    /// The alignment of every object in bytes: the largest of `T`'s, `ALIGN` and a pointer's.
    pub const SLOT_ALIGN: usize = Self::SLOT.align();

    /// An empty pool, which asks the parent for nothing yet.
    pub const fn new(parent: A) -> Self {
        // Even a pool that never makes a slot has its parameters checked when it is compiled.
        let _ = Self::SLOT;
        MemoryPool {
            parent,
            free: Cell::new(None),
            cursor: Cell::new(core::ptr::null_mut()),
            end: Cell::new(core::ptr::null_mut()),
            first: Cell::new(None),
            current: Cell::new(None),
            last: Cell::new(None),
            live: Cell::new(0),
            slots: Cell::new(0),
            held: Cell::new(0),
            created: Cell::new(0),
            peak: Cell::new(0),
            refused: Cell::new(0),
            object: PhantomData,
        }
    }

    /// A pool with room for `count` objects.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the parent refuses.
    pub fn preheated(parent: A, count: usize) -> Result<Self, AllocError> {
        let pool = Self::new(parent);
        pool.preheat(count)?;
        Ok(pool)
    }

    /// Makes sure that `count` more objects can be created without asking the parent. At most one request to the parent.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the parent refuses; nothing has changed.
    pub fn preheat(&self, count: usize) -> Result<(), AllocError> {
        match count.saturating_sub(self.available()) {
            0 => Ok(()),
            missing => self.add_chunk(missing),
        }
    }

    /// How many objects can be created without asking the parent.
    pub fn available(&self) -> usize {
        self.slots.get() - self.live.get()
    }

    /// How many slots are taken.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// Puts a value into the pool.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when no slot is free and the pool may not grow or its parent refuses; the value is dropped. Where
    /// it is precious, use [`create_with`](Self::create_with).
    pub fn create(&self, value: T) -> Result<Pooled<'_, T, A, ALIGN, GROWABLE>, AllocError> {
        self.create_with(|| value)
    }

    /// Puts the value that `make` returns into the pool; `make` runs only when there is a slot.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_with(
        &self,
        make: impl FnOnce() -> T,
    ) -> Result<Pooled<'_, T, A, ALIGN, GROWABLE>, AllocError> {
        if self.available() == 0 && !GROWABLE {
            self.refused.set(self.refused.get() + 1);
            return Err(AllocError);
        }
        let slot = self.take()?;
        // Should `make` unwind, the slot comes back.
        let back = PutBack { pool: self, slot };
        let value = make();
        core::mem::forget(back);
        // SAFETY: *room*; the slot is this object's alone (*one place*).
        unsafe { slot.write(value) };
        // SAFETY: the slot was taken here and holds a value.
        Ok(unsafe { Pooled::new(self, slot) })
    }

    /// Takes a slot with arbitrary contents. The pool is not told what becomes of it until [`give`](Self::give).
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    #[inline]
    pub fn take(&self) -> Result<NonNull<T>, AllocError> {
        let slot = match self.free.get() {
            Some(node) => {
                // SAFETY: what is on the free list is a slot with a node in it (*one place*).
                self.free.set(unsafe { node.read() }.next);
                node.cast()
            }
            None => self.cut()?,
        };
        let live = self.live.get() + 1;
        self.live.set(live);
        self.created.set(self.created.get() + 1);
        if live > self.peak.get() {
            self.peak.set(live);
        }
        self.note_taken(slot.cast());
        Ok(slot)
    }

    /// Gives a slot back; an object in it is not dropped.
    ///
    /// # Panics
    ///
    /// In debug builds, when the slot is not of this pool, is no slot at all, or is free already.
    ///
    /// # Safety
    ///
    /// `slot` was [taken](Self::take) from this pool, was not given back since, and there was no reset since.
    #[inline]
    pub unsafe fn give(&self, slot: NonNull<T>) {
        self.note_given(slot.cast());
        let node = slot.cast::<Node>();
        // SAFETY: *room*; the caller gives the slot up.
        unsafe { node.write(Node { next: self.free.get() }) };
        self.free.set(Some(node));
        self.live.set(self.live.get() - 1);
    }

    /// A slot that was never used.
    fn cut(&self) -> Result<NonNull<T>, AllocError> {
        if self.cursor.get() == self.end.get() {
            self.next_chunk()?;
        }
        let slot = self.cursor.get();
        self.cursor.set(slot.wrapping_add(Self::SLOT_SIZE));
        NonNull::new(slot.cast()).ok_or(AllocError)
    }

    /// Goes on to the next chunk, which is made where there is none.
    #[cold]
    fn next_chunk(&self) -> Result<(), AllocError> {
        if self.following().is_none() {
            if !GROWABLE {
                self.refused.set(self.refused.get() + 1);
                return Err(AllocError);
            }
            // As much as there is already, so that the parent is asked seldom and no more than half lies idle.
            let most = (MOST_CHUNK / Self::SLOT_SIZE).max(1);
            let least = (LEAST_CHUNK / Self::SLOT_SIZE).clamp(4, 64).min(most);
            self.add_chunk(self.slots.get().clamp(least, most))
                .inspect_err(|_| self.refused.set(self.refused.get() + 1))?;
        }
        if let Some(next) = self.following() {
            self.enter(next);
        }
        Ok(())
    }

    /// The chunk to use up after the current one.
    fn following(&self) -> Option<NonNull<Chunk>> {
        match self.current.get() {
            // SAFETY: *chunks*.
            Some(current) => unsafe { current.as_ref() }.next.get(),
            None => self.first.get(),
        }
    }

    /// Makes `chunk` the current one, all its slots unused.
    fn enter(&self, chunk: NonNull<Chunk>) {
        // SAFETY: *chunks*.
        let slots = unsafe { chunk.as_ref() }.slots;
        let start = chunk.as_ptr().cast::<u8>().wrapping_add(Self::HEAD);
        self.cursor.set(start);
        self.end.set(start.wrapping_add(slots * Self::SLOT_SIZE));
        self.current.set(Some(chunk));
    }

    /// The layout of a chunk with so many slots.
    fn chunk_layout(slots: usize) -> Result<Layout, AllocError> {
        let each = Self::SLOT_SIZE + misuse::BYTES_A_SLOT;
        let size = slots.checked_mul(each).and_then(|bytes| bytes.checked_add(Self::HEAD));
        Layout::from_size_align(size.ok_or(AllocError)?, Self::SLOT_ALIGN).map_err(|_| AllocError)
    }

    /// Appends a chunk with so many slots.
    fn add_chunk(&self, slots: usize) -> Result<(), AllocError> {
        let layout = Self::chunk_layout(slots)?;
        let chunk = self.parent.allocate(layout)?.cast::<Chunk>();
        // SAFETY: the block is new, and its beginning is large and aligned enough for a head.
        unsafe { chunk.write(Chunk { next: Cell::new(None), slots }) };
        Self::clear_bytes(chunk, slots);
        match self.last.get() {
            // SAFETY: *chunks*.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(chunk)),
            None => self.first.set(Some(chunk)),
        }
        self.last.set(Some(chunk));
        self.slots.set(self.slots.get() + slots);
        self.held.set(self.held.get() + layout.size());
        Ok(())
    }

    /// All chunks, the oldest first.
    fn chunks(&self) -> impl Iterator<Item = NonNull<Chunk>> {
        // SAFETY: *chunks*.
        core::iter::successors(self.first.get(), |chunk| unsafe { chunk.as_ref() }.next.get())
    }

    /// Forgets every object without dropping it, and keeps or frees the chunks. None can be borrowed any more.
    pub fn reset(&mut self, mode: PoolReset) {
        self.free.set(None);
        self.live.set(0);
        match mode {
            PoolReset::FreeAll => self.keep(0),
            PoolReset::RetainCapacity => {}
            PoolReset::RetainWithLimit(limit) => self.keep(limit),
        }
        self.cursor.set(core::ptr::null_mut());
        self.end.set(core::ptr::null_mut());
        self.current.set(None);
        if let Some(first) = self.first.get() {
            self.enter(first);
        }
        if cfg!(debug_assertions) {
            // SAFETY: *chunks*.
            self.chunks().for_each(|chunk| Self::clear_bytes(chunk, unsafe { chunk.as_ref() }.slots));
        }
    }

    /// Frees the chunks that are not within `limit` bytes together.
    fn keep(&mut self, limit: usize) {
        let mut chunk = self.first.take();
        self.last.set(None);
        self.slots.set(0);
        self.held.set(0);
        while let Some(at) = chunk {
            // SAFETY: *chunks*; it is read before it is freed.
            let head = unsafe { at.read() };
            chunk = head.next.take();
            // The same as when it was made, so it is a layout.
            let Ok(layout) = Self::chunk_layout(head.slots) else { return };
            if layout.size() > limit - self.held.get() {
                // SAFETY: *chunks*; it is in the list no more.
                unsafe { self.parent.deallocate(at.cast(), layout) };
                continue;
            }
            // SAFETY: *chunks*.
            unsafe { at.write(Chunk { next: Cell::new(None), slots: head.slots }) };
            match self.last.get() {
                // SAFETY: *chunks*.
                Some(last) => unsafe { last.as_ref() }.next.set(Some(at)),
                None => self.first.set(Some(at)),
            }
            self.last.set(Some(at));
            self.slots.set(self.slots.get() + head.slots);
            self.held.set(self.held.get() + layout.size());
        }
    }
}

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Drop for MemoryPool<T, A, ALIGN, GROWABLE> {
    fn drop(&mut self) {
        self.keep(0);
    }
}

/// Gives a slot back if the making of its value unwinds.
struct PutBack<'p, T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> {
    pool: &'p MemoryPool<T, A, ALIGN, GROWABLE>,
    slot: NonNull<T>,
}

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Drop for PutBack<'_, T, A, ALIGN, GROWABLE> {
    fn drop(&mut self) {
        // SAFETY: the slot was taken for the value that was not made.
        unsafe { self.pool.give(self.slot) };
    }
}
