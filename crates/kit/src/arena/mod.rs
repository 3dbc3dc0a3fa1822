//! Arenas: allocate piece by piece, free all at once.
//!
//! [`Arena`] serves any layout; [`TypedArena`] stores values of one type, drops them, and can be walked.
//!
//! # What it is
//!
//! A list of nodes taken from the parent, each longer than all before it, the newest of which is filled from below. The
//! block that was allocated last can grow, shrink and be freed where it lies; with [`Arena::extending`], even the node can
//! grow where it lies. A [reset](Arena::reset_with) frees every block and keeps as much memory as one likes.
//!
//! ```text
//!      start                     cursor          end
//!      ▼                         ▼               ▼
//! ┌────────┬───────┬─────┬────────┬───────────────┐
//! │ header │ first │ ... │ newest │ free          │   the current node
//! └───┬────┴───────┴─────┴────────┴───────────────┘
//!     ▼ previous
//! ┌────────┬─────────────────────┐
//! │ header │ full                │
//! └────────┴─────────────────────┘
//! ```
//!
//! # Where it comes from
//!
//! Zig's `std.heap.ArenaAllocator` (0.11, 2023, for the three modes of reset; growth by half over the sum of the last
//! node and what is needed). Older: Ross, "The AED free storage package" (CACM 10:8, 1967), and Hanson's arenas of 1990.
//! `TypedArena` is the idea of the Rust compiler's `arena` (2012) and of the crate `typed-arena`.
//!
//! # When to use it, and when not
//!
//! For work with an end: a request, a frame, a command. For collections that grow, rather than [`Bump`](crate::bump::Bump),
//! since the last block grows in place. Not for objects that come and go at different times: what is not last is freed
//! only by the reset. Between rounds that repeat, reset with [`RetainCapacity`](ResetMode::RetainCapacity): from the second
//! round on the parent is not asked at all.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | an addition, a mask, a comparison |
//! | allocate when the node is full | one call of the parent; their number grows with the logarithm of the total |
//! | deallocate, grow or shrink of the newest block | constant, without a copy |
//! | deallocate of any other | a comparison; the memory stays taken |
//! | reset | one call of the parent for each node, and one more to make one node of many |
//! | memory | 32 bytes a node; at most three fifths of the total unused |
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "system", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::arena::{Arena, ResetMode};
//! use freestone_kit::c::C;
//!
//! let mut arena = Arena::new(C);
//! for request in 0..10 {
//!     let mut words = Vec::new_in(&arena);
//!     words.extend((0..request * 100).map(|n| n as u64));
//!     assert_eq!(words.len(), request * 100);
//!     drop(words);
//!     arena.reset_with(ResetMode::RetainLimit(16 << 10));
//! }
//! assert!(arena.held_bytes() <= 16 << 10);
//! # }
//! ```
//!
//! # Safety
//!
//! *Cursor*: `cursor` and `end` lie in the current node's data or at its end, `cursor <= end`; or both are one address that
//! is nobody's, and there is no node. Bytes between them belong to nobody. *List*: the nodes from `node` on came from
//! `parent` and are in no other list.
#![allow(unsafe_code)]

mod building;
mod reset;
mod storage;
mod typed;

pub use reset::ResetMode;
pub use typed::{IterMut, TypedArena};

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

use crate::alloc::{copied, nothing};
use crate::bump::chunk::{ALIGN, Chunk, FIRST, HEADER};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, ResizeInPlace};

const NOWHERE: NonNull<u8> = NonNull::without_provenance(NonZeroUsize::new(ALIGN).expect("not zero"));

/// [`ResizeInPlace::resize_in_place`] of the parent.
type Extend<A> = unsafe fn(&A, NonNull<u8>, Layout, Layout) -> Result<(), AllocError>;

/// An arena over the parent `A`.
///
/// One thread uses it at a time; it may be sent to another. For several threads, put it into
/// [`Locked`](crate::locked::Locked).
pub struct Arena<A: Alloc> {
    cursor: Cell<NonNull<u8>>,
    end: Cell<NonNull<u8>>,
    node: Cell<Option<Chunk>>,
    extend: Option<Extend<A>>,
    parent: A,
}

// SAFETY: list: all that it points to is its own or the parent's.
unsafe impl<A: Alloc + Send> Send for Arena<A> {}

impl<A: Alloc> Arena<A> {
    /// An empty one; the first request takes the first node, of half a KiB at least, from the parent.
    pub const fn new(parent: A) -> Self {
        let (cursor, end) = (Cell::new(NOWHERE), Cell::new(NOWHERE));
        Arena { cursor, end, node: Cell::new(None), extend: None, parent }
    }

