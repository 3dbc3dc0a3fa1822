//! Free lists in as many slots as there are CPUs; a thread tries a slot's lock and moves on when somebody has it.
//!
//! # What it is
//!
//! A fixed array of slots, each with a lock and a free list for every power of two. A thread remembers its slot and tries the
//! lock; it hardly ever fails, since no more threads run than there are CPUs. When it does fail, the thread goes
//! on to the next slot and keeps to that one from then on. So threads spread by themselves, no memory belongs to a
//! thread, and what a thread leaves behind when it ends is found by the next one that comes along.
//!
//! A slot without a free block looks once at the next slot before it takes a fresh slab from the parent. Blocks above half a
//! slab come from the parent directly. A block never changes sides in place; so its size alone says where it belongs, and
//! nothing is stored with it.
//!
//! ```text
//!  thread ─ remembers ─► 2          slots, a cache line or more each
//!                     ┌──────┬──────┬──────┬──────┐
//!                     │ lock │ lock │ lock │ lock │   try, else the next
//!                     │ 8  ──┼─► free block ─► …  │
//!                     │ 16   │ next ─┐ end        │
//!                     │ …    │ ┌─────▼─────────┐  │
//!                     └──────┘ │ slab, cut up  │◄─┘
//!                              └───────────────┘
//! ```
//!
//! # Where it comes from
//!
//! `std.heap.SmpAllocator` of Zig 0.14 (Andrew Kelley, February 2025). As in its first release slabs are of 64 KiB and a free block's link
//! lies in the block (newer ones use 256 KiB and put the link behind the user's bytes, which makes a block of 16 bytes take
//! 32); `SLAB` sets the length. Unlike there, any number of instances can live side by side, and one that ends gives all back.
//!
//! # When to use it
//!
//! As the general allocator of a program with threads, in some 200 lines: with
//! [`AsGlobal`](crate::global) for the whole of it, or for one subsystem whose memory is to end with it.
//! Not where memory must go back to the system before the end (it never does, but for large blocks), nor where sizes
//! just above a power of two are frequent (up to half a block is rounding).
//!
//! # Cost
//!
//! | operation | time |
//! |---|---|
//! | allocate, deallocate | an exchange to lock, a store to unlock, a few instructions between; a look at a second slot and a slab from the parent on a miss |
//! | grow, shrink within a class | nothing |
//! | above half a slab | the parent's |
//!
//! The slots take about 500 bytes each, whether used or not.
//!
//! # Example
//!
//! ```
//! use freestone_kit::page::Page;
//! use freestone_kit::smp::Smp;
//! use freestone_kit::Alloc;
//! use core::alloc::Layout;
//!
//! static SMP: Smp = Smp::new(Page);
//!
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| {
//!             let layout = Layout::new::<[u64; 10]>();
//!             let block = SMP.allocate(layout).unwrap();
//!             // SAFETY: a live block of that layout.
//!             unsafe { SMP.deallocate(block.cast(), layout) };
//!         });
//!     }
//! });
//! assert_eq!(SMP.held() % (64 << 10), 0);
//! ```
//!
//! A length of slabs that makes no sense does not compile:
//!
//! ```compile_fail,E0080
//! # use freestone_kit::{page::Page, smp::Smp};
//! let smp = Smp::<Page, 5000>::custom(Page);
//! ```
//!
//! # Safety
//!
//! 1. *Locked*: the lists of a slot are used under its lock only. Blocks pass from thread to thread through it: its release
//!    pairs with the acquire of whoever takes it next.
//! 2. *Free*: a free list holds blocks of its class that nobody uses; their first word links them.
//! 3. *Fresh*: between `next` and `end` of a class lies memory of a slab that was never handed out.
//! 4. *Slabs*: every slab is in the directory of the slot that fetched it, and stays until the allocator goes.
//! 5. *Side*: size and alignment of a layout say whether a block is the parent's, and else its class.
#![allow(unsafe_code)]

// A model brings its own.
#[cfg(not(loom))]
mod home;
mod lists;
mod slot;

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
#[cfg(loom)]
use crate::home;
use crate::page::Page;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::{Alloc, AllocError, Allocated, Remap, ResizeInPlace, UsableSize};

use slot::{Locked, Slot};

/// The least block, in bytes: a link fits in.
const LEAST: usize = 8;
/// Slabs are aligned to this; blocks of a larger alignment come from the parent.
const SLAB_ALIGN: usize = 4096;
/// Classes there can be: up to half of the longest slab.
const CLASSES: usize = 19;

/// The class of a block, and the side that it is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Small(usize),
    Parent,
}

