//! The magazine layer: what lets many processors use one cache.
//!
//! # Safety
//!
//! *Magazine*: see [`super::magazine`]: each is with one processor, in the depot, or with the thread that carries it
//! from one to the other. The rounds of a magazine are objects that are out of the slabs and with nobody.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::cache::{Lifecycle, Raw, Reap, SlabCache};
use super::cpu;
use super::magazine::{Magazine, Stack};
use crate::alloc::nothing;
use crate::foreign::implement_allocator;
use crate::sync::{Guard, Lock};
use crate::{Alloc, AllocError, Allocated};

/// Two magazines, so that a thread which takes and puts by turns at the edge of one does not go to the depot each time.
#[derive(Default)]
struct Cpu {
    loaded: Option<Magazine>,
    /// Full or empty, as a rule: the one that was loaded before.
    previous: Option<Magazine>,
}

// SAFETY: magazine: a processor's magazines are its own, and may be used by whatever thread holds its lock.
unsafe impl Send for Cpu {}

/// Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
struct CpuSlot(Lock<Cpu>);

/// Full and empty magazines.
struct Depot {
    full: Stack,
    empty: Stack,
    /// Rounds of a magazine, at present.
    capacity: usize,
    most_capacity: usize,
    /// Exchanges in the present window, and how many of them found the lock taken.
    exchanges: u32,
    contended: u32,
    resizes: u32,
}

/// Rounds of magazines, and up to which size of objects they may be: as in Solaris.
const CAPACITIES: [(usize, usize); 9] = [
    (1, usize::MAX),
    (3, 65_536),
    (7, 32_768),
    (15, 16_384),
    (31, 8192),
    (47, 4096),
    (63, 2048),
    (95, 1024),
    (143, 512),
];
/// Exchanges after which the depot looks at its contention.
const WINDOW: u32 = 64;
/// So many of them contended are too many.
const CONTENDED: u32 = 4;

impl Depot {
    fn new(stride: usize) -> Depot {
        let most_capacity = CAPACITIES
            .iter()
            .filter(|(_, most)| stride < *most)
            .map(|(rounds, _)| *rounds)
            .max()
            .unwrap_or(1);
        let first = if stride > 3200 {
            1
        } else if stride > 256 {
            3
        } else if stride > 64 {
            7
        } else {
            15
        };
        Depot {
            full: Stack::new(),
            empty: Stack::new(),
            capacity: first.min(most_capacity),
            most_capacity,
            exchanges: 0,
            contended: 0,
            resizes: 0,
        }
    }

    /// Counts an exchange. Where the lock is contended, magazines become larger, so that it is taken less often.
    fn count(&mut self, contended: bool) {
        self.exchanges += 1;
        self.contended += u32::from(contended);
        if self.exchanges == WINDOW {
            if self.contended >= CONTENDED && self.capacity < self.most_capacity {
                let next =
                    CAPACITIES.iter().map(|(rounds, _)| *rounds).find(|rounds| *rounds > self.capacity);
                self.capacity = next.unwrap_or(self.capacity);
                self.resizes += 1;
            }
            (self.exchanges, self.contended) = (0, 0);
        }
    }
}

/// What the magazine layer did and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MagazineStats {
    /// Rounds of a new magazine, at present.
    pub capacity: usize,
    /// Times that the magazines were made larger.
    pub resizes: u32,
    /// Full magazines in the depot.
    pub full: usize,
    /// Empty magazines in the depot.
    pub empty: usize,
    /// Objects in the magazines of processors.
    pub loaded: usize,
}

/// A [`SlabCache`] for many threads: magazines for each of `CPUS` processors, a depot, and the slabs, each behind a
/// lock of its own. See the [module](super).
pub struct Magazines<A: Alloc, L: Lifecycle = Raw, const CPUS: usize = 8> {
    cpus: [CpuSlot; CPUS],
    depot: Lock<Depot>,
    /// Below all: taken last, and by nobody who holds the depot.
    slabs: Lock<SlabCache<A, L>>,
    stride: usize,
    align: usize,
}

impl<A: Alloc, const CPUS: usize> Magazines<A, Raw, CPUS> {
    /// A shared cache of blocks of `layout`, as an allocator: it serves whatever fits into one.
    ///
    /// # Errors
    ///
    /// When `layout` is too long for a slab.
    pub fn new(parent: A, layout: Layout) -> Result<Self, AllocError> {
        Ok(Self::over(SlabCache::new(parent, layout)?))
    }
}