    /// One that asks the parent to make a full node longer where it lies, before it takes another.
    pub const fn extending(parent: A) -> Self
    where
        A: ResizeInPlace,
    {
        let (cursor, end) = (Cell::new(NOWHERE), Cell::new(NOWHERE));
        Arena { cursor, end, node: Cell::new(None), extend: Some(A::resize_in_place), parent }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// Bytes taken from the parent, headers included.
    pub fn held_bytes(&self) -> usize {
        self.nodes().map(Chunk::len).sum()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes().count()
    }

    fn nodes(&self) -> impl Iterator<Item = Chunk> {
        Chunk::chain(self.node.get())
    }

    /// Makes `node` the current one, with all of it free.
    fn enter(&self, node: Option<Chunk>) {
        self.node.set(node);
        self.cursor.set(node.map_or(NOWHERE, Chunk::start));
        self.end.set(node.map_or(NOWHERE, Chunk::end));
    }

    /// A block from the current node.
    #[inline(always)]
    fn carve(&self, layout: Layout) -> Option<NonNull<u8>> {
        let cursor = self.cursor.get();
        let (at, end) = (cursor.addr().get(), self.end.get().addr().get());
        // Neither can overflow: a layout's size with its alignment is at most half of the addresses.
        let padding = at.wrapping_neg() & (layout.align() - 1);
        if padding + layout.size() > end - at {
            return None;
        }
        // SAFETY: cursor: that much is free.
        let block = unsafe { cursor.add(padding) };
        // SAFETY: the same.
        self.cursor.set(unsafe { block.add(layout.size()) });
        Some(block)
    }

    #[cold]
    #[inline(never)]
    fn carve_slow(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() == 0 {
            return Some(nothing(layout).cast());
        }
        let padding = if layout.align() > ALIGN { layout.align() } else { 0 };
        let data = layout.size().checked_add(padding)?.checked_next_multiple_of(ALIGN)?;
        let previous = self.node.get();
        let before = previous.map_or(0, Chunk::len);
        let enough = before.checked_add(data)?.checked_add(HEADER)?;
        let ambition = (enough.saturating_add(enough / 2) & !(ALIGN - 1)).max(FIRST);
        if !self.lengthen(ambition) {
            let node = Chunk::new(&self.parent, ambition - HEADER, ALIGN, previous)
                .or_else(|| Chunk::new(&self.parent, data, ALIGN, previous))?;
            self.enter(Some(node));
        }
        self.carve(layout)
    }

    /// Makes the current node as long as `len` where it lies, if the parent can.
    fn lengthen(&self, len: usize) -> bool {
        let (Some(extend), Some(node)) = (self.extend, self.node.get()) else { return false };
        let (block, old) = node.block();
        let Ok(new) = Layout::from_size_align(len, old.align()) else { return false };
        // SAFETY: list: a live block of the parent's that fits that layout.
        if unsafe { extend(&self.parent, block, old, new) }.is_err() {
            return false;
        }
        node.resized(len);
        self.end.set(node.end());
        true
    }

    /// Whether a block of that layout is the one that was allocated last.
    #[inline(always)]
    fn is_newest(&self, block: NonNull<u8>, layout: Layout) -> bool {
        block.addr().get() + layout.size() == self.cursor.get().addr().get()
    }

    /// Changes the length of the newest block.
    #[inline(always)]
    fn resize_newest(&self, block: NonNull<u8>, old: Layout, size: usize) -> bool {
        // A block of no bytes may have the address of no node at all.
        if old.size() == 0 || !self.is_newest(block, old) {
            return false;
        }
        if size > self.end.get().addr().get() - block.addr().get() {
            return false;
        }
        // SAFETY: cursor: the node goes on for that much behind the beginning of the block.
        self.cursor.set(unsafe { block.add(size) });
        true
    }
}

// SAFETY: cursor: blocks come from bytes that belong to nobody, which they then leave; nodes stay where they are.
unsafe impl<A: Alloc> Alloc for Arena<A> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Allocated {
        let block = match self.carve(layout) {
            Some(block) => block,
            None => self.carve_slow(layout).ok_or(AllocError)?,
        };
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    #[inline(always)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.resize_newest(block, layout, 0);
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let aligned = block.addr().get().is_multiple_of(new.align());
        if aligned && (old.size() == new.size() || self.resize_newest(block, old, new.size())) {
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        // SAFETY: the caller's promise.
        unsafe { copied(self, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if block.addr().get().is_multiple_of(new.align()) {
            self.resize_newest(block, old, new.size());
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        // SAFETY: the caller's promise.
        unsafe { copied(self, block, old, new) }
    }
}

implement_allocator!(impl[A: Alloc] Arena<A>);

// SAFETY: cursor: the newest block ends where it is told; any other stays as long as it was.
unsafe impl<A: Alloc> ResizeInPlace for Arena<A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let done = self.resize_newest(block, old, new.size()) || new.size() <= old.size();
        if done { Ok(()) } else { Err(AllocError) }
    }
}

// SAFETY: list: the nodes are where blocks come from. Takes time linear in the number of nodes.
unsafe impl<A: Alloc> Owns for Arena<A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.nodes().any(|node| node.holds(address))
    }
}

impl<A: Alloc> Capacity for Arena<A> {
    /// Of the nodes held at present: the parent may give more.
    fn capacity(&self) -> usize {
        self.nodes().map(Chunk::data).sum()
    }

    /// Nodes before the current one count as used to the end.
    fn used(&self) -> usize {
        self.capacity() - (self.end.get().addr().get() - self.cursor.get().addr().get())
    }
}

impl<A: Alloc> Drop for Arena<A> {
    fn drop(&mut self) {
        // SAFETY: list; nobody can use the blocks any more.
        unsafe { Chunk::free_chain(self.node.take(), &self.parent) };
    }
}

impl<A: Alloc> fmt::Debug for Arena<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, capacity) = (self.used(), self.capacity());
        f.debug_struct("Arena").field("used", &used).field("capacity", &capacity).finish_non_exhaustive()
    }
}
