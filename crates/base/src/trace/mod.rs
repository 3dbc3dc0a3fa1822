//! The format of traces: every call of a program to its allocator, in a few bytes each.
//!
//! The allocator writes it while the program runs (`freestone`'s recorder), the crate `freestone-trace` reads it. Both go by
//! what is here: the layout of a [`sheet`] and the coding of one [`Event`] in it. Numbers are little-endian.
//!
//! ```text
//! file     sheet sheet sheet …                    in any order, of any number of processes
//! sheet    header of 64 bytes, then the payload   a process, or the events of one lane
//! lane     the sheets that one writer filled in turn; each thread keeps to a lane as long as nobody else is in it
//! event    tag, number since the last, time since the last, what the tag says
//! ```
//!
//! Every event has a number; the numbers of a process are dense and in the order in which things happened: an
//! allocation is numbered once the block is there, a free while the block still is. So events of all lanes, put in the
//! order of their numbers, never show a block handed out that was not free, and what is missing is a gap in the numbers.
//!
//! A sheet begins anew with its own [`Model`]: a damaged one takes none of the others along. It is full of zeros before it is
//! written, and the tag of an event, which is never zero, is stored last, or all of a short event at once. So a trace needs no end: a process that is
//! killed leaves behind all that it had written.

pub mod event;
mod model;
pub mod sheet;

pub use event::{Event, MOST_FRAMES, Op, Scratch, Way, stack_counts};
pub use model::{Broken, Frequent, Model, Next, Short};
pub use sheet::{Kind, ProcessWord, SheetHeader};

/// The version of the format. It changes whenever older readers would read something wrong.
pub const VERSION: u16 = 1;
