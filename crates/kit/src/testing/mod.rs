//! An allocator for tests: a test that leaks fails, and is told what and from where.
//!
//! # What it is
//!
//! [`Testing`] remembers each live block with its layout and the stack that it was allocated on. When it is dropped and blocks
//! are live, it panics with the list of them. A free of what is not live, or with another layout, panics at once, with where
//! the block came from. Fresh memory is filled with 0xaa, so that nobody takes it for zeros by luck.
//!
//! # Where it comes from
//!
//! Zig's `std.testing.allocator` (2020).
//!
//! # When to use it, and when not
//!
//! As the allocator of code under test that takes one. Not in production: each block costs a walk of the stack. To find out
//! how a program fails when memory runs out, put it under [`check_every_failure`](crate::failing::check_every_failure); for overruns
//! and uses after free, take [`debug`](crate::debug).
//!
//! # Costs
//!
//! A walk of the stack, an entry in a hash table, and a lock for each block; symbols are looked up only for a report.
//!
//! # Example
//!
//! ```should_panic
//! use freestone_kit::{Alloc, c::C, testing::Testing};
//! use std::alloc::Layout;
//!
//! let testing = Testing::new(C);
//! let _forgotten = testing.allocate(Layout::new::<u64>()).unwrap();
//! // Here it is dropped: "1 block leaked, 8 bytes: ..."
//! ```
//!
//! # Safety
//!
//! *Known*: a block is handed to the parent only when the table says that it is live, and with the layout of the table.
#![allow(unsafe_code)]

mod trace;

pub use trace::Trace;

use std::alloc::Layout;
use std::collections::HashMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::alloc::exactly;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocStats, Allocated, Stats};

/// What a fresh byte holds.
const FRESH: u8 = 0xaa;

/// A block that was not freed.
#[derive(Clone, Debug)]
pub struct Leak {
    /// Where the block is.
    pub address: usize,
    /// What was asked for.
    pub layout: Layout,
    /// Where it was allocated, or changed its size last.
    pub trace: Trace,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, align) = (self.layout.size(), self.layout.align());
        writeln!(f, "  {size} bytes aligned to {align}, allocated at")?;
        write!(f, "{}", self.trace)
    }
}

#[derive(Default)]
struct State {
    live: HashMap<usize, (Layout, Trace)>,
    counts: AllocStats,
}

/// An allocator that panics when it is dropped with live blocks. All threads may use it.
pub struct Testing<A: Alloc> {
    state: Mutex<State>,
    parent: A,
}

