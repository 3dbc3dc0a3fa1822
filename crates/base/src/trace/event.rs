//! What a trace says: one event.

/// By which call a block was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `malloc`, `new`, or Rust's `alloc`.
    Malloc,
    /// `calloc`, or Rust's `alloc_zeroed`: the block reads as zeros.
    Calloc,
    /// With an alignment above malloc's, in bytes.
    Aligned {
        /// The alignment, a power of two.
        align: usize,
        /// Whether the block reads as zeros.
        zeroed: bool,
    },
}

impl Way {
    /// The alignment asked for, in bytes: malloc's own, 16, or a larger one.
    pub const fn align(self) -> usize {
        match self {
            Way::Malloc | Way::Calloc => 16,
            Way::Aligned { align, .. } => align,
        }
    }

    /// Whether the block reads as zeros.
    pub const fn zeroed(self) -> bool {
        matches!(self, Way::Calloc | Way::Aligned { zeroed: true, .. })
    }
}

/// What happened. Sizes in bytes, as the program asked for them; addresses as the program got them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// A block was handed out.
    Alloc {
        /// By which call.
        way: Way,
        /// Bytes asked for.
        size: u64,
        /// Where the block lies.
        addr: u64,
    },
    /// A block is given back.
    Free {
        /// Where it lies.
        addr: u64,
    },
    /// A block has a new size, and a new place unless `new` is `old`.
    Realloc {
        /// Where it was.
        old: u64,
        /// Bytes asked for.
        size: u64,
        /// Where it is.
        new: u64,
    },
    /// The thread's next [`Realloc`](Op::Realloc) may give up the old place from now on, before the new one is known.
    Moving {
        /// Where the block was.
        old: u64,
    },
    /// A request was refused.
    Refused {
        /// By which call.
        way: Way,
        /// Bytes asked for.
        size: u64,
    },
    /// A realloc was refused; the block stands as it was.
    ReallocRefused {
        /// Where it lies.
        old: u64,
        /// Bytes asked for.
        size: u64,
    },
    /// The thread made its first call.
    ThreadStart {
        /// The kernel's number of it.
        tid: u32,
    },
    /// The block that the thread's next event gives up was never touched beyond these bytes.
    Touched {
        /// Bytes from the block's beginning.
        bytes: u64,
    },
    /// Return addresses of the thread's next event: those that the model holds, see [`Model::frames`](super::Model::frames).
    Stack,
    /// The process came to its end by itself.
    End,
}

/// The most addresses that one stack has.
pub const MOST_FRAMES: usize = 64;

/// For how many calls one for `size` bytes counts when calls are drawn whose stacks are taken: large ones are few, and matter. With one
/// stack in `every` such counts on average, at exponentially distributed distances, a call has one with the probability
/// `1 - exp(-stack_counts(size) / every)`.
#[inline]
pub const fn stack_counts(size: u64) -> u64 {
    1 + (size >> 12)
}

/// An event with its circumstances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its place in the order of the process, from 1.
    pub number: u64,
    /// When, in ticks of the writer's clock; what a tick is, the process's sheet tells.
    pub ticks: u64,
    /// The thread: a small number, in the order in which threads made their first call, from 1.
    pub thread: u32,
    /// What happened.
    pub op: Op,
}

/// Room for the code of one event, with what must be said before it.
pub struct Scratch {
    bytes: [u8; Scratch::SIZE],
    len: usize,
}

impl Scratch {
    /// The longest code: three numbers of ten bytes for place, time and thread, a stack of [`MOST_FRAMES`].
    pub const SIZE: usize = 704;

    /// Empty.
    pub const fn new() -> Scratch {
        Scratch { bytes: [0; Scratch::SIZE], len: 0 }
    }

    /// What was written.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    #[inline]
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// A number of either sign: small ones stay small.
    #[inline]
    pub(super) fn signed(&mut self, number: i64) {
        self.number((number << 1) as u64 ^ (number >> 63) as u64);
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
