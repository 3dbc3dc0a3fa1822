//! The heap proper: regions, and blocks that are carved, merged, extended and cut.
//!
//! # Safety
//!
//! As in the [module above](super).
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::block::{Block, Kind, LEAST, MOST, REGION_OVERHEAD, Region, TAGS, UNIT};
use super::policy::Policy;
use crate::tally::Tally;
use crate::{Alloc, AllocError, Allocated};

/// Bytes of a region, unless a request needs more or [`Textbook::with_region`] says otherwise.
pub const REGION: usize = 64 << 10;

/// Free lists with boundary tags over a parent, the free block chosen by `P`. See the [module](super).
pub struct Textbook<P: Policy, A: Alloc> {
    pub(super) policy: P,
    parent: A,
    region_bytes: usize,
    /// All regions by address.
    regions: Cell<Option<Region>>,
    /// Regions with nothing live in them.
    pub(super) empty: Cell<usize>,
    pub(super) held: Cell<usize>,
    /// Bytes of live blocks, tags included.
    pub(super) taken: Cell<usize>,
    pub(super) tally: Tally,
}

// SAFETY: ours: nobody else refers to the regions, so they may move to another thread with the heap.
unsafe impl<P: Policy, A: Alloc + Send> Send for Textbook<P, A> {}

/// The bytes of the block that serves `layout`, without what alignment needs.
#[inline]
fn block_size(layout: Layout) -> Result<usize, AllocError> {
    let payload = layout.size().checked_next_multiple_of(UNIT).ok_or(AllocError)?;
    let size = payload.max(LEAST - TAGS).checked_add(TAGS).ok_or(AllocError)?;
    if size > MOST { Err(AllocError) } else { Ok(size) }
}

fn region_layout(bytes: usize) -> Result<Layout, AllocError> {
    Layout::from_size_align(bytes, UNIT).map_err(|_| AllocError)
}

impl<P: Policy, A: Alloc> Textbook<P, A> {
    /// An empty heap, which takes regions of [`REGION`] bytes. Takes nothing from the parent yet.
    pub fn new(parent: A) -> Self {
        Self::with_region(parent, REGION)
    }

    /// An empty heap, which takes regions of at least `bytes` bytes; rounded to a multiple of 16.
    pub fn with_region(parent: A, bytes: usize) -> Self {
        Textbook {
            policy: P::default(),
            parent,
            region_bytes: bytes.clamp(REGION_OVERHEAD + LEAST, MOST).next_multiple_of(UNIT),
            regions: Cell::new(None),
            empty: Cell::new(0),
            held: Cell::new(0),
            taken: Cell::new(0),
            tally: Tally::new(),
        }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// Bytes in live blocks now, tags, rounding and padding included.
    pub fn taken_bytes(&self) -> usize {
        self.taken.get()
    }

    /// The sizes of all free blocks, tags included, by address. O(blocks).
    pub fn free_blocks(&self) -> impl Iterator<Item = usize> {
        self.blocks().filter(|(_, kind)| *kind == Kind::Free).map(|(size, _)| size)
    }

    pub(super) fn regions(&self) -> impl Iterator<Item = Region> {
        core::iter::successors(self.regions.get(), |region| region.next())
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, Kind)> {
        self.regions().flat_map(|region| {
            core::iter::successors(Some(region.first()), |block| Some(block.next()))
                .map(|block| (block.tag().size(), block.tag().kind()))
                .take_while(|(_, kind)| *kind != Kind::Edge)
        })
    }

    /// Checks that tags tile every region, that no two free blocks are neighbours, and the figures. O(blocks).
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn verify(&self) -> Result<(), &'static str> {
        let mut held = 0;
        let mut empty = 0;
        for region in self.regions() {
            held += region.bytes();
            empty += usize::from(region.is_empty());
            if region.next().is_some_and(|next| next <= region) {
                return Err("the regions are not in order");
            }
            let mut block = region.first();
            while block.tag().kind() != Kind::Edge {
                let next = block.next();
                if next.tag_before() != block.tag() {
                    return Err("a header and its footer differ");
                }
                if block.is_free() && next.is_free() {
                    return Err("two free neighbours were not merged");
                }
                block = next;
            }
            if block.address() + TAGS / 2 != region.start().addr().get() + region.bytes() {
                return Err("the blocks do not end where the region does");
            }
        }
        let taken: usize = self.blocks().filter(|(_, kind)| *kind == Kind::Live).map(|(size, _)| size).sum();
        if (held, empty, taken) != (self.held.get(), self.empty.get(), self.taken.get()) {
            return Err("the figures are wrong");
        }
        Ok(())
    }

