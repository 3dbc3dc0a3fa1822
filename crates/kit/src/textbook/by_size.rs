//! Free blocks in lists by size, and the three policies that go by size.

use core::cell::Cell;

use super::block::{Block, UNIT};
use super::list::List;
use super::policy::{FreeBlocks, Policy};

/// Lists of one size each.
const EXACT: usize = 64;
const EXACT_SHIFT: u32 = EXACT.trailing_zeros();
/// Lists to each doubling above, as a logarithm.
const STEP_SHIFT: u32 = 2;
/// Bits of a size in units.
const BITS: u32 = 44;
const LISTS: usize = EXACT + ((BITS - EXACT_SHIFT) as usize) * (1 << STEP_SHIFT);
const WORDS: usize = LISTS.div_ceil(64);

/// A list for each size up to 1 KiB, and four for each doubling above.
struct Classes {
    lists: [List; LISTS],
    /// A bit for each list that is not empty.
    filled: [Cell<u64>; WORDS],
}

impl Default for Classes {
    #[inline]
    fn default() -> Self {
        Classes { lists: [const { List::new() }; LISTS], filled: [const { Cell::new(0) }; WORDS] }
    }
}

impl Classes {
    /// The list for blocks of `size` bytes.
    #[inline]
    fn list_of(size: usize) -> usize {
        let units = size / UNIT;
        if units < EXACT {
            return units;
        }
        let shift = units.ilog2();
        let step = (units >> (shift - STEP_SHIFT)) & ((1 << STEP_SHIFT) - 1);
        EXACT + ((shift - EXACT_SHIFT) as usize) * (1 << STEP_SHIFT) + step
    }

    #[inline]
    fn note(&self, list: usize) {
        let word = &self.filled[list / 64];
        let bit = 1 << (list % 64);
        word.set(if self.lists[list].is_empty() { word.get() & !bit } else { word.get() | bit });
    }

    #[inline]
    fn insert(&self, block: Block) {
        let list = Self::list_of(block.size());
        self.lists[list].push(block);
        self.note(list);
    }

    #[inline]
    fn remove(&self, block: Block, size: usize) {
        let list = Self::list_of(size);
        self.lists[list].remove(block);
        self.note(list);
    }

    #[inline]
    fn blocks(&self, list: usize) -> impl Iterator<Item = Block> {
        self.lists[list].from(self.lists[list].head())
    }

    /// The first list from `from` on that is not empty.
    #[inline]
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

    /// The last list that is not empty.
    #[inline]
    fn last_filled(&self) -> Option<usize> {
        let word = (0..WORDS).rev().find(|&word| self.filled[word].get() != 0)?;
        Some(word * 64 + self.filled[word].get().ilog2() as usize)
    }

    /// The shortest block of a list with at least `size` bytes.
    #[inline]
    fn shortest(&self, list: usize, size: usize) -> Option<Block> {
        if list < EXACT {
            return self.lists[list].head();
        }
        self.blocks(list).filter(|block| block.size() >= size).min_by_key(|block| block.size())
    }
}

macro_rules! by_size {
    ($policy:ty) => {
        impl FreeBlocks for $policy {
            fn region_added(&self, _: Block, _: Option<Block>) {}

            fn region_removed(&self, _: Block) {}

            fn insert(&self, block: Block) {
                self.classes.insert(block);
            }

            fn remove(&self, block: Block) {
                self.classes.remove(block, block.size());
            }

            fn replace(&self, old: Block, old_size: usize, new: Block) {
                self.classes.remove(old, old_size);
                self.classes.insert(new);
            }

            fn find(&self, size: usize) -> Option<Block> {
                self.choose(size)
            }
        }
    };
}

/// The shortest block that is long enough; of several the one freed last.
///
/// Low fragmentation. The lists by size spare the search most of its way, and do not change its choice.
#[derive(Default)]
pub struct BestFit {
    classes: Classes,
}

impl BestFit {
    #[inline]
    fn choose(&self, size: usize) -> Option<Block> {
        let own = Classes::list_of(size);
        let next = || self.classes.shortest(self.classes.filled_from(own + 1)?, size);
        self.classes.shortest(own, size).or_else(next)
    }
}

by_size!(BestFit);

impl Policy for BestFit {
    const NAME: &'static str = "best fit";
}

/// The longest block there is.
///
/// For comparison: it wears down just the blocks that long requests will need.
#[derive(Default)]
pub struct WorstFit {
    classes: Classes,
}

impl WorstFit {
    #[inline]
    fn choose(&self, size: usize) -> Option<Block> {
        let longest = self.classes.blocks(self.classes.last_filled()?).max_by_key(|block| block.size())?;
        (longest.size() >= size).then_some(longest)
    }
}

by_size!(WorstFit);

impl Policy for WorstFit {
    const NAME: &'static str = "worst fit";
}

/// The first block that fits in the list of the request's own size, else any from the next list that is not empty.
///
/// Nearly best fit at a cost that is nearly constant: the choice among the five unless one is to be studied.
#[derive(Default)]
pub struct SegregatedFit {
    classes: Classes,
}

impl SegregatedFit {
    #[inline]
    fn choose(&self, size: usize) -> Option<Block> {
        let own = Classes::list_of(size);
        let next = || self.classes.blocks(self.classes.filled_from(own + 1)?).next();
        self.classes.blocks(own).find(|block| block.size() >= size).or_else(next)
    }
}

by_size!(SegregatedFit);

impl Policy for SegregatedFit {
    const NAME: &'static str = "segregated fit";
}
