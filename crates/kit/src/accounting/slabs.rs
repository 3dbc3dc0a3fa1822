//! A heap of slabs that knows which of them are sparse.
//!
//! ```text
//!   slab of 64 KiB, aligned to its size
//!   +--------+-------+-------+-------+----- ... ---+------+
//!   | header | block | block | block |             | rest |
//!   +--------+-------+-------+-------+----- ... ---+------+
//!      class, blocks in use, first free block, neighbours in its bucket
//!
//!   class:   bucket 0        bucket 1       bucket 2       bucket 3          full
//!            < 1/4 in use    < 1/2          < 3/4          the rest          in no list
//! ```
//!
//! Blocks come from the fullest bucket, so that sparse slabs run dry and go back to the parent. A free block holds the
//! number of the next.
//!
//! # Safety
//!
//! 1. *Slabs*: a slab is a block of the parent of [`SLAB`] bytes at a multiple of `SLAB`, with a header at its
//!    beginning, from its making until it goes back. It is in the list of its bucket; full ones have a bucket of their own.
//! 2. *Blocks*: a live block of a class lies in a slab of that class, behind the header, at a multiple of the class's
//!    size from the first. So rounding its address down gives the header.
//! 3. *Lock*: headers and free blocks are touched under the lock alone.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::hints::{Fragmentation, MoveHints};
use crate::alloc::nothing;
use crate::foreign::implement_allocator;
use crate::sync::Lock;
use crate::{Alloc, AllocError, Allocated, UsableSize};

/// Bytes of a slab, and its alignment.
pub const SLAB: usize = 64 << 10;

/// The largest block that lies in a slab; larger ones are the parent's.
pub const MOST: usize = 8 << 10;

const HEADER: usize = 64;
const QUANTUM: usize = 16;
/// 16, 32, 48, 64, then four to each doubling up to [`MOST`].
const CLASSES: usize = 32;
/// Lists of a class, by how full a slab is.
const BUCKETS: usize = 4;
/// The list of those that are full.
const FULL: usize = BUCKETS;
/// No block.
const NONE: u16 = u16::MAX;

const fn size_of_class(class: usize) -> usize {
    let (doubling, step) = (class / 4, class % 4 + 1);
    match doubling {
        0 => QUANTUM * step,
        _ => (32 << doubling) + (QUANTUM << (doubling - 1)) * step,
    }
}

const _: () = assert!(size_of_class(CLASSES - 1) == MOST && size_of_class(4) == 80 && size_of_class(3) == 64);

/// The least class whose size is at least `size` and a multiple of `align`.
fn class_of(layout: Layout) -> Option<usize> {
    if layout.size() > MOST || layout.align() > HEADER {
        return None;
    }
    let last = layout.size().max(layout.align()).max(1) - 1;
    let log = (usize::BITS - last.leading_zeros()).max(6) as usize;
    let step = if log == 6 { 4 } else { log - 3 };
    let least = (log - 6) << 2 | (last >> step) & 3;
    (least..CLASSES).find(|&class| size_of_class(class).is_multiple_of(layout.align()))
}

struct Header {
    next: *mut Header,
    prev: *mut Header,
    class: u8,
    bucket: u8,
    used: u16,
    blocks: u16,
    /// The first block that was freed.
    free: u16,
    /// Blocks from here on were never used.
    fresh: u16,
}

const _: () = assert!(size_of::<Header>() <= HEADER);

/// What is known of a class.
#[derive(Clone, Copy)]
struct Class {
    buckets: [*mut Header; BUCKETS + 1],
    /// Slabs that are not full, and their blocks in use.
    open_slabs: usize,
    open_blocks: usize,
}

struct State {
    classes: [Class; CLASSES],
    slabs: usize,
    live: usize,
}

// SAFETY: *slabs*: they belong to the heap, not to a thread.
unsafe impl Send for State {}

/// A heap that tells which blocks lie in sparse slabs. For sizes up to [`MOST`] and alignments up to 64 bytes; the rest
/// is the parent's. All threads share one lock.
pub struct Slabs<A: Alloc> {
    state: Lock<State>,
    parent: A,
}

/// Where a slab is; [`FULL`] when all its blocks are used.
fn bucket(used: u16, blocks: u16) -> usize {
    used as usize * BUCKETS / blocks as usize
}

/// The block of a slab with that number.
///
/// # Safety
///
/// *Slabs*, and the slab has so many blocks.
unsafe fn block_at(slab: *mut Header, class: usize, number: u16) -> *mut u8 {
    let offset = HEADER + number as usize * size_of_class(class);
    // SAFETY: *blocks*: within the slab.
    unsafe { slab.cast::<u8>().add(offset) }
}

