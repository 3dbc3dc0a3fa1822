//! Bins, a top chunk and a designated victim: the design of Doug Lea's malloc.
//!
//! # What it is
//!
//! A general heap for one thread at a time that is hard to beat for its size. [`Bins`] takes *segments* from its
//! parent and cuts them into *chunks*. A live chunk costs 8 bytes: its head, with its length and two flags. A free
//! chunk also writes its length behind itself, into the first word of the chunk above, whose caller does not own that
//! word then; so neighbours merge in both directions.
//!
//! ```text
//!          ┌───────────── live ─────────────┐┌──────────────── free ────────────────┐┌─ live …
//! segment: |   …   | head |     payload      |   …   | head | next | previous |  …  | size | head | payload
//!                          └─ to here, the first word of the next chunk included ─┘
//! ```
//!
//! Where a request is looked for, in this order:
//!
//! 1. below 512 bytes, the *quick list* of its size: up to eight chunks freed lately, which have not been merged;
//! 2. the *small bin* of its exact size (a list for each multiple of 16), or of one step more;
//! 3. the *designated victim*, what the last split of a chunk left over: consecutive small requests lie side by side;
//! 4. the small bins above, then the *large bins*: sixteen to a doubling, found through a map of bits. A request of 512
//!    bytes or more begins here, and gets the victim only when no bin has anything for it;
//! 5. the *top*, the chunk at the end of the newest segment;
//! 6. what waits in quick lists, merged now;
//! 7. a new segment.
//!
//! A request of [`mmap_threshold`](BinsConfig::mmap_threshold) bytes or more (128 KiB) goes to the parent, and so
//! does its resizing: over a parent that remaps pages, a growing block is not copied. Segments in which nothing is
//! live go back to the parent when more than [`trim_threshold`](BinsConfig::trim_threshold) bytes lie idle (2 MiB), or
//! at once by [`trim`](Bins::trim).
//!
//! # Where it comes from
//!
//! Doug Lea, *A Memory Allocator* (1996), and dlmalloc, in the public domain: the chunks with their tags, the bins, the
//! top, the mmap border, the quick lists ("fastbins") and the map of bits of 2.7 (2001), the designated victim and the threshold for trimming
//! of 2.8.6 (2012). Written anew from the description. What differs: all chunks are aligned to 16, so small
//! bins are 16 bytes apart; segments grow with the heap; quick lists are short, so that they are no matter of
//! fragmentation. The large bins are neither the sorted lists of 2.7 nor the digital trees of 2.8, but the two levels of
//! bits of Masmano and others' TLSF (2004): a tree yields the best fit, and each step down it is a miss of the CPU's caches.
//! With trees and without quick lists the same work took 1.7 to 2.3 times as long, and the trace of `docs/kit.md` as much memory (to
//! 0.2 % of fragmentation, `cargo run --release --example b06_policies`).
//!
//! # When to use it
//!
//! As the heap over any source of memory: pages, a buffer, a shared mapping. For many threads put it into
//! [`Arenas`](crate::arenas::Arenas) or [`Locked`](crate::locked). Where all requests have one size, a pool or a slab
//! is smaller and faster.
//!
//! # Costs
//!
//! All requests and frees take O(1), but that one request or free in thousands merges all chunks that wait, 240 at most, of 62
//! KiB together. A change of size in place takes O(1). The heap itself takes 5 KiB, most of them for large bins, a segment 48 bytes. Freeing the last live block of a segment walks the list of segments, of which
//! there are a few dozen at most, since each new one is at least a sixteenth of the heap.
//!
//! ```
//! use freestone_kit::bins::Bins;
//! use freestone_kit::buddy::Buddy;
//! use freestone_kit::{Alloc, Stats};
//! use std::alloc::Layout;
//! use std::mem::MaybeUninit;
//!
//! let mut memory = vec![MaybeUninit::uninit(); 1 << 20];
//! let bins = Bins::new(Buddy::<_, 12, 20>::over(&mut memory));
//! let layout = Layout::from_size_align(100, 8)?;
//! let (first, second) = (bins.allocate(layout)?, bins.allocate(layout)?);
//! // 100 bytes and 8 for the head, rounded to 112: the second lies right behind the first.
//! assert_eq!(second.cast::<u8>().addr().get() - first.cast::<u8>().addr().get(), 112);
//! for block in [first, second] {
//!     // SAFETY: the block is live, and has that layout.
//!     unsafe { bins.deallocate(block.cast(), layout) };
//! }
//! assert_eq!(bins.stats().live_blocks, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Safety
//!
//! * *Ours*: segments and direct blocks come from the parent and go back with the layout of their allocation; all
//!   that is read and written lies in them.
//! * *Tiled*: see the module `chunk`; between two calls no two free chunks are neighbours, and each is in its bin, the victim,
//!   or the top.
//! * *Direct*: see the module `direct`; whether a block is direct follows from its layout, and from every layout that it fits.
#![allow(unsafe_code)]

mod chunk;
mod direct;
mod heap;
mod large;
mod list;
mod quick;
mod small;

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Reset, ResizeInPlace, Stats, UsableSize};
use chunk::{Chunk, OVERHEAD};
use direct::Direct;
pub use heap::{Bins, BinsConfig};