    /// Takes a region with room for a block of `size` bytes.
    #[cold]
    fn add_region(&self, size: usize) -> Result<Block, AllocError> {
        let least = size.checked_add(REGION_OVERHEAD).ok_or(AllocError)?;
        let bytes = least.max(self.region_bytes);
        let start = self.parent.allocate(region_layout(bytes)?)?.cast();
        // SAFETY: ours, just allocated, with that size and alignment.
        let region = unsafe { Region::lay_out(start, bytes) };
        let before = self.regions().take_while(|other| *other < region).last();
        let next = before.map_or(self.regions.get(), Region::next);
        region.set_next(next);
        match before {
            Some(before) => before.set_next(Some(region)),
            None => self.regions.set(Some(region)),
        }
        self.held.set(self.held.get() + bytes);
        self.empty.set(self.empty.get() + 1);
        self.policy.region_added(region.front(), next.map(Region::front));
        self.policy.insert(region.first());
        Ok(region.first())
    }

    /// Gives the region back, one free block of which was just made and is in a list.
    #[cold]
    fn remove_region(&self, region: Region) {
        self.policy.remove(region.first());
        self.policy.region_removed(region.front());
        let before = self.regions().take_while(|other| *other < region).last();
        match before {
            Some(before) => before.set_next(region.next()),
            None => self.regions.set(region.next()),
        }
        self.held.set(self.held.get() - region.bytes());
        self.return_region(region);
    }

    fn return_region(&self, region: Region) {
        // The layout was valid when the region was allocated.
        if let Ok(layout) = region_layout(region.bytes()) {
            // SAFETY: ours, and nothing in it is live or in a list.
            unsafe { self.parent.deallocate(region.start(), layout) };
        }
    }

    pub(super) fn release_all(&self) {
        let mut next = self.regions.take();
        while let Some(region) = next {
            next = region.next();
            self.return_region(region);
        }
    }

    /// The region that a free block fills from end to end.
    fn region_filled_by(&self, block: Block) -> Option<Region> {
        if block.tag_before().kind() != Kind::Edge || block.next().tag().kind() != Kind::Edge {
            return None;
        }
        self.regions().find(|region| region.first() == block)
    }

    fn find(&self, size: usize) -> Result<Block, AllocError> {
        self.policy.find(size).map_or_else(|| self.add_region(size), Ok)
    }

    /// Takes `size` bytes, `skip` bytes up, out of a free block that is in a list; what is left stays in the lists.
    /// `skip` is 0 or enough for a block.
    fn carve(&self, block: Block, skip: usize, size: usize) -> Block {
        let found = block.size();
        if self.region_edges(block) {
            self.empty.set(self.empty.get() - 1);
        }
        // SAFETY: tagged: inside the block that was found.
        let taken = unsafe { block.offset(skip) };
        let rest = found - skip - size;
        let size = if rest < LEAST { size + rest } else { size };
        // SAFETY: tagged: inside the block that was found, or at its end.
        let behind = unsafe { taken.offset(size) };
        let left_over = rest >= LEAST;
        if left_over {
            behind.set(rest, Kind::Free);
        }
        match (skip > 0, left_over) {
            (false, false) => self.policy.remove(block),
            (false, true) => self.policy.replace(block, found, behind),
            (true, _) => {
                block.set(skip, Kind::Free);
                self.policy.replace(block, found, block);
            }
        }
        taken.set(size, Kind::Live);
        if skip > 0 && left_over {
            self.policy.insert(behind);
        }
        self.taken.set(self.taken.get() + size);
        taken
    }

    /// Whether a block has the edges of its region on both sides.
    fn region_edges(&self, block: Block) -> bool {
        block.tag_before().kind() == Kind::Edge && block.next().tag().kind() == Kind::Edge
    }

