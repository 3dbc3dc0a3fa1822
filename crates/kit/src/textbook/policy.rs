//! Which free block a request gets: the five policies.

use core::cell::Cell;

use super::block::{Block, Kind, UNIT};
use super::list::List;

/// Keeps the free blocks of a heap and chooses among them.
///
/// Sealed: [`FirstFit`], [`NextFit`], [`BestFit`], [`WorstFit`] and [`SegregatedFit`] are all there are.
pub trait Policy: FreeBlocks {
    /// What the policy is called, in small letters.
    const NAME: &'static str;
}

/// What the heap asks of a policy. A region's front block is passed to [`region_added`](FreeBlocks::region_added) before
/// any of the region's blocks.
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
    /// The last list member before `block`, found by walking down from tag to tag. By Knuth's fifty-percent rule there is
    /// about one free block to two live ones in a steady state, so that this takes a few steps where a walk along the
    /// list would take thousands.
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

/// The shortest block that is long enough, the lowest of several.
///
/// Low fragmentation, and every search that meets no exact fit reads the whole list.
#[derive(Default)]
pub struct BestFit {
    blocks: ByAddress,
}

impl BestFit {
    fn leaves(&self, _: Block, _: Option<Block>) {}

    fn choose(&self, size: usize) -> Option<Block> {
        let mut best = None;
        for (block, found) in self.blocks.fitting(self.blocks.0.head(), size) {
            if found == size {
                return Some(block);
            }
            if best.is_none_or(|(_, least)| found < least) {
                best = Some((block, found));
            }
        }
        best.map(|(block, _)| block)
    }
}

by_address!(BestFit);

impl Policy for BestFit {
    const NAME: &'static str = "best fit";
}

/// The longest block there is.
///
/// For comparison: it wears down just the blocks that long requests will need, and reads the whole list each time.
#[derive(Default)]
pub struct WorstFit {
    blocks: ByAddress,
}

impl WorstFit {
    fn leaves(&self, _: Block, _: Option<Block>) {}

    fn choose(&self, size: usize) -> Option<Block> {
        let mut worst = None;
        for (block, found) in self.blocks.fitting(self.blocks.0.head(), size) {
            if worst.is_none_or(|(_, most)| found > most) {
                worst = Some((block, found));
            }
        }
        worst.map(|(block, _)| block)
    }
}

by_address!(WorstFit);

impl Policy for WorstFit {
    const NAME: &'static str = "worst fit";
}

/// A list for each size up to 1 KiB and four for each doubling above; the first that fits in the list of the request's
/// own size, else any from the next list that is not empty.
///
/// Nearly best fit at a cost that is nearly constant: the choice among the five unless one is to be studied.
pub struct SegregatedFit {
    lists: [List; LISTS],
    /// A bit for each list that is not empty.
    filled: [Cell<u64>; WORDS],
}

/// Lists of one size each.
const EXACT: usize = 64;
const EXACT_SHIFT: u32 = EXACT.trailing_zeros();
/// Lists to each doubling above, as a logarithm.
const STEP_SHIFT: u32 = 2;
/// Bits of a size in units.
const BITS: u32 = 44;
const LISTS: usize = EXACT + ((BITS - EXACT_SHIFT) as usize) * (1 << STEP_SHIFT);
const WORDS: usize = LISTS.div_ceil(64);

impl Default for SegregatedFit {
    fn default() -> Self {
        SegregatedFit { lists: [const { List::new() }; LISTS], filled: [const { Cell::new(0) }; WORDS] }
    }
}

impl SegregatedFit {
    /// The list for blocks of `size` bytes.
    fn list_of(size: usize) -> usize {
        let units = size / UNIT;
        if units < EXACT {
            return units;
        }
        let shift = units.ilog2();
        let step = (units >> (shift - STEP_SHIFT)) & ((1 << STEP_SHIFT) - 1);
        EXACT + ((shift - EXACT_SHIFT) as usize) * (1 << STEP_SHIFT) + step
    }

    fn note(&self, list: usize) {
        let word = &self.filled[list / 64];
        let bit = 1 << (list % 64);
        word.set(if self.lists[list].is_empty() { word.get() & !bit } else { word.get() | bit });
    }

    /// The first list from `from` on that is not empty.
    fn filled_from(&self, from: usize) -> Option<usize> {
        let rest = (from < LISTS).then(|| self.filled[from / 64].get() & (!0 << (from % 64)))?;
        if rest != 0 {
            return Some(from / 64 * 64 + rest.trailing_zeros() as usize);
        }
        let (word, bits) = (from / 64 + 1..WORDS)
            .map(|word| (word, self.filled[word].get()))
            .find(|&(_, bits)| bits != 0)?;
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    fn remove_from(&self, list: usize, block: Block) {
        self.lists[list].remove(block);
        self.note(list);
    }
}

impl FreeBlocks for SegregatedFit {
    fn region_added(&self, _: Block, _: Option<Block>) {}

    fn region_removed(&self, _: Block) {}

    fn insert(&self, block: Block) {
        let list = Self::list_of(block.size());
        self.lists[list].push(block);
        self.note(list);
    }

    fn remove(&self, block: Block) {
        self.remove_from(Self::list_of(block.size()), block);
    }

    fn replace(&self, old: Block, old_size: usize, new: Block) {
        self.remove_from(Self::list_of(old_size), old);
        self.insert(new);
    }

    fn find(&self, size: usize) -> Option<Block> {
        let own = Self::list_of(size);
        let list = &self.lists[own];
        list.from(list.head())
            .find(|block| block.size() >= size)
            .or_else(|| self.lists[self.filled_from(own + 1)?].head())
    }
}

impl Policy for SegregatedFit {
    const NAME: &'static str = "segregated fit";
}
