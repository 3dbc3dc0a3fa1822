//! What an arena keeps when all its blocks are freed.
//!
//! # Safety
//!
//! *List*, as in the arena. `&mut` access: no block is in use.
#![allow(unsafe_code)]

use core::alloc::Layout;

use super::Arena;
use crate::bump::chunk::{ALIGN, Chunk, HEADER};
use crate::{Alloc, AllocError, Reset};

/// What becomes of the memory of an arena that is reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetMode {
    /// All of it goes back to the parent.
    FreeAll,
    /// One node is kept that is as long as all nodes were together: the same work again asks the parent for nothing.
    RetainCapacity,
    /// The same, but of at most so many bytes, also where the parent gives whole pages only. Zero frees all.
    RetainLimit(usize),
}

impl<A: Alloc> Arena<A> {
    /// Frees all blocks. Whether as much was kept as `mode` says: the parent may refuse to make one node out of several,
    /// and then the longest is kept, or to make a long one shorter, and then it stays too long.
    pub fn reset_with(&mut self, mode: ResetMode) -> bool {
        let limit = match mode {
            ResetMode::FreeAll => 0,
            ResetMode::RetainCapacity => usize::MAX,
            ResetMode::RetainLimit(limit) => limit,
        };
        let wanted = limit.min(self.held_bytes()) & !(ALIGN - 1);
        // A header alone is no use.
        let wanted = if wanted < HEADER + ALIGN { 0 } else { wanted };
        let kept = self.nodes().max_by_key(|node| node.len()).filter(|_| wanted > 0);
        for node in self.nodes() {
            if Some(node) != kept {
                // SAFETY: list: it is given up here.
                unsafe { node.free(&self.parent) };
            }
        }
        if let Some(node) = kept {
            node.set_previous(None);
        }
        self.enter(kept);
        let Some(node) = kept else { return true };
        if node.len() == wanted || self.resize_kept(node, wanted) {
            return true;
        }
        let Ok(fresh) = self.node_within(wanted, limit) else { return false };
        let is_better = |fresh: Chunk| node.len() > limit || fresh.len() > node.len();
        let spare = match fresh {
            Some(fresh) if !is_better(fresh) => fresh,
            better => {
                self.enter(better);
                node
            }
        };
        // SAFETY: list: it was replaced, or never entered.
        unsafe { spare.free(&self.parent) };
        true
    }

    /// A node as long as `wanted`, or shorter where the parent gives more than it is asked for, and that is more than `limit`.
    /// None when there is no such node.
    fn node_within(&self, wanted: usize, limit: usize) -> Result<Option<Chunk>, AllocError> {
        let mut asked = wanted;
        loop {
            let node = Chunk::new(&self.parent, asked - HEADER, ALIGN, None).ok_or(AllocError)?;
            if node.len() <= limit {
                return Ok(Some(node));
            }
            let surplus = node.len() - asked;
            // SAFETY: list: it is in none.
            unsafe { node.free(&self.parent) };
            // Where the parent rounds up, the surplus doubles from one question to the next, so there are few.
            match asked.checked_sub(surplus) {
                Some(less) if less >= HEADER + ALIGN => asked = less,
                _ => return Ok(None),
            }
        }
    }

    /// Makes the only node as long as that where it lies, if the parent can.
    fn resize_kept(&self, node: Chunk, len: usize) -> bool {
        let Some(extend) = self.extend else { return false };
        let (block, old) = node.block();
        let Ok(new) = Layout::from_size_align(len, old.align()) else { return false };
        // SAFETY: list: a live block of the parent's that fits that layout.
        let done = unsafe { extend(&self.parent, block, old, new) }.is_ok();
        if done {
            node.resized(len);
            self.enter(Some(node));
        }
        done
    }
}

impl<A: Alloc> Reset for Arena<A> {
    /// As [`RetainCapacity`](ResetMode::RetainCapacity).
    fn reset(&mut self) {
        self.reset_with(ResetMode::RetainCapacity);
    }
}
