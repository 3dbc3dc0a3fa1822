//! The slab layer: a cache of objects of one layout.
//!
//! # Safety
//!
//! * *Ours*: slabs, records and the index come from the parent and go back with the layout of their allocation.
//! * *Record*: see [`super::record`].
//! * *Constructed*: every object of every slab was constructed when its slab came, and is destroyed before its slab
//!   goes.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::index::Index;
use super::pieces::Pieces;
use super::record::{LIVE, List, Record, Slab};
use super::shape::{PAGE, Shape};
use crate::alloc::nothing;
use crate::foreign::implement_allocator;
use crate::tally::Tally;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Reset, Stats, UsableSize};

/// What is done to an object when its slab comes, and before it goes.
///
/// # Safety
///
/// For the implementer: neither method touches other memory than the object's.
pub unsafe trait Lifecycle {
    /// Brings the bytes of an object into its constructed state.
    ///
    /// # Safety
    ///
    /// `object` is memory for one object, which nobody else uses.
    unsafe fn construct(&self, object: NonNull<u8>);

    /// Takes an object's constructed state down.
    ///
    /// # Safety
    ///
    /// `object` was constructed, and nobody uses it any more.
    unsafe fn destroy(&self, object: NonNull<u8>);
}

/// Objects are bytes, and nothing is done to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

// SAFETY: nothing is touched.
unsafe impl Lifecycle for Raw {
    #[inline]
    unsafe fn construct(&self, _: NonNull<u8>) {}

    #[inline]
    unsafe fn destroy(&self, _: NonNull<u8>) {}
}

/// How much [`SlabCache::reap`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// What nobody has needed since the last call: the slabs above the working set. For calls at intervals.
    Idle,
    /// All that is not in use. For when memory is short.
    All,
}

/// A cache of objects of one layout in slabs. See the [module](super).
pub struct SlabCache<A: Alloc, L: Lifecycle = Raw> {
    parent: A,
    lifecycle: L,
    layout: Layout,
    shape: Shape,
    /// Slabs all of whose objects are out.
    full: List,
    partial: List,
    /// Slabs none of whose objects is out.
    empty: List,
    /// The fewest empty slabs since they were last reaped: so many were not needed.
    least_empty: Cell<usize>,
    index: Index,
    /// Memory of records that are off their slabs, and of magazines.
    pieces: Pieces,
    /// Slabs taken so far, for their colours.
    taken: Cell<usize>,
    tally: Tally,
}

// SAFETY: ours: nobody else refers to slabs and records, so they may move to another thread with the cache.
unsafe impl<A: Alloc + Send, L: Lifecycle + Send> Send for SlabCache<A, L> {}

impl<A: Alloc> SlabCache<A> {
    /// A cache of blocks of `layout`, as an allocator: it serves whatever fits into one. Takes nothing from the
    /// parent yet.
    ///
    /// # Errors
    ///
    /// When `layout` is too long for a slab.
    pub fn new(parent: A, layout: Layout) -> Result<Self, AllocError> {
        Self::with_lifecycle(parent, layout, PAGE, Raw)
    }
}

