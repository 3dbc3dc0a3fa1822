//! A live block as the oracle knows it, and what can be wrong with one.
//!
//! # Safety
//!
//! [`Block`] is a token: whoever holds it owns the memory it names (*one token a block*). So it
//! may move to another thread.
#![allow(unsafe_code)]

use crate::op::Op;
use std::fmt;
use std::ptr::NonNull;

/// What is known of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockInfo {
    /// Number that no other block of the run has; its contents are derived from it.
    pub id: u64,
    /// The address.
    pub addr: usize,
    /// Bytes asked for.
    pub size: usize,
    /// Alignment asked for.
    pub align: usize,
    /// Bytes that are the block's: `size`, or more where the subject says so.
    pub extent: usize,
    /// The step, counted from 0, at which the block was served.
    pub step: usize,
}

impl BlockInfo {
    /// The address behind the block. A block of no bytes counts as one, so that two of them at the
    /// same address overlap: live blocks have addresses of their own.
    pub const fn end(&self) -> usize {
        self.addr.saturating_add(if self.extent == 0 { 1 } else { self.extent })
    }
}

impl fmt::Display for BlockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BlockInfo { id, addr, size, align, extent, step } = self;
        write!(f, "block {id:#x} of step {step} ({size} B align {align} at {addr:#x}, {extent} B usable)")
    }
}

/// A live block: the right to use and to free it.
#[derive(Debug)]
pub struct Block {
    pub(crate) ptr: NonNull<u8>,
    pub(crate) info: BlockInfo,
}

// SAFETY: one token a block: the memory is reached through the token alone, which moves with it.
unsafe impl Send for Block {}

impl Block {
    /// The address.
    pub const fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// What is known of it.
    pub const fn info(&self) -> BlockInfo {
        self.info
    }
}

/// What an allocator did wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The address is not aligned as asked.
    Misaligned {
        /// The block served.
        block: BlockInfo,
    },
    /// The block covers bytes of another one that is live.
    Overlap {
        /// The block served.
        new: BlockInfo,
        /// The block that was there.
        live: BlockInfo,
    },
    /// The block wraps around the end of the address space.
    OutOfRange {
        /// The block served.
        block: BlockInfo,
    },
    /// Zeroed memory was asked for, and a byte is not zero.
    NotZeroed {
        /// The block served.
        block: BlockInfo,
        /// Where in it.
        offset: usize,
        /// What was there.
        found: u8,
    },
    /// Somebody else wrote into a live block.
    Damaged {
        /// The block.
        block: BlockInfo,
        /// Where in it.
        offset: usize,
        /// What the owner had written.
        expected: u8,
        /// What was there.
        found: u8,
    },
    /// A reallocation did not keep the contents.
    ContentsLost {
        /// The block before.
        old: BlockInfo,
        /// The block after.
        new: BlockInfo,
        /// Where in it.
        offset: usize,
        /// What the old block held.
        expected: u8,
        /// What was there.
        found: u8,
    },
    /// The usable size is below the size asked for.
    UsableTooSmall {
        /// The block served.
        block: BlockInfo,
        /// What the subject said.
        usable: usize,
    },
    /// A request was refused by a subject that may not refuse.
    Refused {
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for.
        align: usize,
    },
    /// A request beyond any address space was served.
    ImpossibleServed {
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for.
        align: usize,
        /// What was returned.
        addr: usize,
    },
    /// The subject's own check failed.
    Unsound(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Misaligned { block } => write!(f, "misaligned: {block}"),
            Fault::Overlap { new, live } => write!(f, "overlap: {new} covers live {live}"),
            Fault::OutOfRange { block } => write!(f, "outside the address space: {block}"),
            Fault::NotZeroed { block, offset, found } => {
                write!(f, "not zeroed: byte {offset} is {found:#04x} in {block}")
            }
            Fault::Damaged { block, offset, expected, found } => {
                write!(f, "damaged: byte {offset} is {found:#04x}, not {expected:#04x}, in live {block}")
            }
            Fault::ContentsLost { old, new, offset, expected, found } => write!(
                f,
                "contents lost: byte {offset} is {found:#04x}, not {expected:#04x}, in {new}, formerly {old}"
            ),
            Fault::UsableTooSmall { block, usable } => write!(f, "usable size of only {usable} B: {block}"),
            Fault::Refused { size, align } => write!(f, "refused {size} B align {align} without cause"),
            Fault::ImpossibleServed { size, align, addr } => {
                write!(f, "served the impossible {size} B align {align} at {addr:#x}")
            }
            Fault::Unsound(what) => write!(f, "the subject's own check failed: {what}"),
        }
    }
}

/// A fault, and what was being done when it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Number of the thread, counted from 0.
    pub thread: usize,
    /// Number of the thread's operation, counted from 0.
    pub step: usize,
    /// The operation; `None` at the final check and while blocks change hands.
    pub op: Option<Op>,
    /// What was wrong.
    pub fault: Box<Fault>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}, step {}, ", self.thread, self.step)?;
        match &self.op {
            Some(op) => write!(f, "{op:?}: ")?,
            None => write!(f, "between operations: ")?,
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for Violation {}
