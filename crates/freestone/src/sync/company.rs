//! How the program's only thread does without locked instructions, and the allocator's own thread keeps out of its way.
//!
//! This is Dekker's mutual exclusion with the barrier of the one side moved to the other:
//!
//! ```text
//! the program's thread                       the allocator's own
//! plain = true                               accompanied = true
//! (compiler barrier)                         membarrier
//! accompanied ? not plainly : go             plain ? wait : go
//! ```
//!
//! The kernel's barrier falls somewhere between two instructions of the program's thread. Where it falls behind the store,
//! the other side sees `plain` and waits; where it falls before the load, this side sees `accompanied`.

use crate::sync::atomic::{AtomicBool, Ordering};

/// Who is inside.
pub(crate) struct Company {
    /// The allocator's own thread may be inside.
    accompanied: AtomicBool,
    /// The only thread of the program is inside, and keeps nobody out.
    plain: AtomicBool,
}

impl Company {
    pub(crate) const fn new() -> Company {
        Company { accompanied: AtomicBool::new(false), plain: AtomicBool::new(false) }
    }

    /// Whether whoever is inside is there plainly.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// Enters plainly if there is `one_thread` in the program and no other. `barrier` is for the compiler only.
    #[inline(always)]
    pub(crate) fn enter_plainly(&self, one_thread: impl Fn() -> bool, barrier: impl Fn()) -> bool {
        // Acquire pairs with the Release in `leave_alone`: who finds himself alone sees all that the other did.
        let alone = || one_thread() && !self.accompanied.load(Ordering::Acquire);
        if !alone() {
            return false;
        }
        self.plain.store(true, Ordering::Relaxed);
        barrier();
        if !alone() {
            self.plain.store(false, Ordering::Release);
            return false;
        }
        true
    }

    /// Ends what [`enter_plainly`](Company::enter_plainly) began.
    #[inline(always)]
    pub(crate) fn leave_plainly(&self) {
        // Release pairs with the Acquire in `accompany`: who may enter sees all that was done inside.
        self.plain.store(false, Ordering::Release);
    }

    /// Called by the program's only thread outside: nobody is alone any more.
    pub(crate) fn expect(&self) {
        self.accompanied.store(true, Ordering::Release);
    }

    /// Waits until nobody is plainly inside or will be. `barrier` is one in every thread of the program; false, and nobody
    /// waited for, where there was none.
    pub(crate) fn accompany(&self, barrier: impl Fn() -> bool, mut wait: impl FnMut()) -> bool {
        self.accompanied.store(true, Ordering::Relaxed);
        if !barrier() {
            return false;
        }
        self.wait(&mut wait);
        true
    }

    /// Waits until nobody is plainly inside.
    pub(crate) fn wait(&self, mut wait: impl FnMut()) {
        while self.plain.load(Ordering::Acquire) {
            wait();
        }
    }

    /// The one who accompanied is outside, and enters no more before it accompanies again.
    pub(crate) fn leave_alone(&self) {
        self.accompanied.store(false, Ordering::Release);
    }
}
