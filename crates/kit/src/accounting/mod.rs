//! Exact accounting, a limit, and active defragmentation, after Redis.
//!
//! # What it is
//!
//! * [`Accounting`] counts the bytes in use of any allocator, exactly, over all threads; keeps them within a limit; and
//!   asks an [`OomHandler`] before it refuses, which may evict something and have the request tried again. It counts
//!   what was [`Requested`], or what is [`Usable`] where the parent can tell.
//! * [`Slabs`] is a heap that can say of a block whether it *should move*: whether it lies in a slab that is emptier
//!   than others.
//! * A [`Cycle`] walks through a user's structure, which takes part by the trait [`Defrag`]; blocks that should move
//!   are copied to fuller slabs, until the sparse ones are empty and go back. It works in slices of time, so much the
//!   more as there is to gain.
//!
//! ```text
//!            Defrag (the user's structure)            Clock
//!               ^ next piece      | blocks              |
//!               |                 v                     v
//!   tick -->  Cycle -----------> Mover -- should_move, allocate, copy, deallocate --> Slabs
//!                                                                                      |
//!   allocate --> Accounting -- charge: spare bytes of the thread, else the limit ------+--> parent
//! ```
//!
//! # Where it comes from
//!
//! Redis: `zmalloc.c` (2009; exact use, limit by `maxmemory`, `zmalloc_set_oom_handler`), and `defrag.c` with a hint
//! from its own jemalloc (Oran Agra, 2017, Redis 4). What differs: Redis keeps the limit in its command loop, here the
//! allocator does; Redis counts with one atomic, later with one a thread; here threads reserve bytes in batches, which
//! keeps the limit exact too.
//!
//! # When to use it, and when not
//!
//! Accounting: for caches, tenants, and servers that must say and bound what they use. Not for a bound that waits
//! ([`BoundedPool`](crate::BoundedPool)), nor for a single thread ([`Limiting`](crate::limiting) is simpler).
//! Defragmentation: for long-lived structures that own their blocks and can tell all who point to them. Not where
//! addresses are handed out.
//!
//! # Costs
//!
//! Accounting: one read-modify-write for each call, on one of 16 lines, so that few threads share it; when no more than
//! 512 KiB are left to the limit, up to 17 more. `Slabs`: one lock for all threads, constant time; 64 bytes a slab of
//! 64 KiB. A hint: the same lock and one header. A cycle: its share of the time, and one piece of the structure more.
//!
//! # Example
//!
//! ```
//! use freestone_kit::accounting::{Accounting, Requested, Shortage, Slabs, Verdict};
//! use freestone_kit::{Alloc, c::C};
//! use std::alloc::Layout;
//!
//! let handler = |shortage: &Shortage| {
//!     assert_eq!((shortage.used, shortage.limit), (900, 1000));
//!     Verdict::Refuse
//! };
//! let memory: Accounting<_, Requested, _> = Accounting::with(Slabs::new(C), 1000, handler);
//! let layout = Layout::from_size_align(900, 8).unwrap();
//! let block = memory.allocate(layout).unwrap();
//! assert_eq!(memory.used(), 900);
//! assert!(memory.allocate(Layout::new::<[u8; 101]>()).is_err());
//! // SAFETY: a live block of that layout.
//! unsafe { memory.deallocate(block.cast(), layout) };
//! assert_eq!(memory.used(), 0);
//! ```

mod allocator;
mod cycle;
mod hints;
mod ledger;
mod measure;
mod mover;
mod shard;
mod shortage;
mod slabs;

pub use allocator::{Accounting, AccountingStats};
#[cfg(feature = "system")]
pub use cycle::SystemClock;
pub use cycle::{Clock, Cycle, Defrag, DefragConfig, DefragStats, Tick};
pub use hints::{Fragmentation, MoveHints};
pub use measure::{Measure, Requested, Usable};
pub use mover::{Mover, Owned};
pub use shortage::{Cause, OomHandler, Refuse, Shortage, Verdict};
pub use slabs::{MOST, SLAB, Slabs};
