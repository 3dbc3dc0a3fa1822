//! A run of pages that blocks of one small size share.

use super::slots::{Link, Linked};

/// Which blocks of a run are taken: a bit each.
pub(super) struct Subpage {
    pub(super) chunk: u32,
    pub(super) first_page: u32,
    pub(super) class: usize,
    /// In the list of subpages of its class from which blocks are taken.
    pub(super) listed: bool,
    pub(super) link: Link,
    taken: Box<[u64]>,
    blocks: u32,
    free: u32,
    /// The block that was freed last, which is taken next: it is likely to be in the CPU's cache.
    next: Option<u32>,
}

impl Linked for Subpage {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Subpage {
    /// With all blocks free.
    pub(super) fn new(chunk: u32, first_page: u32, class: usize, blocks: u32) -> Subpage {
        Subpage {
            chunk,
            first_page,
            class,
            listed: false,
            link: Link::ALONE,
            taken: vec![0; blocks.div_ceil(64) as usize].into(),
            blocks,
            free: blocks,
            next: Some(0),
        }
    }

    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    pub(super) fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free == self.blocks
    }

    /// Takes a free block; there is one.
    pub(super) fn take(&mut self) -> u32 {
        let block = self.next.take().unwrap_or_else(|| self.find());
        self.taken[block as usize / 64] |= 1 << (block % 64);
        self.free -= 1;
        block
    }

    fn find(&self) -> u32 {
        let (word, bits) =
            self.taken.iter().enumerate().find(|(_, bits)| **bits != u64::MAX).expect("a free block");
        (word * 64) as u32 + bits.trailing_ones()
    }

    /// Takes a block back.
    pub(super) fn give(&mut self, block: u32) {
        let bit = 1 << (block % 64);
        let word = &mut self.taken[block as usize / 64];
        assert!(
            block < self.blocks && *word & bit != 0,
            "block {block} of a subpage is freed and was not taken"
        );
        *word &= !bit;
        self.free += 1;
        self.next = Some(block);
    }
}
