//! How the owner of a cache uses it without locked instructions, and somebody else empties it while the owner does not.
//!
//! This is Dekker's mutual exclusion with the barrier of the one side moved to the other, as in `sync/company.rs`; but nobody waits:
//! who finds the other there does without the cache. Only at its end the owner waits, on a lock that is held as long as a cache is closed.
//!
//! ```text
//! the owner                                  who empties
//! inside = 1                                 closed = 1
//! (compiler barrier)                         membarrier
//! closed ? inside = 0, do without : go       inside ? closed = 0, do without : go
//! ```
//!
//! The kernel's barrier falls somewhere between two instructions of the owner's. Where it falls behind the store, the
//! other side sees `inside`; where it falls before the load, the owner sees `closed`. Both may see each other: then neither goes.
//!
//! A signal handler that interrupts the owner inside finds `inside` set and does without, too.

use crate::sync::atomic::{AtomicU8, Ordering};

/// Who may touch a cache.
pub(crate) struct Custody {
    /// The owner is inside.
    inside: AtomicU8,
    /// Somebody else is, or would like to be.
    closed: AtomicU8,
}

impl Custody {
    /// Nobody inside.
    #[allow(dead_code, reason = "zeroed memory is one as well; a model makes them so")]
    pub(crate) fn new() -> Custody {
        Custody { inside: AtomicU8::new(0), closed: AtomicU8::new(0) }
    }

    /// The owner enters, unless it is inside or somebody else may be. `barrier` is for the compiler only.
    #[inline(always)]
    pub(crate) fn enter(&self, barrier: impl Fn()) -> bool {
        if self.inside.load(Ordering::Relaxed) != 0 {
            return false;
        }
        self.inside.store(1, Ordering::Relaxed);
        barrier();
        // Acquire pairs with the Release in `open`: the owner sees what was done meanwhile.
        if self.closed.load(Ordering::Acquire) != 0 {
            self.leave();
            return false;
        }
        true
    }

    /// The owner enters for the last time, whatever it was doing. Nobody may have closed the cache, nor close it before this is done: a lock
    /// keeps them out.
    pub(crate) fn enter_at_last(&self) {
        self.inside.store(1, Ordering::Relaxed);
    }

    /// The owner leaves.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        // Release pairs with the Acquire in `is_deserted`: who empties sees what was done inside.
        self.inside.store(0, Ordering::Release);
    }

    /// Keeps the owner out, unless it is inside. Then there must be a barrier in every thread of the program, and then
    /// [`is_deserted`](Custody::is_deserted) tells. One at a time may do this, with a lock held until [`open`](Custody::open).
    pub(crate) fn close(&self) {
        self.closed.store(1, Ordering::Relaxed);
    }

    /// Whether the owner was not inside when the barrier came, and stays out.
    pub(crate) fn is_deserted(&self) -> bool {
        self.inside.load(Ordering::Acquire) == 0
    }

    /// Lets the owner in again.
    pub(crate) fn open(&self) {
        self.closed.store(0, Ordering::Release);
    }
}
