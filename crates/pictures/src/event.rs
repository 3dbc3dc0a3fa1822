//! The calls of a program, as a study takes them.

use crate::stacks::StackId;

/// One call that the allocator answered. Calls that were refused are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Nanoseconds since the first call; zero in all calls where times are not known.
    pub time: u64,
    /// Which thread made it; threads are numbered in any way.
    pub thread: u32,
    /// What was asked.
    pub call: Call,
    /// The stack of the call, where it was taken, and for how many calls of this kind it stands: 1 where each is.
    pub stack: Option<(StackId, f32)>,
}

/// What a call asked for. A block is known by its address; sizes are in bytes, as they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A new block.
    Allocate {
        /// Where it lies.
        address: u64,
        /// Its bytes.
        size: u64,
    },
    /// A block was given back.
    Free {
        /// Where it lay.
        address: u64,
        /// Bytes at its end that were never touched, where that is known; else zero.
        untouched: u64,
    },
    /// A block got another size.
    Resize {
        /// Where it lay.
        from: u64,
        /// Where it lies now.
        to: u64,
        /// Its bytes now.
        size: u64,
    },
}