/// Above this alignment blocks are direct, too.
const MOST_ALIGN: usize = 4096;

impl<A: Alloc> Bins<A> {
    fn is_direct(&self, layout: Layout) -> bool {
        layout.size() >= self.config.mmap_threshold || layout.align() > MOST_ALIGN
    }

    /// What the caller may use of a live chunk: less than what makes a layout direct.
    fn usable(&self, chunk: Chunk) -> usize {
        (chunk.size() - OVERHEAD).min(self.config.mmap_threshold - 1)
    }

    fn given(&self, chunk: Chunk) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(chunk.payload(), self.usable(chunk))
    }

    fn serve(&self, layout: Layout, zeroed: bool) -> Allocated {
        let served = if self.is_direct(layout) {
            self.directs.allocate(&self.parent, layout, zeroed).map(Direct::given)
        } else {
            self.allocate_chunk(layout).map(|chunk| self.given(chunk))
        };
        match served {
            Ok(_) => self.tally.allocated(layout.size()),
            Err(_) => self.tally.refused(),
        }
        served
    }

    /// A live chunk that was given out.
    ///
    /// # Safety
    ///
    /// `block` came from this heap and is not direct.
    unsafe fn live(block: NonNull<u8>) -> Chunk {
        // SAFETY: the caller's promise.
        let chunk = unsafe { Chunk::with_payload(block) };
        assert!(chunk.is_taken(), "double or invalid free: the chunk at {block:p} is free");
        assert!(
            chunk.is_end() || chunk.next().is_previous_live(),
            "heap damaged: the head behind the chunk at {block:p} was overwritten"
        );
        chunk
    }

    /// Resizes without a copy of ours.
    ///
    /// # Safety
    ///
    /// As [`Alloc::grow`] or [`Alloc::shrink`].
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout, stay: bool) -> Allocated {
        let direct = self.is_direct(old);
        let misplaced = !block.addr().get().is_multiple_of(new.align());
        if old.size() == 0 || new.size() == 0 || direct != self.is_direct(new) || misplaced {
            return Err(AllocError);
        }
        let resized = if !direct {
            // SAFETY: the caller's promise.
            let chunk = unsafe { Self::live(block) };
            self.resize_chunk(chunk, new)?;
            self.given(chunk)
        } else {
            // SAFETY: direct: the caller's promise.
            let direct = unsafe { Direct::new(block) };
            if stay {
                return Err(AllocError);
            }
            self.directs.resize(&self.parent, direct, new)?.given()
        };
        self.tally.resized(old.size(), new.size());
        Ok(resized)
    }
}

// SAFETY: tiled: a chunk is in no bin while it is live. Direct blocks are the parent's.
unsafe impl<A: Alloc> Alloc for Bins<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 { Ok(nothing(layout)) } else { self.serve(layout, false) }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let block = self.serve(layout, true)?;
        if !self.is_direct(layout) {
            // SAFETY: the block is new and that long.
            unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        }
        Ok(block)
    }

    /// # Panics
    ///
    /// When the chunk is free already, or the head behind it was overwritten.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        if self.is_direct(layout) {
            // SAFETY: direct: the caller's promise.
            self.directs.deallocate(&self.parent, unsafe { Direct::new(block) });
        } else {
            // SAFETY: the caller's promise.
            self.release(unsafe { Self::live(block) });
        }
        self.tally.freed(layout.size());
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let resized = unsafe { self.resize(block, old, new, false) };
        // SAFETY: the caller's promise; nothing has changed.
        resized.or_else(|_| unsafe { moved(self, block, old, new) })
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let resized = unsafe { self.resize(block, old, new, false) };
        // SAFETY: the caller's promise; nothing has changed.
        resized.or_else(|_| unsafe { moved(self, block, old, new) })
    }
}

// SAFETY: only addresses inside segments and direct blocks are owned.
unsafe impl<A: Alloc> Owns for Bins<A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        let address = address.addr().get();
        self.segments().any(|segment| segment.contains(address)) || self.directs.owns(address)
    }
}

// SAFETY: all of a chunk but its head may be used, the word behind it included; and a layout of that size is not
// direct.
unsafe impl<A: Alloc> UsableSize for Bins<A> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 {
            0
        } else if self.is_direct(layout) {
            // SAFETY: direct: the caller's promise.
            unsafe { Direct::new(block) }.usable()
        } else {
            // SAFETY: the caller's promise.
            self.usable(unsafe { Self::live(block) })
        }
    }
}

// SAFETY: what is added was free, what is cut off lies behind the new size.
unsafe impl<A: Alloc> ResizeInPlace for Bins<A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new, true) }.map(|_| ())
    }
}

impl<A: Alloc> Reset for Bins<A> {
    /// Gives everything back to the parent. O(segments and direct blocks).
    fn reset(&mut self) {
        self.release_all();
        self.tally.reset();
    }
}

impl<A: Alloc> Stats for Bins<A> {
    fn stats(&self) -> AllocStats {
        self.tally.stats(self.held.get() + self.directs.bytes())
    }
}

implement_allocator!(impl[A: Alloc] Bins<A>);