/// Free lists in slots over the parent `P`; see the [module](self).
///
/// `SLAB` is the length of a slab in bytes, a power of two from 4 KiB to 4 MiB; `SLOTS` the most slots that are used, where
/// there are so many CPUs.
pub struct Smp<P: Alloc = Page, const SLAB: usize = { 64 << 10 }, const SLOTS: usize = 128> {
    parent: P,
    /// How many slots are in use; zero: not asked yet.
    used: AtomicUsize,
    slots: [Slot; SLOTS],
}

impl<P: Alloc> Smp<P> {
    /// One with slabs of 64 KiB and up to 128 slots, which has asked its parent for nothing yet. Usable in a `static`.
    pub const fn new(parent: P) -> Self {
        Self::custom(parent)
    }
}

impl<P: Alloc, const SLAB: usize, const SLOTS: usize> Smp<P, SLAB, SLOTS> {
    /// The largest block in bytes that does not come from the parent directly.
    pub const MOST: usize = {
        assert!(SLAB.is_power_of_two() && SLAB >= SLAB_ALIGN, "a slab is a power of two of 4 KiB or more");
        assert!(SLAB / 2 <= LEAST << (CLASSES - 1), "a slab has at most 4 MiB");
        assert!(SLOTS > 0, "without a slot there is nowhere to go");
        SLAB / 2
    };

    /// One with slabs of `SLAB` bytes and up to `SLOTS` slots, which has asked its parent for nothing yet.
    pub const fn custom(parent: P) -> Self {
        // Even one that is never used has its parameters checked when it is compiled.
        let _ = Self::MOST;
        Smp { parent, used: AtomicUsize::new(0), slots: [const { Slot::new() }; SLOTS] }
    }

    /// The same with so many slots, whatever the number of CPUs; at least one, at most `SLOTS`.
    pub fn with_slots(parent: P, slots: usize) -> Self {
        let smp = Self::custom(parent);
        smp.used.store(slots.clamp(1, SLOTS), Ordering::Relaxed);
        smp
    }

    /// The parent.
    pub const fn parent(&self) -> &P {
        &self.parent
    }

    /// How many slots there are: one for every CPU, up to `SLOTS`.
    pub fn slots(&self) -> usize {
        // Relaxed: whoever finds zero asks the system for the same number.
        match self.used.load(Ordering::Relaxed) {
            0 => {
                let slots = home::cpus().clamp(1, SLOTS);
                self.used.store(slots, Ordering::Relaxed);
                slots
            }
            slots => slots,
        }
    }

    /// The bytes of all slabs. Large blocks are not in it.
    pub fn held(&self) -> usize {
        self.slots.iter().map(|slot| slot.lock().slabs()).sum::<usize>() * SLAB
    }

    fn side(layout: Layout) -> Side {
        let size = layout.size().max(layout.align()).max(LEAST);
        if size > Self::MOST || layout.align() > SLAB_ALIGN {
            return Side::Parent;
        }
        Side::Small(size.next_power_of_two().trailing_zeros() as usize - LEAST.trailing_zeros() as usize)
    }

    /// What a block of a class has.
    fn size(class: usize) -> usize {
        LEAST << class
    }

    /// Locks this thread's slot, or the next that is free, which is then its own.
    fn lock(&self) -> Locked<'_> {
        let home = home::get();
        // Another instance may have more slots.
        if home < self.slots()
            && let Some(lists) = self.slots[home].try_lock()
        {
            return lists;
        }
        self.lock_next(home)
    }

    /// Locks the first slot behind `from` that is free, which is this thread's from now on.
    #[cold]
    fn lock_next(&self, from: usize) -> Locked<'_> {
        let slots = self.slots();
        let mut at = from % slots;
        loop {
            at = (at + 1) % slots;
            if let Some(lists) = self.slots[at].try_lock() {
                home::set(at);
                return lists;
            }
            if at == from % slots {
                // All are taken, so a thread that has one waits for a CPU.
                home::pause();
            }
        }
    }

    fn take(&self, class: usize) -> Result<NonNull<u8>, AllocError> {
        let size = Self::size(class);
        if let Some(block) = self.lock().take(class, size) {
            return Ok(block);
        }
        // Another slot may have what a thread that moved or ended left behind.
        let mut lists = self.lock_next(home::get());
        if let Some(block) = lists.take(class, size) {
            return Ok(block);
        }
        let layout = Layout::from_size_align(SLAB, SLAB_ALIGN).map_err(|_| AllocError)?;
        lists.add_slab(class, layout, &self.parent)?;
        lists.take(class, size).ok_or(AllocError)
    }

    fn block(block: NonNull<u8>, class: usize) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(block, Self::size(class))
    }
}

