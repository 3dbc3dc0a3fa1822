//! The program break as an allocator: memory that only ever grows, in power-of-two slots.
//!
//! # What it is
//!
//! Memory comes from a [`Break`], which moves up and never down. Slots are powers of two from 16 bytes on: up to 32 KiB they
//! are cut from big pages of 64 KiB, above that they are one, two, four … big pages. A freed slot goes to the list of its
//! size, whose link lies in the slot's last word. That word is kept free for it: no link ever lies in a user's bytes.
//!
//! ```text
//! slot of 64 bytes            ┌────────────────────────────────────────┬──────┐
//!                             │ 56 bytes for the user                  │ link │
//!                             └────────────────────────────────────────┴──────┘
//! big page of 64 KiB          [slot][slot][slot]......next ─►
//! free[64]  ─► slot ─► slot
//! ```
//!
//! # Where it comes from
//!
//! Zig's `std.heap.SbrkAllocator` (2023, split from its `WasmAllocator`); `brk` and `sbrk` are from the first edition of Unix
//! (1971).
//!
//! # When to use it, and when not
//!
//! Where the break is all there is: small machines, kernels, WebAssembly's memory, a buffer ([`Within`]). On Linux take
//! [`Page`](crate::page::Page) instead: the break belongs to the C library's `malloc`, which moves it too.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate, deallocate | constant, under a lock |
//! | grow and shrink within the slot | constant |
//! | allocate with no free slot, at the end of the big page | a call of the break |
//! | memory | up to half of it unused inside slots; nothing ever goes back |
//!
//! Alignments up to 64 KiB are served, above that refused.
//!
//! # Example
//!
//! ```
//! use freestone_kit::sbrk::{Sbrk, Within};
//! use freestone_kit::{Alloc, UsableSize};
//! use std::alloc::Layout;
//! use std::mem::MaybeUninit;
//!
//! let mut buffer = vec![MaybeUninit::uninit(); 256 << 10];
//! let sbrk = Sbrk::new(Within::new(&mut buffer));
//! let layout = Layout::new::<[u64; 6]>();
//! let block = sbrk.allocate(layout).unwrap().cast();
//! // SAFETY: a live block of that layout, not used after it is freed.
//! unsafe {
//!     assert_eq!(sbrk.usable_size(block, layout), 56);
//!     sbrk.deallocate(block, layout);
//! }
//! ```
//!
//! # Safety
//!
//! *Slot*: a slot is a power of two in size, at a multiple of that size or of 64 KiB, came from the break, and is a live block's, or
//! in one list, or not cut yet. The links of free slots are written and read under the lock alone.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::sync::Lock;
use crate::{Alloc, AllocError, Allocated, ResizeInPlace, UsableSize};

/// Something that has memory up to a border which moves up.
///
/// # Safety
///
/// The bytes that [`extend`](Break::extend) returns may be read and written, are the caller's alone, and stay for as long as
/// the source does, also when it is moved. Where they follow on what it returned before, both are parts of one allocation.
pub unsafe trait Break {
    /// Moves the border up by so many bytes; returns the first of them.
    fn extend(&self, bytes: usize) -> Option<NonNull<u8>>;
}

/// The break of this process.
#[derive(Debug)]
pub struct ProgramBreak(());

impl ProgramBreak {
    /// Access to the break.
    ///
    /// # Safety
    ///
    /// While [`Break::extend`] runs, no other thread moves the break: `sbrk` reads it and then sets it. The C library's
    /// `malloc` may move it at any call from any thread; so this is for a program with one thread, or with another
    /// `malloc`.
    pub const unsafe fn new() -> ProgramBreak {
        ProgramBreak(())
    }
}

// SAFETY: the system's new memory is nobody's; the promise of `new` keeps it so. It stays until the end of the process,
// unless someone moves the break down, who would take it from `malloc` as well.
unsafe impl Break for ProgramBreak {
    fn extend(&self, bytes: usize) -> Option<NonNull<u8>> {
        let _preserved = freestone_sys::linux::PreservedErrno::new();
        // SAFETY: the increment is positive, so that nothing in use is given up.
        let old = unsafe { libc::sbrk(isize::try_from(bytes).ok()?) };
        (old.addr() != usize::MAX).then(|| NonNull::new(old.cast())).flatten()
    }
}

/// A break that moves through a buffer.
#[derive(Debug)]
pub struct Within<'b> {
    free: Lock<NonNull<[u8]>>,
    buffer: PhantomData<&'b mut [MaybeUninit<u8>]>,
}

// SAFETY: the buffer is borrowed for it alone.
unsafe impl Send for Within<'_> {}
// SAFETY: the lock orders what threads do.
unsafe impl Sync for Within<'_> {}

impl<'b> Within<'b> {
    /// From the buffer's first byte on.
    pub const fn new(buffer: &'b mut [MaybeUninit<u8>]) -> Within<'b> {
        let len = buffer.len();
        // SAFETY: a reference is not null.
        let start = unsafe { NonNull::new_unchecked(buffer.as_mut_ptr().cast::<u8>()) };
        Within { free: Lock::new(NonNull::slice_from_raw_parts(start, len)), buffer: PhantomData }
    }
}

// SAFETY: each part of the buffer is given out once.
unsafe impl Break for Within<'_> {
    fn extend(&self, bytes: usize) -> Option<NonNull<u8>> {
        let mut free = self.free.lock();
        let left = free.len().checked_sub(bytes)?;
        let first = free.cast::<u8>();
        // SAFETY: the buffer goes on for that much.
        let rest = unsafe { first.add(bytes) };
        *free = NonNull::slice_from_raw_parts(rest, left);
        Some(first)
    }
}