impl<A: Alloc, L: Lifecycle> SlabCache<A, L> {
    /// A cache of objects with a lifecycle, in slabs of at least `page` bytes, rounded up to a power of two. Objects
    /// below an eighth of a page share the slab with its record.
    ///
    /// # Errors
    ///
    /// When `layout` is too long for a slab.
    pub fn with_lifecycle(parent: A, layout: Layout, page: usize, lifecycle: L) -> Result<Self, AllocError> {
        Ok(SlabCache {
            parent,
            lifecycle,
            layout,
            shape: Shape::new(layout, page)?,
            full: List::new(),
            partial: List::new(),
            empty: List::new(),
            least_empty: Cell::new(0),
            index: Index::new(),
            pieces: Pieces::new(),
            taken: Cell::new(0),
            tally: Tally::new(),
        })
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    pub(super) fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// How slabs are cut.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Slabs that are full, partly used, and empty.
    pub fn slabs(&self) -> [usize; 3] {
        [self.full.len(), self.partial.len(), self.empty.len()]
    }

    /// Bytes of objects that are out.
    pub fn taken_bytes(&self) -> usize {
        self.tally.stats(0).live_blocks * self.shape.stride
    }

    /// Bytes of slabs none of whose objects is out.
    pub(super) fn idle_bytes(&self) -> usize {
        self.empty.len() * self.shape.slab_bytes
    }

    fn object(&self, slab: Slab, number: usize) -> NonNull<u8> {
        let Record { base, colour, .. } = slab.get();
        // SAFETY: record: an object of the slab.
        unsafe { base.add(colour as usize + number * self.shape.stride) }
    }

    /// Takes a slab from the parent and constructs its objects.
    #[cold]
    fn grow(&self) -> Result<Slab, AllocError> {
        let shape = &self.shape;
        let base = self.parent.allocate(shape.slab()?)?.cast::<u8>();
        // Gives memory and record back should a constructor panic, and destroys what it had constructed.
        let mut unfinished = Unfinished { cache: self, base, slab: None, constructed: 0 };
        let place = if shape.on_slab {
            // SAFETY: ours: inside the slab.
            unsafe { base.add(shape.record_offset()) }
        } else {
            self.pieces.take(shape.record_bytes(), &self.parent)?
        };
        // SAFETY: ours: room for a record and its entries, at the end of the slab or on its own.
        let slab = unsafe { Slab::lay_out(place, base, shape.colour(self.taken.get()), shape.objects) };
        unfinished.slab = Some(slab);
        for number in 0..shape.objects {
            // SAFETY: constructed: the object is new, and nobody else's.
            unsafe { self.lifecycle.construct(self.object(slab, number)) };
            unfinished.constructed += 1;
        }
        if !shape.on_slab {
            self.index.insert(slab, &self.parent);
        }
        core::mem::forget(unfinished);
        self.taken.set(self.taken.get() + 1);
        self.partial.push(slab);
        Ok(slab)
    }

    /// Destroys objects of a slab that is in no list, and gives it back.
    fn give_back(&self, slab: Slab, constructed: usize) {
        for number in 0..constructed {
            // SAFETY: constructed; the slab is in no list, so nobody gets the object any more.
            unsafe { self.lifecycle.destroy(self.object(slab, number)) };
        }
        let base = slab.get().base;
        if !self.shape.on_slab {
            // SAFETY: record: taken from there, and read for the last time.
            unsafe { self.pieces.put(slab.place(), &self.parent) };
        }
        self.give_back_memory(base);
    }

    fn give_back_memory(&self, base: NonNull<u8>) {
        if let Ok(layout) = self.shape.slab() {
            // SAFETY: ours, with that layout.
            unsafe { self.parent.deallocate(base, layout) };
        }
    }

    /// The slab of an object, and its number there.
    ///
    /// # Panics
    ///
    /// When there is no object at that address, or it is not out.
    fn find(&self, object: NonNull<u8>) -> (Slab, usize) {
        let offset = object.addr().get() & (self.shape.slab_bytes - 1);
        // SAFETY: an object lies in its slab, which is aligned to its length.
        let base = unsafe { object.sub(offset) };
        let slab = if self.shape.on_slab {
            // SAFETY: record: at the end of the slab.
            let place = unsafe { base.add(self.shape.record_offset()) };
            // SAFETY: record.
            unsafe { Slab::at(place) }
        } else {
            let found = self.index.find(base.addr().get());
            found.unwrap_or_else(|| panic!("invalid free: {object:p} is in no slab of this cache"))
        };
        let offset = offset.wrapping_sub(slab.get().colour as usize);
        let number = offset / self.shape.stride;
        assert!(
            number < self.shape.objects && offset.is_multiple_of(self.shape.stride),
            "invalid free: no object begins at {object:p}"
        );
        assert!(slab.entry(number) == LIVE, "double free: the object at {object:p} is free already");
        (slab, number)
    }

    /// Takes an object, in its constructed state or in the one in which it was [put](SlabCache::put) back.
    ///
    /// # Errors
    ///
    /// When the parent has no memory for a slab.
    pub fn take(&self) -> Result<NonNull<u8>, AllocError> {
        let slab = self.take_slab().map_or_else(|| self.grow(), Ok).inspect_err(|_| self.tally.refused())?;
        // A slab in the list of partial ones, or a new one, has a free object.
        let number = slab.pop().ok_or(AllocError)?;
        if slab.get().free == super::record::NONE {
            self.partial.remove(slab);
            self.full.push(slab);
        }
        self.tally.allocated(self.layout.size());
        Ok(self.object(slab, number))
    }

    /// Whether an object can be taken without a new slab.
    pub(super) fn has_free(&self) -> bool {
        self.partial.head().is_some() || self.empty.head().is_some()
    }

    /// A slab with a free object: a partly used one, so that the others may become empty, else an empty one.
    fn take_slab(&self) -> Option<Slab> {
        self.partial.head().or_else(|| {
            let slab = self.empty.pop()?;
            self.least_empty.set(self.least_empty.get().min(self.empty.len()));
            self.partial.push(slab);
            Some(slab)
        })
    }

    /// Puts an object back.
    ///
    /// # Panics
    ///
    /// When there is no object at that address, or it is free already.
    ///
    /// # Safety
    ///
    /// The object was taken from this cache, and is in the state in which the next taker may have it.
    pub unsafe fn put(&self, object: NonNull<u8>) {
        let (slab, number) = self.find(object);
        let was_full = slab.get().free == super::record::NONE;
        slab.push(number);
        if was_full {
            self.full.remove(slab);
            self.partial.push(slab);
        }
        if slab.get().live == 0 {
            self.partial.remove(slab);
            self.empty.push(slab);
        }
        self.tally.freed(self.layout.size());
    }

    /// Destroys the objects of empty slabs and gives the slabs back to the parent; returns their bytes.
    pub fn reap(&self, reap: Reap) -> usize {
        let most = match reap {
            Reap::Idle => self.least_empty.get(),
            Reap::All => usize::MAX,
        };
        let mut count = 0;
        while let Some(slab) = if count < most { self.empty.pop() } else { None } {
            if !self.shape.on_slab {
                self.index.remove(slab);
            }
            self.give_back(slab, self.shape.objects);
            count += 1;
        }
        self.least_empty.set(self.empty.len());
        count * self.shape.slab_bytes
    }

    fn all_slabs(&self) -> impl Iterator<Item = Slab> {
        self.full.iter().chain(self.partial.iter()).chain(self.empty.iter())
    }

    fn release_all(&self) {
        for list in [&self.full, &self.partial, &self.empty] {
            while let Some(slab) = list.pop() {
                self.give_back(slab, self.shape.objects);
            }
        }
        self.index.release(&self.parent);
        self.least_empty.set(0);
    }

    /// Checks each slab's list of free objects, that it is in the list that it belongs to, and the figures. O(objects).
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn verify(&self) -> Result<(), &'static str> {
        let objects = self.shape.objects;
        let mut live = 0;
        for slab in self.all_slabs() {
            let record = slab.get();
            let (mut free, mut next) = (0, usize::from(record.free));
            while next < objects && free <= objects {
                free += 1;
                next = usize::from(slab.entry(next));
            }
            if free + usize::from(record.live) != objects {
                return Err("the list of free objects is damaged");
            }
            if (0..objects).filter(|&number| slab.entry(number) == LIVE).count() != usize::from(record.live) {
                return Err("a slab is wrong about the objects that are out");
            }
            if !self.shape.on_slab && self.index.find(record.base.addr().get()) != Some(slab) {
                return Err("a slab is not in the index");
            }
            live += usize::from(record.live);
        }
        let sorted = self.full.iter().all(|slab| usize::from(slab.get().live) == objects)
            && self.empty.iter().all(|slab| slab.get().live == 0)
            && self.partial.iter().all(|slab| (1..objects).contains(&usize::from(slab.get().live)));
        match () {
            () if !sorted => Err("a slab is in the wrong list"),
            () if live != self.tally.stats(0).live_blocks => Err("the figures are wrong"),
            () => Ok(()),
        }
    }