// SAFETY: a block that was taken from a list or a slab is in none any more (*free*, *fresh*), has its class's size and that
// alignment up to a slab's, and stays where it is when the allocator moves (*slabs*); others are the parent's (*side*).
unsafe impl<P: Alloc, const SLAB: usize, const SLOTS: usize> Alloc for Smp<P, SLAB, SLOTS> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        match Self::side(layout) {
            _ if layout.size() == 0 => Ok(nothing(layout)),
            Side::Small(class) => self.take(class).map(|block| Self::block(block, class)),
            Side::Parent => self.parent.allocate(layout),
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() > 0 && Self::side(layout) == Side::Parent {
            return self.parent.allocate_zeroed(layout);
        }
        let block = Alloc::allocate(self, layout)?;
        // SAFETY: the block is new and that long.
        unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        Ok(block)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        match Self::side(layout) {
            _ if layout.size() == 0 => {}
            // SAFETY: *side*; the caller gives the block up, which has room for a link.
            Side::Small(class) => unsafe { self.lock().give(class, block) },
            // SAFETY: *side*; the caller's promise.
            Side::Parent => unsafe { self.parent.deallocate(block, layout) },
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::side(old), Self::side(new)) {
            _ if old.size() == 0 => Alloc::allocate(self, new),
            (Side::Small(class), Side::Small(wanted)) if class == wanted => Ok(Self::block(block, class)),
            // SAFETY: *side*; the caller's promise.
            (Side::Parent, Side::Parent) => unsafe { self.parent.grow(block, old, new) },
            // SAFETY: the caller's promise.
            _ => unsafe { moved(self, block, old, new) },
        }
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() > 0 && (Self::side(old), Self::side(new)) == (Side::Parent, Side::Parent) {
            // SAFETY: *side*; the caller's promise.
            return unsafe { self.parent.grow_zeroed(block, old, new) };
        }
        // SAFETY: the caller's promise.
        let grown = unsafe { self.grow(block, old, new) }?;
        // SAFETY: the block is longer than `old`.
        let tail = unsafe { grown.cast::<u8>().add(old.size()) };
        // SAFETY: that many bytes follow, and none was kept.
        unsafe { tail.write_bytes(0, grown.len() - old.size()) };
        Ok(grown)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::side(old), Self::side(new)) {
            _ if old.size() == 0 => Alloc::allocate(self, new),
            (Side::Small(class), Side::Small(wanted)) if class == wanted && new.size() > 0 => {
                Ok(Self::block(block, class))
            }
            // SAFETY: *side*; the caller's promise.
            (Side::Parent, Side::Parent) if new.size() > 0 => unsafe { self.parent.shrink(block, old, new) },
            // SAFETY: the caller's promise.
            _ => unsafe { moved(self, block, old, new) },
        }
    }
}

// SAFETY: a small block may be used whole; of others no more is told than was asked for.
unsafe impl<P: Alloc, const SLAB: usize, const SLOTS: usize> UsableSize for Smp<P, SLAB, SLOTS> {
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        match Self::side(layout) {
            Side::Small(class) if layout.size() > 0 => Self::size(class),
            _ => layout.size(),
        }
    }
}

// SAFETY: within a class there is room; the parent's blocks are resized by the parent; no block crosses the border.
unsafe impl<P: ResizeInPlace, const SLAB: usize, const SLOTS: usize> ResizeInPlace for Smp<P, SLAB, SLOTS> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        match (Self::side(old), Self::side(new)) {
            _ if (old.size() == 0) != (new.size() == 0) => Err(AllocError),
            (Side::Small(class), Side::Small(wanted)) if class == wanted => Ok(()),
            // SAFETY: *side*; the caller's promise.
            (Side::Parent, Side::Parent) if new.size() > 0 => unsafe {
                self.parent.resize_in_place(block, old, new)
            },
            _ => Err(AllocError),
        }
    }
}

// SAFETY: as for a resize in place.
unsafe impl<P: Remap, const SLAB: usize, const SLOTS: usize> Remap for Smp<P, SLAB, SLOTS> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::side(old), Self::side(new)) {
            (Side::Parent, Side::Parent) if old.size() > 0 && new.size() > 0 => {
                // SAFETY: *side*; the caller's promise.
                unsafe { self.parent.remap(block, old, new) }
            }
            _ => {
                // SAFETY: the caller's promise.
                unsafe { self.resize_in_place(block, old, new) }?;
                Ok(NonNull::slice_from_raw_parts(block, new.size()))
            }
        }
    }
}

impl<P: Alloc, const SLAB: usize, const SLOTS: usize> Drop for Smp<P, SLAB, SLOTS> {
    fn drop(&mut self) {
        let Ok(layout) = Layout::from_size_align(SLAB, SLAB_ALIGN) else { return };
        for slot in &mut self.slots {
            // SAFETY: *slabs*; no block outlives its allocator.
            unsafe { slot.get_mut().release(layout, &self.parent) };
        }
    }
}

implement_allocator!(impl[P: Alloc, const SLAB: usize, const SLOTS: usize] Smp<P, SLAB, SLOTS>);
