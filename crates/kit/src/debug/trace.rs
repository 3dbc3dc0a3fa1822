//! Stack traces: taking one without allocating, keeping each once, and naming its frames.
//!
//! # Safety
//!
//! *Unwinding*: walking this thread's own stack needs no lock on Linux, whose unwinder finds its tables with
//! `dl_iterate_phdr`.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::fmt;
use std::path::Path;

use super::config::DebugConfig;
use super::table::{Index, List};
use crate::caller::{is_helpers, is_ours};
use crate::{Alloc, AllocError};

/// Frames of the allocator itself that may precede those of its caller; they are not shown.
const OWN_FRAMES: usize = 16;
const MOST: usize = DebugConfig::MOST_FRAMES + OWN_FRAMES;

/// Where a thread was: return addresses, the innermost first.
#[derive(Clone, Copy)]
pub struct Trace {
    frames: [usize; MOST],
    len: usize,
    shown: usize,
    thread: u32,
}

impl Trace {
    pub(super) const NONE: Trace = Trace { frames: [0; MOST], len: 0, shown: 0, thread: 0 };

    /// Where this thread is, to show `depth` frames of; does not allocate.
    pub(super) fn take(depth: usize) -> Trace {
        let mut trace = Trace { shown: depth, thread: thread_number(), ..Trace::NONE };
        if depth > 0 {
            let most = depth + OWN_FRAMES;
            let note = |frame: &backtrace::Frame| {
                trace.frames[trace.len] = frame.ip().addr();
                trace.len += 1;
                trace.len < most
            };
            // SAFETY: *unwinding*.
            unsafe { backtrace::trace_unsynchronized(note) };
        }
        trace
    }

    /// Whether there are frames to show.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The kernel's number of the thread.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// The functions of the trace by name, the innermost first: without the allocator's own and the runtime's. Each function
    /// that was inlined is there, too.
    pub fn functions(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.each_function(|name, _| names.push(name.to_string()));
        names
    }

    fn each_function(&self, mut note: impl FnMut(&str, Option<String>)) {
        let (mut inside, mut outside, mut shown) = (true, false, 0);
        for &frame in &self.frames[..self.len] {
            if outside || shown == self.shown {
                return;
            }
            let mut any = false;
            let mut told = false;
            backtrace::resolve(core::ptr::without_provenance_mut(frame), |symbol| {
                any = true;
                let name = symbol.name().map_or_else(|| "?".to_string(), |name| format!("{name:#}"));
                outside = outside || is_runtime(&name);
                inside = inside && is_own(&name, symbol.filename());
                if !inside && !outside {
                    let place = symbol.filename().map(|file| match (symbol.lineno(), symbol.colno()) {
                        (Some(line), Some(column)) => format!("{}:{line}:{column}", file.display()),
                        (Some(line), None) => format!("{}:{line}", file.display()),
                        _ => file.display().to_string(),
                    });
                    note(&name, place);
                    told = true;
                }
            });
            if !any {
                inside = false;
                note(&format!("? at {frame:#x}"), None);
                told = true;
            }
            shown += usize::from(told);
        }
    }
}

/// Functions of the way from the caller into the trace.
fn is_own(name: &str, file: Option<&Path>) -> bool {
    let path = name.trim_start_matches(['<', '&', '_']);
    let own = ["freestone_kit::", "backtrace::", "allocator_api2::alloc::", "core::ops::function::"];
    own.iter().any(|prefix| path.starts_with(prefix)) || is_ours(file, &[""]) || is_helpers(file)
}

/// Functions below `main` or below a thread's first.
fn is_runtime(name: &str) -> bool {
    name.contains("__rust_begin_short_backtrace") || name.contains("std::rt::lang_start")
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("    (no trace was taken)\n");
        }
        let mut lines = String::new();
        let mut number = 0;
        self.each_function(|name, place| {
            lines.push_str(&format!("    {number}: {name}\n"));
            if let Some(place) = place {
                lines.push_str(&format!("         at {place}\n"));
            }
            number += 1;
        });
        f.write_str(&lines)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("thread", &self.thread).field("functions", &self.functions()).finish()
    }
}

