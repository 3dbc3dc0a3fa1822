//! What an arena keeps when all its blocks are freed.
//!
//! # Safety
//!
//! *List*, as in the arena. `&mut` access: no block is in use.
#![allow(unsafe_code)]

use core::alloc::Layout;

use super::Arena;
use crate::bump::chunk::{ALIGN, Chunk, HEADER};
use crate::{Alloc, Reset};

/// What becomes of the memory of an arena that is reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetMode {
    /// All of it goes back to the parent.
    FreeAll,
    /// One node is kept that is as long as all nodes were together: the same work again asks the parent for nothing.
    RetainCapacity,
    /// The same, but of at most so many bytes. Zero frees all.
    RetainLimit(usize),
}

impl<A: Alloc> Arena<A> {
    /// Frees all blocks. Whether as much was kept as `mode` says: the parent may refuse to make one node out of several,
    /// and then the longest is kept, or to make a long one shorter, and then it stays too long.
    pub fn reset_with(&mut self, mode: ResetMode) -> bool {
        let wanted = match mode {
            ResetMode::FreeAll => 0,
            ResetMode::RetainCapacity => self.held_bytes(),
            // A header alone is no use.
            ResetMode::RetainLimit(limit) if limit < HEADER + ALIGN => 0,
            ResetMode::RetainLimit(limit) => limit.min(self.held_bytes()) & !(ALIGN - 1),
        };
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
        let Some(fresh) = Chunk::new(&self.parent, wanted - HEADER, ALIGN, None) else { return false };
        self.enter(Some(fresh));
        // SAFETY: list: it was replaced.
        unsafe { node.free(&self.parent) };
        true
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
