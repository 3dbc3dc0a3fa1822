//! Traces: every call of a program to its allocator, read back.
//!
//! # What it is
//!
//! `freestone record` has the library write down every call; this crate reads what it wrote. The format is described in
//! `freestone_base::trace`, and for users in `docs/traces.md`.
//!
//! ```text
//! Trace      a file, its sheets and processes
//!   Events   the events of one process in their order, all lanes merged
//!   Calls    the same with blocks instead of addresses, and what is live
//! ```
//!
//! Whatever is in a file, reading it does not panic, and takes memory in proportion to the file at most. A file that is cut or
//! damaged is read as far as it is whole, and [`Events::ending`] says where that was and why.
//!
//! ```
//! use freestone_trace::{Call, Op, ProcessInfo, Trace, TraceWriter, Way};
//!
//! let mut writer = TraceWriter::new(Vec::new(), &ProcessInfo::default())?;
//! writer.event(1, 10, Op::Alloc { way: Way::Malloc, size: 100, addr: 0x1000 })?;
//! writer.event(2, 20, Op::Realloc { old: 0x1000, size: 300, new: 0x2000 })?;
//! writer.event(1, 30, Op::Free { addr: 0x2000 })?;
//! let trace = Trace::new(writer.finish()?)?;
//!
//! let mut calls = trace.calls(0)?;
//! let seen: Vec<_> = calls.by_ref().map(|timed| timed.call).collect();
//! assert!(matches!(seen[1], Call::Resize { block: 0, size: 300, .. }));
//! assert_eq!(calls.blocks().peak_bytes(), 300);
//! assert!(calls.ending().is_whole());
//! # Ok::<(), freestone_trace::TraceError>(())
//! ```

mod calls;
mod ending;
mod events;
mod file;
mod pack;
mod process;
mod source;
mod write;

pub use calls::{Block, Blocks, Call, Calls, Timed};
pub use ending::{Damage, Ending, TraceError};
pub use events::Events;
pub use file::Trace;
pub use freestone_base::trace::{Event, Op, Way};
pub use pack::{Packed, pack};
pub use process::{Clock, Process};
pub use source::Source;
pub use write::{ProcessInfo, TraceWriter};
