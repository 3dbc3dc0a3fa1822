//! Which free block a request gets: what a policy is, and the two that go by address.

use core::cell::Cell;

use super::block::{Block, Kind};
pub use super::by_size::{BestFit, SegregatedFit, WorstFit};
use super::list::List;

/// Keeps the free blocks of a heap and chooses among them.
///
/// Sealed: [`FirstFit`], [`NextFit`], [`BestFit`], [`WorstFit`] and [`SegregatedFit`] are all there are.
pub trait Policy: FreeBlocks {
    /// What the policy is called, in small letters.
    const NAME: &'static str;
}

/// What the heap asks of a policy. A region's front block is passed to [`region_added`](FreeBlocks::region_added)
/// before any of the region's blocks.
pub trait FreeBlocks: Default {
    /// A region came; `next` is the front block of the region that follows it by address.
    fn region_added(&self, front: Block, next: Option<Block>);

    /// A region goes; none of its blocks is in a list.
    fn region_removed(&self, front: Block);

    /// A block became free.
    fn insert(&self, block: Block);

    /// A free block is free no longer.
    fn remove(&self, block: Block);

    /// `new`, in the same region and with no free block in between, takes the place of `old`. `old` is not read but
    /// for its links.
    fn replace(&self, old: Block, old_size: usize, new: Block);

    /// A free block of at least `size` bytes. It stays in its list.
    fn find(&self, size: usize) -> Option<Block>;
}

/// All free blocks in one list by address. The front blocks of the regions are in it, too, so that there is always a
/// predecessor.
#[derive(Default)]
struct ByAddress(List);

impl ByAddress {
    /// The last list member before `block`, found by walking down from tag to tag. By Knuth's fifty-percent rule
    /// there is about one free block to two live ones in a steady state, so that this takes a few steps where a walk
    /// along the list would take thousands.
    fn insert(&self, block: Block) {
        let mut left = block.previous();
        while left.tag().kind() == Kind::Live {
            left = left.previous();
        }
        self.0.insert_after(left, block);
    }

    /// Those from `from` on with at least `size` bytes.
    fn fitting(&self, from: Option<Block>, size: usize) -> impl Iterator<Item = (Block, usize)> {
        self.0.from(from).filter_map(move |block| {
            let tag = block.tag();
            (tag.kind() == Kind::Free && tag.size() >= size).then_some((block, tag.size()))
        })
    }
}

macro_rules! by_address {
    ($policy:ty) => {
        impl FreeBlocks for $policy {
            fn region_added(&self, front: Block, next: Option<Block>) {
                self.blocks.0.insert_before(next, front);
            }

            fn region_removed(&self, front: Block) {
                self.leaves(front, front.next_in_list());
                self.blocks.0.remove(front);
            }

            fn insert(&self, block: Block) {
                self.blocks.insert(block);
            }

            fn remove(&self, block: Block) {
                self.leaves(block, block.next_in_list());
                self.blocks.0.remove(block);
            }

            fn replace(&self, old: Block, _: usize, new: Block) {
                self.leaves(old, Some(new));
                self.blocks.0.replace(old, new);
            }

            fn find(&self, size: usize) -> Option<Block> {
                self.choose(size)
            }
        }
    };
}

/// The first block, by address, that is long enough.
///
/// Low addresses fill first, so that long blocks survive at high ones: low fragmentation, for a search that is linear
/// in the free blocks.
#[derive(Default)]
pub struct FirstFit {
    blocks: ByAddress,
}

impl FirstFit {
    fn leaves(&self, _: Block, _: Option<Block>) {}

    fn choose(&self, size: usize) -> Option<Block> {
        self.blocks.fitting(self.blocks.0.head(), size).next().map(|(block, _)| block)
    }
}

by_address!(FirstFit);

impl Policy for FirstFit {
    const NAME: &'static str = "first fit";
}

/// The first block that is long enough from where the last search ended.
///
/// Short searches, since what is too short is not met again at once; but live blocks spread over the whole heap, which
/// costs more fragmentation than any policy but worst fit.
#[derive(Default)]
pub struct NextFit {
    blocks: ByAddress,
    /// Where the next search begins; a member of the list.
    rover: Cell<Option<Block>>,
}

impl NextFit {
    /// The rover does not stay behind.
    fn leaves(&self, block: Block, heir: Option<Block>) {
        if self.rover.get() == Some(block) {
            self.rover.set(heir);
        }
    }

    fn choose(&self, size: usize) -> Option<Block> {
        let first = |from| self.blocks.fitting(from, size).next().map(|(block, _)| block);
        // A second search from the head also meets what the first has met: only where there is nothing, and then once.
        let found = first(self.rover.get()).or_else(|| first(self.blocks.0.head()));
        if found.is_some() {
            self.rover.set(found);
        }
        found
    }
}

by_address!(NextFit);

impl Policy for NextFit {
    const NAME: &'static str = "next fit";
}
