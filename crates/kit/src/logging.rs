//! Says what goes through it, call by call.
//!
//! # What it is, and where it comes from
//!
//! After each call the [`Sink`] is told what was asked for and what came of it: Zig's `std.heap.LoggingAllocator` and
//! `LogToWriterAllocator` (2019). Sinks are any function of an [`Event`], [`ToLog`] for the crate `log`, with a level for
//! success and one for failure, and [`ToWriter`] for whatever can be written to.
//!
//! # When to use it, and when not
//!
//! To see what a piece of code asks for, and to compare that in a test. For figures take [`Counting`](crate::counting::Counting);
//! for a whole program `freestone record`.
//!
//! A sink that allocates from the same allocator, as when it is the program's, is not told of its own allocations.
//!
//! # Costs
//!
//! Those of the sink, after each call.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "allocator-api2-04")] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::{c::C, logging::{Logging, ToWriter}};
//!
//! let logging = Logging::new(C, ToWriter::new(std::vec::Vec::new()));
//! let mut numbers: Vec<u32, _> = Vec::with_capacity_in(2, &logging);
//! numbers.extend([1, 2, 3]);
//! drop(numbers);
//! let written = logging.into_sink().into_inner();
//! assert_eq!(String::from_utf8(written).unwrap(), "\
//! allocate: 8 bytes, align 4
//! grow: 8 to 16 bytes, align 4
//! free: 16 bytes, align 4
//! ");
//! # }
//! ```
//!
//! # Safety
//!
//! Each call is handed on, with the caller's promise. A sink that panics ends the process: whoever had a block moved would
//! go on with its old address if that unwound.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use log::Level;

use crate::alloc::without_unwinding;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Owns, Remap, ResizeInPlace, UsableSize};

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// A new block.
    Allocate,
    /// A new block of zeros.
    AllocateZeroed,
    /// A block is given back.
    Free,
    /// A block is to be longer.
    Grow,
    /// A block is to be longer, with zeros.
    GrowZeroed,
    /// A block is to be shorter.
    Shrink,
    /// A block is to change its size where it lies.
    ResizeInPlace,
    /// A block is to change its size without a copy.
    Remap,
}

/// One call, after it was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What was asked for.
    pub action: Action,
    /// The block's layout before, if there was a block.
    pub old: Option<Layout>,
    /// The layout that was asked for, unless the block was freed.
    pub new: Option<Layout>,
    /// Where the block was before, if there was one.
    pub from: Option<usize>,
    /// Where it is now; for a refusal nowhere.
    pub at: Option<usize>,
}

impl Event {
    /// Whether it was granted. A free always is.
    pub fn granted(&self) -> bool {
        self.at.is_some() || self.action == Action::Free
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            Action::Allocate => "allocate",
            Action::AllocateZeroed => "allocate zeroed",
            Action::Free => "free",
            Action::Grow => "grow",
            Action::GrowZeroed => "grow zeroed",
            Action::Shrink => "shrink",
            Action::ResizeInPlace => "resize in place",
            Action::Remap => "remap",
        })?;
        match (self.old, self.new) {
            (Some(old), Some(new)) => {
                write!(f, ": {} to {} bytes, align {}", old.size(), new.size(), new.align())?
            }
            (Some(one), None) | (None, Some(one)) => {
                write!(f, ": {} bytes, align {}", one.size(), one.align())?
            }
            (None, None) => {}
        }
        if self.granted() { Ok(()) } else { f.write_str(", refused") }
    }
}

/// Is told of each call.
///
/// It is called inside the allocation. A panic in it ends the process, for an allocation must not unwind.
pub trait Sink {
    /// One call is done.
    fn record(&self, event: &Event);
}

impl<F: Fn(&Event)> Sink for F {
    fn record(&self, event: &Event) {
        self(event);
    }
}

/// Writes to the crate `log`.
#[derive(Clone, Copy, Debug)]
pub struct ToLog {
    /// The target, by which loggers choose.
    pub target: &'static str,
    /// The level of what is granted.
    pub success: Level,
    /// The level of what is refused.
    pub failure: Level,
}