    /// Makes a live block free and merges it with its free neighbours.
    pub(super) fn release(&self, block: Block) {
        let size = block.size();
        self.taken.set(self.taken.get() - size);
        // The header stays behind inside a merged block, so that a second free is known even then.
        block.set(size, Kind::Free);
        let next = block.next();
        let before = block.tag_before();
        let merged = if before.kind() == Kind::Free {
            let mut total = before.size() + size;
            if next.is_free() {
                self.policy.remove(next);
                total += next.size();
            }
            let left = block.previous();
            left.set(total, Kind::Free);
            self.policy.replace(left, before.size(), left);
            left
        } else if next.is_free() {
            let next_size = next.size();
            block.set(size + next_size, Kind::Free);
            self.policy.replace(next, next_size, block);
            block
        } else {
            self.policy.insert(block);
            block
        };
        if let Some(region) = self.region_filled_by(merged) {
            if self.empty.get() > 0 {
                self.remove_region(region);
            } else {
                self.empty.set(1);
            }
        }
    }

    /// Cuts what is beyond `size` off a live block.
    fn cut_tail(&self, block: Block, size: usize) {
        let rest = block.size() - size;
        if rest >= LEAST {
            block.set(size, Kind::Live);
            let tail = block.next();
            tail.set(rest, Kind::Live);
            self.release(tail);
        }
    }

    /// Makes a live block at least `size` bytes long with the help of a free block behind it.
    fn extend(&self, block: Block, size: usize) -> Result<(), AllocError> {
        let (own, next) = (block.size(), block.next());
        if !next.is_free() || own + next.size() < size {
            return Err(AllocError);
        }
        let next_size = next.size();
        let rest = own + next_size - size;
        let total = if rest < LEAST { own + next_size } else { size };
        if rest >= LEAST {
            // SAFETY: tagged: inside the two blocks.
            let behind = unsafe { block.offset(size) };
            // The links of `next` may lie where `behind` gets its own: out with it first.
            self.policy.remove(next);
            block.set(total, Kind::Live);
            behind.set(rest, Kind::Free);
            self.policy.insert(behind);
        } else {
            self.policy.remove(next);
            block.set(total, Kind::Live);
        }
        self.taken.set(self.taken.get() + total - own);
        Ok(())
    }

    pub(super) fn try_allocate(&self, layout: Layout) -> Result<Block, AllocError> {
        let size = block_size(layout)?;
        let align = layout.align();
        if align <= UNIT {
            return Ok(self.carve(self.find(size)?, 0, size));
        }
        // So much that an aligned place can be found with either nothing or a whole block before it.
        let padded = size.checked_add(align + UNIT).filter(|&padded| padded <= MOST).ok_or(AllocError)?;
        let block = self.find(padded)?;
        let payload = block.payload().addr().get();
        let mut skip = payload.next_multiple_of(align) - payload;
        if skip > 0 && skip < LEAST {
            skip += align;
        }
        Ok(self.carve(block, skip, size))
    }

    /// Changes the size of a live block where it lies.
    fn try_resize(&self, block: Block, layout: Layout) -> Result<(), AllocError> {
        let size = block_size(layout)?;
        if block.size() < size {
            return self.extend(block, size);
        }
        self.cut_tail(block, size);
        Ok(())
    }

    /// A live block that was given out.
    ///
    /// # Safety
    ///
    /// `payload` came from this heap, for a layout of more than no bytes.
    pub(super) unsafe fn live(&self, payload: NonNull<u8>) -> Block {
        // SAFETY: the caller's promise.
        let block = unsafe { Block::with_payload(payload) };
        block.check_live();
        block
    }

    pub(super) fn given(block: Block) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(block.payload(), block.size() - TAGS)
    }

    /// Resizes in place where address and neighbours allow it.
    ///
    /// # Safety
    ///
    /// As [`Alloc::grow`] or [`Alloc::shrink`].
    pub(super) unsafe fn resize(&self, payload: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 || new.size() == 0 || !payload.addr().get().is_multiple_of(new.align()) {
            return Err(AllocError);
        }
        // SAFETY: the caller's promise.
        let block = unsafe { self.live(payload) };
        self.try_resize(block, new)?;
        self.tally.resized(old.size(), new.size());
        Ok(Self::given(block))
    }
}
