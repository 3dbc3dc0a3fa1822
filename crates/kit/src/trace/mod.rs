//! Traces: what a program asked of its allocator, to be asked of others.
//!
//! # What it is
//!
//! A [`Trace`] is a list of calls in a compact [format](mod@format); [`TraceWriter`] makes one. [`replay`] runs it on any
//! allocator that says how much room its blocks take ([`Footprint`]), and notes on the way what was asked for, what
//! the live blocks take, and what the allocator holds:
//!
//! ```text
//! |◄────────────────────── held ──────────────────────►|
//! |◄────────── taken ───────────►|                       external fragmentation: (held - taken) / held
//! |◄──── asked ────►|                                    internal fragmentation: (taken - asked) / taken
//! ```
//!
//! [`compare`] puts the five policies of the [textbook](crate::textbook) heap, the [buddy](crate::buddy) system,
//! [slabs](crate::slab) and [bins](crate::bins) side by side, each over a [`Ground`] of its own, on which every run
//! is like every other.
//!
//! [`workloads`] are small traces that show what each design is bad at.
//!
//! # Where it comes from
//!
//! Studying allocators by the traces of real programs, not by random ones, which hide what matters: P. R. Wilson and
//! others, *Dynamic Storage Allocation: A Survey and Critical Review* (1995); M. S. Johnstone and P. R. Wilson, *The
//! Memory Fragmentation Problem: Solved?* (1998).
//!
//! # When to use it
//!
//! To choose an allocator for a program of which one has a trace, to study one, and to see the cost of a change. A
//! trace is one thread's view: what concurrency costs, it does not show.
//!
//! # Costs
//!
//! A few bytes a call on disk, 32 in memory. A replay adds a few nanoseconds to each call.
//!
//! ```
//! use freestone_kit::trace::{CompareConfig, Trace, TraceWriter, compare};
//!
//! let mut writer = TraceWriter::new("a comb: every second block is freed");
//! let blocks: Vec<usize> = (0..1000).map(|n| writer.allocate(40 + n % 3 * 100, 16)).collect();
//! blocks.into_iter().step_by(2).for_each(|block| writer.free(block));
//! let comparison = compare(&Trace::parse(writer.bytes())?, CompareConfig::default())?;
//! println!("{comparison}");
//! let buddy = &comparison.rows[5];
//! assert_eq!(buddy.name, "buddy");
//! // 140 bytes become 256, 240 become 256, 40 become 64: a quarter is lost inside the blocks.
//! assert!((0.2..0.3).contains(&buddy.replayed.fullest.internal()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compare;
pub mod format;
mod ground;
mod moment;
mod replay;
pub mod workloads;

pub use compare::{CompareConfig, Comparison, DESIGNS, Row, compare, compare_some};
pub use format::{Event, ParseError, Trace, TraceWriter};
pub use ground::Ground;
pub use moment::{Moment, PageUse};
pub use replay::{Footprint, Replayed, Sample, replay, time};
