//! Freestone: a general-purpose memory allocator for Linux.
//!
//! # Should I use this?
//!
//! As the allocator of a Rust program, yes: two lines, see [`Freestone`]. For a program in another language take the
//! C library of the crate `freestone-malloc`, or the command `freestone run`. Where memory must be freed all at once,
//! see [`Heap`]. It runs on Linux only, on x86-64 with per-CPU caches, elsewhere with per-thread caches.
//!
//! # How it works
//!
//! `ARCHITECTURE.md` has the map. A request goes down as far as it must: `front` (one screen), `cache/`, `central/`,
//! `pageheap/`, the system. `slow` holds what a fast path leaves undone, `gate` guards it.
//!
//! Options are read from the variable `FREESTONE_CONF` on the first request, `key:value` separated by commas:
//! `docs/tuning.md` lists them. A program can bring its own in a constant, see [`Options`].
#![cfg_attr(not(test), no_std)]

#[cfg(any(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
mod allocator_api;
mod background;
mod cache;
mod central;
mod chance;
pub mod control;
mod counters;
mod debug;
mod deferred;
mod emergency;
mod front;
#[cfg(target_arch = "x86_64")]
mod front_c;
#[cfg(not(target_arch = "x86_64"))]
mod front_c_absent;
mod gate;
mod global;
mod guard;
mod harden;
mod heap;
mod hot;
mod instances;
mod knobs;
pub mod ledger;
pub mod limit;
mod merged;
mod message;
mod observe;
mod oom;
mod page_class;
mod pageheap;
mod pressure;
pub mod profile;
pub mod raw;
mod record;
mod report;
mod resize;
mod scavenge;
mod slow;
mod stack;
mod start;
mod stats;
mod sync;
mod tls;
mod tune;
mod verify;
mod watched;

pub use counters::CallCounts;
pub use global::Freestone;
pub use heap::Heap;
pub use pageheap::PageHeapStats;
pub use stats::Stats;
pub use tune::Options;
pub use verify::{VerifyError, verify};

/// Figures of the allocator at this moment. O(slabs + caches), takes no long lock.
///
/// ```
/// let before = freestone::stats();
/// assert!(before.live_bytes <= before.pages.mapped);
/// ```
pub fn stats() -> Stats {
    raw::stats()
}

/// Every resident byte of the process in one line, at this moment: see [`ledger::take`].
pub fn ledger() -> Option<ledger::Ledger> {
    ledger::take()
}

/// Writes all figures as Prometheus' text format: what a service answers at `/metrics`.
///
/// # Errors
/// Those of `out`.
pub fn prometheus(out: &mut dyn core::fmt::Write) -> core::fmt::Result {
    ledger::write_prometheus(out)
}