impl<A: Alloc, L: Lifecycle, const CPUS: usize> Magazines<A, L, CPUS> {
    /// The magazine layer over a cache.
    pub fn over(slabs: SlabCache<A, L>) -> Self {
        const { assert!(CPUS > 0, "one processor at least") };
        let shape = slabs.shape();
        Magazines {
            cpus: [const { CpuSlot(Lock::new(Cpu { loaded: None, previous: None })) }; CPUS],
            depot: Lock::new(Depot::new(shape.stride)),
            slabs: Lock::new(slabs),
            stride: shape.stride,
            align: shape.align,
        }
    }

    /// Looks at the slabs, which nobody else uses meanwhile; no object may be taken or put by `look`.
    pub fn with_slabs<R>(&self, look: impl FnOnce(&SlabCache<A, L>) -> R) -> R {
        look(&self.slabs.lock())
    }

    /// What it did and holds.
    pub fn magazine_stats(&self) -> MagazineStats {
        let loaded = self.cpus.iter().map(|cpu| {
            let cpu = cpu.0.lock();
            [cpu.loaded, cpu.previous].into_iter().flatten().map(Magazine::rounds).sum::<usize>()
        });
        let loaded = loaded.sum();
        let depot = self.depot.lock();
        MagazineStats {
            capacity: depot.capacity,
            resizes: depot.resizes,
            full: depot.full.len(),
            empty: depot.empty.len(),
            loaded,
        }
    }

    fn cpu(&self) -> &Lock<Cpu> {
        &self.cpus[cpu::current() % CPUS].0
    }

    /// The depot, and whether it had to be waited for.
    fn depot(&self) -> Guard<'_, Depot> {
        let (mut depot, contended) = match self.depot.try_lock() {
            Some(depot) => (depot, false),
            None => (self.depot.lock(), true),
        };
        depot.count(contended);
        depot
    }

    /// Takes a full magazine home from the depot, and leaves an empty one there.
    fn swap_for_full(&self, empty: &mut Option<Magazine>) -> Option<Magazine> {
        let mut depot = self.depot();
        let full = depot.full.pop()?;
        let left = empty.take();
        match left {
            Some(left) if left.capacity() == depot.capacity => depot.empty.push(left),
            Some(outdated) => {
                drop(depot);
                let slabs = self.slabs.lock();
                outdated.free(slabs.pieces(), slabs.parent());
            }
            None => {}
        }
        Some(full)
    }

    /// Brings a full magazine to the depot, and takes an empty one home, a new one if need be.
    fn swap_for_empty(&self, full: Option<Magazine>) -> Option<Magazine> {
        let mut outdated = Stack::new();
        let mut depot = self.depot();
        if let Some(full) = full {
            depot.full.push(full);
        }
        let capacity = depot.capacity;
        let mut empty = depot.empty.pop();
        while let Some(magazine) = empty.filter(|magazine| magazine.capacity() != capacity) {
            outdated.push(magazine);
            empty = depot.empty.pop();
        }
        drop(depot);
        if empty.is_some() && outdated.len() == 0 {
            return empty;
        }
        let slabs = self.slabs.lock();
        while let Some(magazine) = outdated.pop() {
            magazine.free(slabs.pieces(), slabs.parent());
        }
        empty.or_else(|| Magazine::new(capacity, slabs.pieces(), slabs.parent()).ok())
    }

    /// Takes an object, in its constructed state or in the one in which it was [put](Magazines::put) back.
    ///
    /// # Errors
    ///
    /// When no magazine has one, and the parent has no memory for a slab.
    pub fn take(&self) -> Result<NonNull<u8>, AllocError> {
        let mut guard = self.cpu().lock();
        let cpu = &mut *guard;
        if let Some(object) = cpu.loaded.and_then(Magazine::pop) {
            return Ok(object);
        }
        if let Some(object) = cpu.previous.and_then(Magazine::pop) {
            core::mem::swap(&mut cpu.loaded, &mut cpu.previous);
            return Ok(object);
        }
        if let Some(full) = self.swap_for_full(&mut cpu.previous) {
            cpu.previous = cpu.loaded.replace(full);
            if let Some(object) = full.pop() {
                return Ok(object);
            }
        }
        drop(guard);
        self.slabs.lock().take()
    }

    /// Puts an object back.
    ///
    /// # Panics
    ///
    /// In debug builds when the object is in a magazine of this processor already; always when it comes to the slabs
    /// and is not out of them.
    ///
    /// # Safety
    ///
    /// The object was taken from this cache, and is in the state in which the next taker may have it.
    pub unsafe fn put(&self, object: NonNull<u8>) {
        let mut guard = self.cpu().lock();
        let cpu = &mut *guard;
        debug_assert!(
            ![cpu.loaded, cpu.previous].into_iter().flatten().any(|magazine| magazine.holds(object)),
            "double free: the object at {object:p} is free already"
        );
        if cpu.loaded.is_some_and(|loaded| loaded.push(object)) {
            return;
        }
        if cpu.previous.is_some_and(|previous| previous.push(object)) {
            core::mem::swap(&mut cpu.loaded, &mut cpu.previous);
            return;
        }
        if let Some(empty) = self.swap_for_empty(cpu.previous.take()) {
            cpu.previous = cpu.loaded.replace(empty);
            if empty.push(object) {
                return;
            }
        }
        drop(guard);
        // SAFETY: the caller's promise.
        unsafe { self.slabs.lock().put(object) }
    }

    /// Gives back what is idle, or all that is not in use: magazines first, whose rounds go to the slabs, then slabs.
    /// Returns the bytes of the slabs given back.
    pub fn reap(&self, reap: Reap) -> usize {
        let mut taken = Stack::new();
        if reap == Reap::All {
            for cpu in &self.cpus {
                let Cpu { loaded, previous } = core::mem::take(&mut *cpu.0.lock());
                [loaded, previous].into_iter().flatten().for_each(|magazine| taken.push(magazine));
            }
        }
        let mut depot = self.depot.lock();
        let Depot { full, empty, .. } = &mut *depot;
        for stack in [full, empty] {
            let idle = stack.start_interval();
            let count = if reap == Reap::All { stack.len() } else { idle };
            (0..count).filter_map(|_| stack.pop()).for_each(|magazine| taken.push(magazine));
            stack.start_interval();
        }
        drop(depot);
        let slabs = self.slabs.lock();
        while let Some(magazine) = taken.pop() {
            while let Some(object) = magazine.pop() {
                // SAFETY: magazine: taken from the slabs, with nobody, and in a state for the next.
                unsafe { slabs.put(object) };
            }
            magazine.free(slabs.pieces(), slabs.parent());
        }
        slabs.reap(reap)
    }

    fn fits(&self, layout: Layout) -> bool {
        layout.size() <= self.stride && layout.align() <= self.align
    }
}

