//! From the address of a slab to its record, where that lies elsewhere: a hash table, as in the paper.
//!
//! # Safety
//!
//! *Buckets*: `buckets` points at `2^bits` buckets from the parent, all written, or there are none; a chain holds slabs of this
//! cache alone.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::record::Slab;
use crate::{Alloc, AllocError};

/// All slabs whose records are off them.
pub struct Index {
    buckets: Cell<Option<NonNull<Option<Slab>>>>,
    bits: Cell<u32>,
    len: Cell<usize>,
}

const FIRST_BITS: u32 = 4;
/// The table doubles when there are so many slabs to a bucket.
const CROWD: usize = 2;

fn layout(bits: u32) -> Result<Layout, AllocError> {
    Layout::array::<Option<Slab>>(1 << bits).map_err(|_| AllocError)
}

impl Index {
    pub const fn new() -> Index {
        Index { buckets: Cell::new(None), bits: Cell::new(0), len: Cell::new(0) }
    }

    /// Bytes taken from the parent.
    pub fn bytes(&self) -> usize {
        self.buckets.get().and_then(|_| layout(self.bits.get()).ok()).map_or(0, |layout| layout.size())
    }

    fn bucket(&self, base: usize) -> Option<NonNull<Option<Slab>>> {
        let hash = (base as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - self.bits.get());
        // SAFETY: buckets: the hash has as many bits as they have.
        self.buckets.get().map(|buckets| unsafe { buckets.add(hash as usize) })
    }

    fn head(bucket: NonNull<Option<Slab>>) -> Option<Slab> {
        // SAFETY: buckets.
        unsafe { bucket.read() }
    }

    fn set_head(bucket: NonNull<Option<Slab>>, slab: Option<Slab>) {
        // SAFETY: buckets.
        unsafe { bucket.write(slab) };
    }

    /// The slab with its memory at `base`.
    pub fn find(&self, base: usize) -> Option<Slab> {
        let chain = core::iter::successors(Self::head(self.bucket(base)?), |slab| slab.get().chain);
        chain.into_iter().find(|slab| slab.get().base.addr().get() == base)
    }

    fn enter(&self, slab: Slab) {
        if let Some(bucket) = self.bucket(slab.get().base.addr().get()) {
            slab.update(|record| record.chain = Self::head(bucket));
            Self::set_head(bucket, Some(slab));
        }
    }

    /// Enters a slab; the table comes, and grows, out of `parent`.
    pub fn insert(&self, slab: Slab, parent: &impl Alloc) -> Result<(), AllocError> {
        if self.buckets.get().is_none() {
            self.resize(FIRST_BITS, parent)?;
        } else if self.len.get() >= CROWD << self.bits.get() {
            // A crowded table works, too.
            let _ = self.resize(self.bits.get() + 1, parent);
        }
        self.enter(slab);
        self.len.set(self.len.get() + 1);
        Ok(())
    }

    fn resize(&self, bits: u32, parent: &impl Alloc) -> Result<(), AllocError> {
        let buckets = parent.allocate(layout(bits)?)?.cast::<Option<Slab>>();
        for n in 0..1 << bits {
            // SAFETY: inside the new block.
            Self::set_head(unsafe { buckets.add(n) }, None);
        }
        let (old, old_bits) = (self.buckets.replace(Some(buckets)), self.bits.replace(bits));
        let Some(old) = old else { return Ok(()) };
        for n in 0..1 << old_bits {
            // SAFETY: buckets: the old ones, as many as there were.
            let mut next = Self::head(unsafe { old.add(n) });
            while let Some(slab) = next {
                next = slab.get().chain;
                self.enter(slab);
            }
        }
        Self::give_back(old, old_bits, parent);
        Ok(())
    }

    fn give_back(buckets: NonNull<Option<Slab>>, bits: u32, parent: &impl Alloc) {
        if let Ok(layout) = layout(bits) {
            // SAFETY: buckets: from the parent, with that layout, and no longer used.
            unsafe { parent.deallocate(buckets.cast(), layout) };
        }
    }

    pub fn remove(&self, slab: Slab) {
        let base = slab.get().base.addr().get();
        let Some(bucket) = self.bucket(base) else { return };
        let chain = slab.get().chain;
        if Self::head(bucket) == Some(slab) {
            Self::set_head(bucket, chain);
        } else {
            let mut links = core::iter::successors(Self::head(bucket), |slab| slab.get().chain);
            if let Some(before) = links.find(|before| before.get().chain == Some(slab)) {
                before.update(|record| record.chain = chain);
            }
        }
        self.len.set(self.len.get() - 1);
    }

    /// Gives the table back.
    pub fn release(&self, parent: &impl Alloc) {
        if let Some(buckets) = self.buckets.take() {
            Self::give_back(buckets, self.bits.get(), parent);
        }
        self.len.set(0);
    }
}
