//! Doubly linked lists of blocks.

use core::cell::Cell;

use super::block::Block;

/// A list; its blocks are in no other.
#[derive(Default)]
pub struct List {
    head: Cell<Option<Block>>,
    tail: Cell<Option<Block>>,
}

impl List {
    pub const fn new() -> List {
        List { head: Cell::new(None), tail: Cell::new(None) }
    }

    #[inline]
    pub fn head(&self) -> Option<Block> {
        self.head.get()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// The blocks from `from` on; `from` is in this list.
    #[inline]
    pub fn from(&self, from: Option<Block>) -> impl Iterator<Item = Block> {
        core::iter::successors(from, |block| block.next_in_list())
    }

    #[inline]
    fn join(&self, left: Option<Block>, right: Option<Block>) {
        match left {
            Some(left) => left.set_next_in_list(right),
            None => self.head.set(right),
        }
        match right {
            Some(right) => right.set_previous_in_list(left),
            None => self.tail.set(left),
        }
    }

    /// Inserts `block` before `right`, or at the end.
    #[inline]
    pub fn insert_before(&self, right: Option<Block>, block: Block) {
        let left = right.map_or(self.tail.get(), Block::previous_in_list);
        self.join(left, Some(block));
        self.join(Some(block), right);
    }

    #[inline]
    pub fn insert_after(&self, left: Block, block: Block) {
        self.insert_before(left.next_in_list(), block);
    }

    #[inline]
    pub fn push(&self, block: Block) {
        self.insert_before(self.head.get(), block);
    }

    #[inline]
    pub fn remove(&self, block: Block) {
        self.join(block.previous_in_list(), block.next_in_list());
    }

    /// Puts `new` in the place of `old`.
    #[inline]
    pub fn replace(&self, old: Block, new: Block) {
        let (left, right) = (old.previous_in_list(), old.next_in_list());
        self.join(left, Some(new));
        self.join(Some(new), right);
    }
}
