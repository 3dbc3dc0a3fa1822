//! One operation on an allocator, as data.
//!
//! Blocks are named by *victim*: 0 is the newest live block, 1 the one before it, counted round
//! when there are fewer. So a sequence stays valid whatever part of it shrinking removes; where
//! nothing is live, an operation on a victim is skipped.

use crate::mix::Mix;
use crate::rng::Rng;

/// An operation. Sequences of these are what [`crate::run_sequence`] runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Allocate.
    Alloc {
        /// Bytes; may be zero.
        size: usize,
        /// A power of two.
        align: usize,
    },
    /// Allocate memory that must read as zeros.
    AllocZeroed {
        /// Bytes; may be zero.
        size: usize,
        /// A power of two.
        align: usize,
    },
    /// Allocate many blocks alike: batches and whole slabs.
    AllocMany {
        /// How many.
        count: u16,
        /// Bytes in each.
        size: usize,
        /// A power of two.
        align: usize,
    },
    /// Ask for more than any address space holds: must be refused.
    AllocImpossible {
        /// A power of two.
        align: usize,
        /// Ask for zeros.
        zeroed: bool,
    },
    /// Grow or shrink a block, keeping its contents.
    Realloc {
        /// Which block.
        victim: u16,
        /// Bytes; zero is taken as one, since C and Rust disagree about zero.
        new_size: usize,
    },
    /// Grow a block beyond any address space: must be refused, and the block left as it is.
    ReallocImpossible {
        /// Which block.
        victim: u16,
    },
    /// Free with size and alignment.
    Free {
        /// Which block.
        victim: u16,
    },
    /// Free by address alone, where the subject can; else as [`Op::Free`].
    FreeUnsized {
        /// Which block.
        victim: u16,
    },
    /// Free `count` blocks, from `victim` towards the older.
    FreeMany {
        /// The first.
        victim: u16,
        /// How many.
        count: u16,
    },
    /// Free every block, oldest first.
    FreeAll,
    /// Check the contents of one block.
    Check {
        /// Which block.
        victim: u16,
    },
    /// Check the contents of all blocks.
    CheckAll,
    /// Let the subject check its own invariants.
    Verify,
}

impl Op {
    /// The size, in bytes, that must be refused for `align`: the largest that a Rust layout allows.
    pub const fn impossible_size(align: usize) -> usize {
        isize::MAX as usize + 1 - align
    }

    /// A random operation: `growth` times in a hundred one that allocates. Never
    /// [`Op::FreeAll`], [`Op::CheckAll`] or [`Op::Verify`], which callers place at will.
    pub fn random(mix: Mix, growth: usize, rng: &mut Rng) -> Op {
        let victim = if rng.chance(1, 2) { rng.below(8) } else { rng.below(1 << 16) } as u16;
        let shape = mix.random(rng);
        let (size, align) = (shape.size, shape.align);
        if rng.chance(growth, 100) {
            return match rng.below(100) {
                0 => Op::AllocMany { count: rng.below(200) as u16, size, align },
                1 => Op::AllocImpossible { align, zeroed: rng.chance(1, 2) },
                2..22 => Op::AllocZeroed { size, align },
                _ => Op::Alloc { size, align },
            };
        }
        match rng.below(100) {
            0 => Op::FreeMany { victim, count: rng.below(200) as u16 },
            1 => Op::ReallocImpossible { victim },
            2..5 => Op::Check { victim },
            5..25 => Op::Realloc { victim, new_size: size },
            25..45 => Op::FreeUnsized { victim },
            _ => Op::Free { victim },
        }
    }
}