/// The header of a live block's slab.
fn slab_of(block: NonNull<u8>) -> *mut Header {
    block.as_ptr().map_addr(|address| address & !(SLAB - 1)).cast()
}

impl Class {
    const EMPTY: Class = Class { buckets: [null_mut(); BUCKETS + 1], open_slabs: 0, open_blocks: 0 };

    /// Where the next block comes from; null when all slabs are full.
    fn next(&self) -> *mut Header {
        self.buckets[..FULL].iter().rev().copied().find(|slab| !slab.is_null()).unwrap_or(null_mut())
    }

    /// # Safety
    ///
    /// *Slabs* and *lock*; the slab is in no list.
    unsafe fn push(&mut self, slab: *mut Header) {
        // SAFETY: the caller's promise.
        let header = unsafe { &mut *slab };
        let bucket = bucket(header.used, header.blocks);
        let next = self.buckets[bucket];
        header.bucket = bucket as u8;
        (header.prev, header.next) = (null_mut(), next);
        // SAFETY: *slabs* and *lock*: another slab's header, or null.
        if let Some(next) = unsafe { next.as_mut() } {
            next.prev = slab;
        }
        self.buckets[bucket] = slab;
        if bucket != FULL {
            self.open_slabs += 1;
            self.open_blocks += header.used as usize;
        }
    }

    /// # Safety
    ///
    /// *Slabs* and *lock*; the slab is in its list.
    unsafe fn remove(&mut self, slab: *mut Header) {
        // SAFETY: the caller's promise.
        let header = unsafe { &*slab };
        // SAFETY: *slabs* and *lock*: another slab's header, or null.
        match unsafe { header.prev.as_mut() } {
            Some(prev) => prev.next = header.next,
            None => self.buckets[header.bucket as usize] = header.next,
        }
        // SAFETY: *slabs* and *lock*: another slab's header, or null.
        if let Some(next) = unsafe { header.next.as_mut() } {
            next.prev = header.prev;
        }
        if header.bucket as usize != FULL {
            self.open_slabs -= 1;
            self.open_blocks -= header.used as usize;
        }
    }

    /// Enters how many blocks of a slab are in use now, and moves it to its bucket.
    ///
    /// # Safety
    ///
    /// *Slabs* and *lock*.
    unsafe fn count(&mut self, slab: *mut Header, used: u16) {
        // SAFETY: the caller's promise.
        let &Header { used: was, blocks, bucket: at, .. } = unsafe { &*slab };
        let stays = bucket(used, blocks) == at as usize;
        if stays {
            self.open_blocks = self.open_blocks + used as usize - was as usize;
        } else {
            // SAFETY: it is in the list of its bucket.
            unsafe { self.remove(slab) };
        }
        // SAFETY: the caller's promise.
        unsafe { (*slab).used = used };
        if !stays {
            // SAFETY: it is in no list.
            unsafe { self.push(slab) };
        }
    }
}

impl<A: Alloc> Slabs<A> {
    /// An empty heap.
    pub const fn new(parent: A) -> Slabs<A> {
        let state = State { classes: [Class::EMPTY; CLASSES], slabs: 0, live: 0 };
        Slabs { state: Lock::new(state), parent }
    }

    const LAYOUT: Layout = match Layout::from_size_align(SLAB, SLAB) {
        Ok(layout) => layout,
        Err(_) => panic!("a slab has a layout"),
    };

    fn take(&self, class: usize) -> Result<NonNull<u8>, AllocError> {
        let mut state = self.state.lock();
        if state.classes[class].next().is_null() {
            let slab = self.parent.allocate(Self::LAYOUT)?.cast::<Header>();
            let blocks = ((SLAB - HEADER) / size_of_class(class)) as u16;
            let header = Header {
                next: null_mut(),
                prev: null_mut(),
                class: class as u8,
                bucket: 0,
                used: 0,
                blocks,
                free: NONE,
                fresh: 0,
            };
            // SAFETY: a new slab.
            unsafe { slab.write(header) };
            // SAFETY: *slabs* and *lock*; a new slab is in no list.
            unsafe { state.classes[class].push(slab.as_ptr()) };
            state.slabs += 1;
        }
        state.live += size_of_class(class);
        let entry = &mut state.classes[class];
        let slab = entry.next();
        // SAFETY: *slabs* and *lock*; not null, by the above.
        let header = unsafe { &mut *slab };
        let (number, used) = (header.free, header.used + 1);
        let block = if number == NONE {
            header.fresh += 1;
            // SAFETY: *slabs*; a slab in a bucket has a block that is free.
            unsafe { block_at(slab, class, header.fresh - 1) }
        } else {
            // SAFETY: *slabs*; the number is that of a block.
            let block = unsafe { block_at(slab, class, number) };
            // SAFETY: *lock*: a free block holds the number of the next.
            header.free = unsafe { block.cast::<u16>().read() };
            block
        };
        // SAFETY: *slabs* and *lock*.
        unsafe { entry.count(slab, used) };
        NonNull::new(block).ok_or(AllocError)
    }