/// Bytes in a big page.
const BIG: usize = 64 << 10;
/// The smallest slot, as a power of two: a link and as much again.
const LEAST: u32 = 4;
const LINK: usize = size_of::<Option<Slot>>();
const CLASSES: usize = (usize::BITS - LEAST) as usize;

#[derive(Clone, Copy)]
struct Slot(NonNull<u8>);

struct State {
    /// The free slots of each size, each leading to the next.
    free: [Option<Slot>; CLASSES],
    /// What is not cut yet of the big page of each size.
    uncut: [Option<Slot>; CLASSES],
    /// What the break gave and no slot is made of.
    top: NonNull<u8>,
    top_len: usize,
}

// SAFETY: slot: what it points to belongs to whoever has the state.
unsafe impl Send for State {}

/// An allocator over a break. All threads may use it.
pub struct Sbrk<B> {
    state: Lock<State>,
    source: B,
}

/// The slot's size as a power of two, for a layout that is not of zero size.
fn order(layout: Layout) -> Option<u32> {
    let len = layout.size().checked_add(LINK)?.max(layout.align());
    let order = len.checked_next_power_of_two()?.trailing_zeros().max(LEAST);
    (order < usize::BITS - 1 && layout.align() <= BIG).then_some(order)
}

fn usable(order: u32) -> usize {
    (1 << order) - LINK
}

impl<B: Break> Sbrk<B> {
    /// One that has taken nothing yet.
    pub const fn new(source: B) -> Sbrk<B> {
        let (free, uncut) = ([None; CLASSES], [None; CLASSES]);
        Sbrk { state: Lock::new(State { free, uncut, top: NonNull::dangling(), top_len: 0 }), source }
    }
}

impl State {
    fn link(slot: Slot, order: u32) -> NonNull<Option<Slot>> {
        // SAFETY: slot: it is that long.
        unsafe { slot.0.add(usable(order)).cast() }
    }

    fn push(&mut self, slot: Slot, order: u32) {
        let head = &mut self.free[(order - LEAST) as usize];
        // SAFETY: slot: it is nobody's, and long enough for a link at its end, which is aligned there.
        unsafe { State::link(slot, order).write(*head) };
        *head = Some(slot);
    }

    fn pop(&mut self, order: u32) -> Option<Slot> {
        let head = &mut self.free[(order - LEAST) as usize];
        let slot = (*head)?;
        // SAFETY: slot: free ones have a link at their end.
        *head = unsafe { State::link(slot, order).read() };
        Some(slot)
    }

    fn take<B: Break>(&mut self, order: u32, source: &B) -> Option<Slot> {
        if let Some(slot) = self.pop(order) {
            return Some(slot);
        }
        let size = 1_usize << order;
        if size >= BIG {
            return self.big_pages(size, source);
        }
        let class = (order - LEAST) as usize;
        let slot = match self.uncut[class] {
            Some(slot) => slot,
            None => self.big_pages(BIG, source)?,
        };
        // SAFETY: slot: the big page goes on at least to the slot's end.
        let next = unsafe { slot.0.add(size) };
        self.uncut[class] = (!next.addr().get().is_multiple_of(BIG)).then_some(Slot(next));
        Some(slot)
    }

    /// So many bytes, some big pages, at a multiple of a big page.
    fn big_pages<B: Break>(&mut self, bytes: usize, source: &B) -> Option<Slot> {
        for attempt in 0..3 {
            let gap = self.top.addr().get().wrapping_neg() % BIG;
            let needed = gap.checked_add(bytes)?;
            if needed <= self.top_len {
                // SAFETY: the top goes on for that much.
                let slot = unsafe { self.top.add(gap) };
                // SAFETY: the same.
                self.top = unsafe { slot.add(bytes) };
                self.top_len -= needed;
                return Some(Slot(slot));
            }
            // If others moved the break, what it gives does not follow on: then it must be enough by itself, wherever it begins.
            let asked = if attempt == 0 { needed - self.top_len } else { bytes.checked_add(BIG)? };
            let more = source.extend(asked)?;
            if self.top_len != 0 && more.addr().get() == self.top.addr().get() + self.top_len {
                self.top_len += asked;
            } else {
                (self.top, self.top_len) = (more, asked);
            }
        }
        None
    }
}

// SAFETY: slot; the state is reached under the lock alone.
unsafe impl<B: Break> Alloc for Sbrk<B> {
    /// # Errors
    ///
    /// [`AllocError`] also for alignments above 64 KiB.
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let order = order(layout).ok_or(AllocError)?;
        let slot = self.state.lock().take(order, &self.source).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(slot.0, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0
            && let Some(order) = order(layout)
        {
            self.state.lock().push(Slot(block), order);
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let stays = unsafe { self.resize_in_place(block, old, new) }.is_ok();
        if stays && block.addr().get().is_multiple_of(new.align()) {
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the same with a smaller size, which `grow` copes with.
        unsafe { self.grow(block, old, new) }
    }
}

implement_allocator!(impl[B: Break] Sbrk<B>);

// SAFETY: slot: all of it but the link may be used, and every size up to there, and above the half, has that slot.
unsafe impl<B: Break> UsableSize for Sbrk<B> {
    unsafe fn usable_size(&self, _block: NonNull<u8>, layout: Layout) -> usize {
        match order(layout) {
            Some(order) if layout.size() != 0 => usable(order),
            _ => layout.size(),
        }
    }
}

// SAFETY: slot: the size of a block is told by its layout alone.
unsafe impl<B: Break> ResizeInPlace for Sbrk<B> {
    unsafe fn resize_in_place(
        &self,
        _block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<(), AllocError> {
        let same = (old.size() == 0) == (new.size() == 0) && order(old) == order(new);
        if same { Ok(()) } else { Err(AllocError) }
    }
}
