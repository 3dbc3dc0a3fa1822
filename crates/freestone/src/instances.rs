//! The one general-purpose allocator.
//!
//! In a file of its own, whose name is no accident: the linker lays statics out by name, and what is written at every
//! start should share pages, not lie on both sides of a megabyte. Nothing but a page or two depends on it.
//!
//! # Safety
//!
//! There is one instance, so there is one user of the system's first memory.
#![allow(unsafe_code)]

use core::ptr::null_mut;

use freestone_base::CLASS_COUNT;
use freestone_sys::Linux;

use crate::central::Central;
use crate::deferred::Deferred;
use crate::pageheap::PageHeap;
use crate::slow::Levels;
use crate::sync::atomic::AtomicPtr;

/// The central lists.
pub(crate) static CENTRALS: [Central; CLASS_COUNT] = [const { Central::new() }; CLASS_COUNT];

/// All the rest of it.
pub static LEVELS: Levels = Levels {
    deferred: Deferred::new(),
    // SAFETY: see above.
    pages: PageHeap::new(unsafe { Linux::with_first_memory() }),
    uncached: [const { AtomicPtr::new(null_mut()) }; CLASS_COUNT],
};