    fn give(&self, class: usize, block: NonNull<u8>) {
        let slab = slab_of(block);
        let mut state = self.state.lock();
        state.live -= size_of_class(class);
        // SAFETY: *blocks* and *lock*.
        let header = unsafe { &mut *slab };
        debug_assert_eq!(header.class as usize, class, "a block is freed with a wrong layout");
        let offset = block.as_ptr().addr() - slab.addr() - HEADER;
        debug_assert!(offset.is_multiple_of(size_of_class(class)), "a block is freed by a wrong address");
        // SAFETY: *lock*: the block is free from now on.
        unsafe { block.cast::<u16>().write(header.free) };
        header.free = (offset / size_of_class(class)) as u16;
        let used = header.used - 1;
        let entry = &mut state.classes[class];
        // SAFETY: *slabs* and *lock*.
        unsafe { entry.count(slab, used) };
        // The last slab with room is kept, though it is empty: the next block would need it again.
        if used == 0 && entry.open_slabs > 1 {
            // SAFETY: *slabs* and *lock*; it is in the list of its bucket.
            unsafe { entry.remove(slab) };
            state.slabs -= 1;
            if let Some(slab) = NonNull::new(slab.cast::<u8>()) {
                // SAFETY: *slabs*: nobody has a block of it, and it is in no list.
                unsafe { self.parent.deallocate(slab, Self::LAYOUT) };
            }
        }
    }
}

impl<A: Alloc> Drop for Slabs<A> {
    /// All slabs go back, with whatever was not freed. Blocks above [`MOST`] are the parent's.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        for class in &mut state.classes {
            for bucket in class.buckets {
                let mut at = bucket;
                while let Some(slab) = NonNull::new(at) {
                    // SAFETY: *slabs*.
                    at = unsafe { slab.as_ref() }.next;
                    // SAFETY: *slabs*; the heap is gone, and with it the right to its blocks.
                    unsafe { self.parent.deallocate(slab.cast(), Self::LAYOUT) };
                }
            }
        }
    }
}

// SAFETY: *blocks*; they do not move with the heap.
unsafe impl<A: Alloc> Alloc for Slabs<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        match class_of(layout) {
            Some(class) => Ok(NonNull::slice_from_raw_parts(self.take(class)?, size_of_class(class))),
            None => self.parent.allocate(layout),
        }
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        match class_of(layout) {
            _ if layout.size() == 0 => {}
            Some(class) => self.give(class, block),
            // SAFETY: the caller's promise: it came from there.
            None => unsafe { self.parent.deallocate(block, layout) },
        }
    }
}

// SAFETY: all sizes up to the class's lead to the same class.
unsafe impl<A: Alloc> UsableSize for Slabs<A> {
    unsafe fn usable_size(&self, _block: NonNull<u8>, layout: Layout) -> usize {
        class_of(layout).filter(|_| layout.size() > 0).map_or(layout.size(), size_of_class)
    }
}

// SAFETY: a block is relocated as the trait does it, by another one and a copy.
unsafe impl<A: Alloc> MoveHints for Slabs<A> {
    /// As Redis asks its patched jemalloc (2017): yes for a block of a slab that has room, is not the one that the next
    /// block comes from, and is no fuller than nine eighths of the average of all slabs of its class that have room.
    unsafe fn should_move(&self, block: NonNull<u8>, layout: Layout) -> bool {
        let Some(class) = class_of(layout).filter(|_| layout.size() > 0) else { return false };
        let state = self.state.lock();
        let entry = &state.classes[class];
        let slab = slab_of(block);
        // SAFETY: *blocks* and *lock*.
        let header = unsafe { &*slab };
        let sparse = header.used as usize * entry.open_slabs * 8 <= entry.open_blocks * 9;
        header.used < header.blocks && slab != entry.next() && sparse
    }

    fn fragmentation(&self) -> Fragmentation {
        let state = self.state.lock();
        Fragmentation { active: state.slabs * SLAB, live: state.live }
    }
}

implement_allocator!(impl[A: Alloc] Slabs<A>);