impl<A: Alloc, L: Lifecycle, const CPUS: usize> Drop for Magazines<A, L, CPUS> {
    /// Frees the magazines. Their rounds are destroyed with their slabs.
    fn drop(&mut self) {
        let slabs = self.slabs.get_mut();
        for cpu in &mut self.cpus {
            let Cpu { loaded, previous } = core::mem::take(cpu.0.get_mut());
            [loaded, previous]
                .into_iter()
                .flatten()
                .for_each(|magazine| magazine.free(slabs.pieces(), slabs.parent()));
        }
        let Depot { full, empty, .. } = self.depot.get_mut();
        for stack in [full, empty] {
            while let Some(magazine) = stack.pop() {
                magazine.free(slabs.pieces(), slabs.parent());
            }
        }
    }
}

// SAFETY: magazine: an object is with one thread at a time; none overlaps another.
unsafe impl<A: Alloc, const CPUS: usize> Alloc for Magazines<A, Raw, CPUS> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if !self.fits(layout) {
            return Err(AllocError);
        }
        Ok(NonNull::slice_from_raw_parts(self.take()?, self.stride))
    }

    /// # Panics
    ///
    /// As [`Magazines::put`].
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller's promise; any bytes will do for the next.
            unsafe { self.put(block) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }
}

impl<A: Alloc, const CPUS: usize> Magazines<A, Raw, CPUS> {
    /// All sizes of a block are the same block.
    ///
    /// # Safety
    ///
    /// As [`Alloc::grow`] or [`Alloc::shrink`].
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 {
            return self.allocate(new);
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(block, old) };
            return Ok(nothing(new));
        }
        if self.fits(new) { Ok(NonNull::slice_from_raw_parts(block, self.stride)) } else { Err(AllocError) }
    }
}

implement_allocator!(impl[A: Alloc, const CPUS: usize] Magazines<A, Raw, CPUS>);