fn thread_number() -> u32 {
    std::thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    // A thread that ends has no thread-locals any more, or may have none.
    NUMBER
        .try_with(|number| {
            if number.get() == 0 {
                number.set(freestone_sys::linux::thread_id() as u32);
            }
            number.get()
        })
        .unwrap_or(0)
}

/// Which trace in the [`Depot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId(u32);

impl TraceId {
    pub(super) const NONE: TraceId = TraceId(u32::MAX);
}

#[derive(Clone, Copy)]
struct Entry {
    hash: usize,
    start: u32,
    len: u32,
    /// Live blocks and bytes, while leaks are being counted.
    blocks: usize,
    bytes: usize,
}

/// All traces ever taken, each once: a program has far fewer of them than blocks.
pub(super) struct Depot {
    frames: List<usize>,
    entries: List<Entry>,
    index: Index,
}

impl Depot {
    pub(super) const fn new() -> Depot {
        Depot { frames: List::new(), entries: List::new(), index: Index::new() }
    }

    fn frames_of(&self, id: u32) -> &[usize] {
        let entry = self.entries.get(id);
        &self.frames.as_slice()[entry.start as usize..][..entry.len as usize]
    }

    /// The number of a trace, which is kept if it is new.
    pub(super) fn intern<A: Alloc>(&mut self, trace: &Trace, parent: &A) -> Result<TraceId, AllocError> {
        let frames = &trace.frames[..trace.len];
        if frames.is_empty() {
            return Ok(TraceId::NONE);
        }
        let hash = frames.iter().fold(0_usize, |hash, &frame| {
            (hash.rotate_left(5) ^ frame).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize)
        });
        let same = |id: u32| self.entries.get(id).hash == hash && self.frames_of(id) == frames;
        if let Some(id) = self.index.find(hash, same) {
            return Ok(TraceId(id));
        }
        let start = u32::try_from(self.frames.len()).map_err(|_| AllocError)?;
        self.frames.reserve(frames.len(), parent)?;
        self.entries.reserve(1, parent)?;
        self.index.reserve(self.entries.len() + 1, parent, |id| self.entries.get(id).hash)?;
        for &frame in frames {
            self.frames.push_reserved(frame);
        }
        let entry = Entry { hash, start, len: frames.len() as u32, blocks: 0, bytes: 0 };
        let id = self.entries.push_reserved(entry);
        self.index.insert_reserved(hash, id);
        Ok(TraceId(id))
    }

    /// A kept trace, taken by `thread`, to show `depth` frames of.
    pub(super) fn trace(&self, id: TraceId, thread: u32, depth: usize) -> Trace {
        if id == TraceId::NONE {
            return Trace { thread, ..Trace::NONE };
        }
        let kept = self.frames_of(id.0);
        let mut frames = [0; MOST];
        frames[..kept.len()].copy_from_slice(kept);
        Trace { frames, len: kept.len(), shown: depth, thread }
    }

    /// Starts a count of leaks.
    pub(super) fn clear_counts(&mut self) {
        for entry in self.entries.as_mut_slice() {
            (entry.blocks, entry.bytes) = (0, 0);
        }
    }

    /// Counts a block.
    pub(super) fn count(&mut self, id: TraceId, bytes: usize) {
        if id != TraceId::NONE {
            let entry = self.entries.get_mut(id.0);
            entry.blocks += 1;
            entry.bytes += bytes;
        }
    }

    /// What was counted for a trace, once. Blocks without a trace, of which one has `bytes`, are counted one by one.
    pub(super) fn take_count(&mut self, id: TraceId, bytes: usize) -> Option<(usize, usize)> {
        if id == TraceId::NONE {
            return Some((1, bytes));
        }
        let entry = self.entries.get_mut(id.0);
        let counted = (core::mem::take(&mut entry.blocks), core::mem::take(&mut entry.bytes));
        (counted.0 > 0).then_some(counted)
    }

    /// Gives all memory back.
    pub(super) fn release<A: Alloc>(&mut self, parent: &A) {
        self.frames.release(parent);
        self.entries.release(parent);
        self.index.release(parent);
    }
}