impl Default for ToLog {
    /// `freestone_kit`, at the levels `Debug` and `Error`.
    fn default() -> ToLog {
        ToLog { target: "freestone_kit", success: Level::Debug, failure: Level::Error }
    }
}

impl Sink for ToLog {
    fn record(&self, event: &Event) {
        let level = if event.granted() { self.success } else { self.failure };
        log::log!(target: self.target, level, "{event}");
    }
}

/// Writes a line for each call. What cannot be written is dropped.
#[derive(Debug, Default)]
pub struct ToWriter<W>(Mutex<W>);

impl<W: Write> ToWriter<W> {
    /// Lines go to `writer`.
    pub fn new(writer: W) -> ToWriter<W> {
        ToWriter(Mutex::new(writer))
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> Sink for ToWriter<W> {
    fn record(&self, event: &Event) {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An allocator has nobody to tell.
        let _ = writeln!(writer, "{event}");
    }
}

/// Tells `S` of each call of the allocator `A`.
#[derive(Debug, Default)]
pub struct Logging<A, S> {
    parent: A,
    sink: S,
}

thread_local! {
    /// Whether this thread is inside a sink.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

impl<A, S: Sink> Logging<A, S> {
    /// Calls go to `parent`, and word of them to `sink`.
    pub const fn new(parent: A, sink: S) -> Self {
        Logging { parent, sink }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// The sink, without the allocator.
    pub fn into_sink(self) -> S {
        self.sink
    }

    fn tell(
        &self,
        action: Action,
        before: Option<(NonNull<u8>, Layout)>,
        new: Option<Layout>,
        at: Option<NonNull<u8>>,
    ) {
        if TELLING.replace(true) {
            return;
        }
        let (from, old) = before.unzip();
        let address = |block: NonNull<u8>| block.addr().get();
        let event = Event { action, old, new, from: from.map(address), at: at.map(address) };
        without_unwinding("the sink of a logging allocator", || self.sink.record(&event));
        TELLING.set(false);
    }

    fn told(
        &self,
        action: Action,
        before: Option<(NonNull<u8>, Layout)>,
        new: Layout,
        done: Allocated,
    ) -> Allocated {
        self.tell(action, before, Some(new), done.ok().map(NonNull::cast));
        done
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: Alloc, S: Sink> Alloc for Logging<A, S> {
    fn allocate(&self, layout: Layout) -> Allocated {
        self.told(Action::Allocate, None, layout, self.parent.allocate(layout))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.parent.deallocate(block, layout) };
        self.tell(Action::Free, Some((block, layout)), None, None);
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        self.told(Action::AllocateZeroed, None, layout, self.parent.allocate_zeroed(layout))
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.grow(block, old, new) };
        self.told(Action::Grow, Some((block, old)), new, done)
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.grow_zeroed(block, old, new) };
        self.told(Action::GrowZeroed, Some((block, old)), new, done)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.shrink(block, old, new) };
        self.told(Action::Shrink, Some((block, old)), new, done)
    }
}

implement_allocator!(impl[A: Alloc, S: Sink] Logging<A, S>);

// SAFETY: the parent's answer.
unsafe impl<A: Owns, S: Sink> Owns for Logging<A, S> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.parent.owns(address)
    }
}

// SAFETY: the parent's answer.
unsafe impl<A: UsableSize, S: Sink> UsableSize for Logging<A, S> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.parent.usable_size(block, layout) }
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: ResizeInPlace, S: Sink> ResizeInPlace for Logging<A, S> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.resize_in_place(block, old, new) };
        self.tell(Action::ResizeInPlace, Some((block, old)), Some(new), done.ok().map(|()| block));
        done
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: Remap, S: Sink> Remap for Logging<A, S> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.remap(block, old, new) };
        self.told(Action::Remap, Some((block, old)), new, done)
    }
}