impl<A: Alloc> Testing<A> {
    /// Blocks come from `parent`, and records from the program's global allocator.
    pub fn new(parent: A) -> Testing<A> {
        Testing { state: Mutex::default(), parent }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The blocks that are live, by address.
    pub fn leaks(&self) -> Vec<Leak> {
        let state = self.state();
        let live = state.live.iter();
        let mut leaks: Vec<Leak> = live
            .map(|(&address, (layout, trace))| Leak { address, layout: *layout, trace: trace.clone() })
            .collect();
        leaks.sort_by_key(|leak| leak.address);
        leaks
    }

    /// What the panic would say, or nothing if no block is live.
    pub fn report(&self) -> Option<String> {
        let leaks = self.leaks();
        let bytes: usize = leaks.iter().map(|leak| leak.layout.size()).sum();
        let list: String = leaks.iter().map(Leak::to_string).collect();
        let blocks = if leaks.len() == 1 { "1 block" } else { &format!("{} blocks", leaks.len()) };
        (!leaks.is_empty()).then(|| format!("{blocks} leaked, {bytes} bytes:\n{list}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a report of misuse; the table was in order when it was made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            let trace = Trace::capture();
            let mut state = self.state();
            state.live.insert(block.addr().get(), (layout, trace));
            state.counts.live_bytes += layout.size();
            state.counts.peak_bytes = state.counts.peak_bytes.max(state.counts.live_bytes);
        }
    }

    /// Takes a block out of the table, and panics if it is not as the caller says.
    #[track_caller]
    fn leave(&self, block: NonNull<u8>, layout: Layout, doing: &str) {
        if layout.size() == 0 {
            return;
        }
        let address = block.addr().get();
        let mut state = self.state();
        match state.live.remove(&address) {
            Some((known, _)) if known == layout => state.counts.live_bytes -= layout.size(),
            Some((known, trace)) => {
                state.live.insert(address, (known, trace.clone()));
                drop(state);
                panic!(
                    "{doing} with {layout:?} of a block that was allocated with {known:?} at\n{trace}    the {doing}:\n{}",
                    Trace::capture()
                );
            }
            None => {
                drop(state);
                panic!(
                    "{doing} of {block:?}, which is not live: freed before, or never allocated here; at\n{}",
                    Trace::capture()
                );
            }
        }
    }

    fn fresh(&self, done: Allocated, layout: Layout, filled_from: Option<usize>) -> Allocated {
        let Ok(block) = exactly(done, layout) else {
            self.state().counts.refused += 1;
            return done;
        };
        if let Some(from) = filled_from {
            // SAFETY: the block is longer than that.
            let tail = unsafe { block.cast::<u8>().add(from) };
            // SAFETY: the block goes on for that much.
            unsafe { tail.write_bytes(FRESH, layout.size() - from) };
        }
        self.enter(block.cast(), layout);
        Ok(block)
    }

    fn count_block(&self, done: &Allocated, layout: Layout) {
        if done.is_ok() {
            let mut state = self.state();
            state.counts.total_blocks += 1;
            state.counts.total_bytes += layout.size() as u64;
        }
    }

    /// A change of size: out of the table, and in again, whatever the parent says.
    fn resized(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
        zeroed: bool,
        ask: impl FnOnce() -> Allocated,
    ) -> Allocated {
        self.leave(block, old, if new.size() < old.size() { "shrinking" } else { "growing" });
        let done = ask();
        if done.is_err() {
            self.enter(block, old);
        }
        let from = (new.size() > old.size() && !zeroed).then_some(old.size());
        self.fresh(done, new, from)
    }
}

// SAFETY: known; the parent keeps the contract.
unsafe impl<A: Alloc> Alloc for Testing<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        let done = self.parent.allocate(layout);
        self.count_block(&done, layout);
        self.fresh(done, layout, Some(0))
    }

    /// # Panics
    ///
    /// When the block is not live, or was allocated with another layout.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.leave(block, layout, "freeing");
        // SAFETY: known.
        unsafe { self.parent.deallocate(block, layout) }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        let done = self.parent.allocate_zeroed(layout);
        self.count_block(&done, layout);
        self.fresh(done, layout, None)
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: known; the caller's promise.
        self.resized(block, old, new, false, || unsafe { self.parent.grow(block, old, new) })
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: known; the caller's promise.
        self.resized(block, old, new, true, || unsafe { self.parent.grow_zeroed(block, old, new) })
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: known; the caller's promise.
        self.resized(block, old, new, false, || unsafe { self.parent.shrink(block, old, new) })
    }
}

implement_allocator!(impl[A: Alloc] Testing<A>);

impl<A: Alloc> Stats for Testing<A> {
    fn stats(&self) -> AllocStats {
        let state = self.state();
        AllocStats { live_blocks: state.live.len(), ..state.counts }
    }
}

impl<A: Alloc> Drop for Testing<A> {
    /// # Panics
    ///
    /// When blocks are live, unless the thread is panicking already: then the list goes to standard error.
    fn drop(&mut self) {
        match self.report() {
            Some(report) if thread::panicking() => eprintln!("{report}"),
            Some(report) => panic!("{report}"),
            None => {}
        }
    }
}

impl<A: Alloc> fmt::Debug for Testing<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Testing").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