    /// Whether a block of `layout` is served by an object.
    fn fits(&self, layout: Layout) -> bool {
        layout.size() <= self.shape.stride && layout.align() <= self.shape.align
    }
}

/// A slab that is being made.
struct Unfinished<'c, A: Alloc, L: Lifecycle> {
    cache: &'c SlabCache<A, L>,
    base: NonNull<u8>,
    slab: Option<Slab>,
    constructed: usize,
}

impl<A: Alloc, L: Lifecycle> Drop for Unfinished<'_, A, L> {
    fn drop(&mut self) {
        match self.slab {
            Some(slab) => self.cache.give_back(slab, self.constructed),
            None => self.cache.give_back_memory(self.base),
        }
    }
}

impl<A: Alloc, L: Lifecycle> Drop for SlabCache<A, L> {
    /// Destroys all objects, those that are out, too, and gives all slabs back.
    fn drop(&mut self) {
        self.release_all();
    }
}

// SAFETY: record: an object is out once at a time, and none overlaps another.
unsafe impl<A: Alloc> Alloc for SlabCache<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if !self.fits(layout) {
            self.tally.refused();
            return Err(AllocError);
        }
        Ok(NonNull::slice_from_raw_parts(self.take()?, self.shape.stride))
    }

    /// # Panics
    ///
    /// When there is no object at that address, or it is free already.
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

impl<A: Alloc> SlabCache<A> {
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
        if self.fits(new) {
            Ok(NonNull::slice_from_raw_parts(block, self.shape.stride))
        } else {
            Err(AllocError)
        }
    }
}

// SAFETY: only addresses inside slabs are owned.
unsafe impl<A: Alloc> Owns for SlabCache<A> {
    /// O(slabs).
    fn owns(&self, address: NonNull<u8>) -> bool {
        let base = address.addr().get() & !(self.shape.slab_bytes - 1);
        self.all_slabs().any(|slab| slab.get().base.addr().get() == base)
    }
}

// SAFETY: an object is as long as its stride.
unsafe impl<A: Alloc> UsableSize for SlabCache<A> {
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 { 0 } else { self.shape.stride }
    }
}

impl<A: Alloc> Reset for SlabCache<A> {
    /// Gives all slabs back. O(slabs).
    fn reset(&mut self) {
        self.release_all();
        self.tally.reset();
    }
}

impl<A: Alloc, L: Lifecycle> Stats for SlabCache<A, L> {
    fn stats(&self) -> AllocStats {
        let slabs: usize = self.slabs().iter().sum();
        self.tally.stats(slabs * self.shape.slab_bytes + self.pieces.bytes() + self.index.bytes())
    }
}

implement_allocator!(impl[A: Alloc] SlabCache<A>);
