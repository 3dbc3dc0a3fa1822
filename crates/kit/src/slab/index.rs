//! From the address of a slab to its record, where that lies elsewhere: a hash table, as in the paper.
//!
//! # Safety
//!
//! *Buckets*: `more` points at `2^bits` buckets from the parent, all written, or there are none; a chain holds slabs
//! of this cache alone.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::record::Slab;
use crate::{Alloc, AllocError};

/// All slabs whose records are off them.
pub struct Index {
    /// The buckets while there are few slabs.
    first: [Cell<Option<Slab>>; 1 << FIRST_BITS],
    more: Cell<Option<NonNull<Cell<Option<Slab>>>>>,
    bits: Cell<u32>,
    len: Cell<usize>,
}

const FIRST_BITS: u32 = 4;
/// The table doubles when there are so many slabs to a bucket.
const CROWD: usize = 2;

fn layout(bits: u32) -> Result<Layout, AllocError> {
    Layout::array::<Cell<Option<Slab>>>(1 << bits).map_err(|_| AllocError)
}

impl Index {
    pub const fn new() -> Index {
        let first = [const { Cell::new(None) }; 1 << FIRST_BITS];
        Index { first, more: Cell::new(None), bits: Cell::new(FIRST_BITS), len: Cell::new(0) }
    }

    /// Bytes taken from the parent.
    pub fn bytes(&self) -> usize {
        self.more.get().and_then(|_| layout(self.bits.get()).ok()).map_or(0, |layout| layout.size())
    }

    /// The buckets of a table.
    fn buckets(&self, more: Option<NonNull<Cell<Option<Slab>>>>, bits: u32) -> &[Cell<Option<Slab>>] {
        match more {
            // SAFETY: buckets: so many, all written.
            Some(more) => unsafe { core::slice::from_raw_parts(more.as_ptr(), 1 << bits) },
            None => &self.first,
        }
    }

    fn bucket(&self, base: usize) -> &Cell<Option<Slab>> {
        let hash = (base as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - self.bits.get());
        &self.buckets(self.more.get(), self.bits.get())[hash as usize]
    }

    /// The slab with its memory at `base`.
    pub fn find(&self, base: usize) -> Option<Slab> {
        let mut chain = core::iter::successors(self.bucket(base).get(), |slab| slab.get().chain);
        chain.find(|slab| slab.get().base.addr().get() == base)
    }

    fn enter(&self, slab: Slab) {
        let bucket = self.bucket(slab.get().base.addr().get());
        slab.update(|record| record.chain = bucket.get());
        bucket.set(Some(slab));
    }

    /// Enters a slab. A larger table comes out of `parent`; where that has none, a crowded one works, too.
    pub fn insert(&self, slab: Slab, parent: &impl Alloc) {
        if self.len.get() >= CROWD << self.bits.get() {
            self.enlarge(parent);
        }
        self.enter(slab);
        self.len.set(self.len.get() + 1);
    }

    fn enlarge(&self, parent: &impl Alloc) {
        let (old, old_bits) = (self.more.get(), self.bits.get());
        let Ok(Ok(buckets)) = layout(old_bits + 1).map(|layout| parent.allocate(layout)) else { return };
        let buckets = buckets.cast::<Cell<Option<Slab>>>();
        for n in 0..2 << old_bits {
            // SAFETY: inside the new block.
            let bucket = unsafe { buckets.add(n) };
            // SAFETY: the same.
            unsafe { bucket.write(Cell::new(None)) };
        }
        self.more.set(Some(buckets));
        self.bits.set(old_bits + 1);
        for bucket in self.buckets(old, old_bits) {
            let mut next = bucket.take();
            while let Some(slab) = next {
                next = slab.get().chain;
                self.enter(slab);
            }
        }
        Self::give_back(old, old_bits, parent);
    }

    fn give_back(buckets: Option<NonNull<Cell<Option<Slab>>>>, bits: u32, parent: &impl Alloc) {
        if let (Some(buckets), Ok(layout)) = (buckets, layout(bits)) {
            // SAFETY: buckets: from the parent, with that layout, and no longer used.
            unsafe { parent.deallocate(buckets.cast(), layout) };
        }
    }

    pub fn remove(&self, slab: Slab) {
        let bucket = self.bucket(slab.get().base.addr().get());
        let chain = slab.get().chain;
        if bucket.get() == Some(slab) {
            bucket.set(chain);
        } else {
            let mut links = core::iter::successors(bucket.get(), |slab| slab.get().chain);
            if let Some(before) = links.find(|before| before.get().chain == Some(slab)) {
                before.update(|record| record.chain = chain);
            }
        }
        self.len.set(self.len.get() - 1);
    }

    /// Forgets all slabs and gives the table back.
    pub fn release(&self, parent: &impl Alloc) {
        Self::give_back(self.more.take(), self.bits.get(), parent);
        self.bits.set(FIRST_BITS);
        self.first.iter().for_each(|bucket| bucket.set(None));
        self.len.set(0);
    }
}
