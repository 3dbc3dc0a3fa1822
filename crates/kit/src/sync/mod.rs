//! What the kit's concurrent parts stand on: the atomics, behind a door where a model checker can stand in for them, and a
//! small lock.
//!
//! The crate's own files name atomics only as `crate::sync::atomic::…`. The models compile the same files in a crate where
//! that name means the checker's.
//!
//! [`Lock`] is a lock for short critical sections that needs neither the standard library nor a thread-local. With the
//! feature `system` a thread that waits long sleeps in the kernel (a futex); without it, it spins, and then a lock
//! whose owner does not run costs the waiter its whole time slice.
//!
//! ```
//! use freestone_kit::sync::Lock;
//!
//! static COUNT: Lock<u32> = Lock::new(0);
//! *COUNT.lock() += 1;
//! assert_eq!(*COUNT.lock(), 1);
//! let held = COUNT.lock();
//! assert!(COUNT.try_lock().is_none());
//! # drop(held);
//! ```

mod lock;

pub use lock::{Guard, Lock};

/// The atomics that the whole crate uses.
pub(crate) mod atomic {
    // Which of them are used depends on the features.
    #[allow(unused_imports)]
    pub(crate) use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// Waiting for a word to change.
pub(crate) mod park {
    use super::atomic::AtomicU32;

    /// How often a waiter looks at a taken lock before it sleeps.
    pub(crate) const LOOKS: u32 = 100;

    /// Returns when `word` may no longer be `expected`: at the latest when another thread changed and woke it.
    #[cfg(feature = "system")]
    pub(crate) fn wait(word: &AtomicU32, expected: u32) {
        freestone_sys::linux::futex_wait(word, expected, None);
    }

    /// Wakes one thread that waits.
    #[cfg(feature = "system")]
    pub(crate) fn wake(word: &AtomicU32) {
        freestone_sys::linux::futex_wake(word, 1);
    }

    /// Returns at once: the caller looks again.
    #[cfg(not(feature = "system"))]
    pub(crate) fn wait(_word: &AtomicU32, _expected: u32) {
        core::hint::spin_loop();
    }

    /// Nobody sleeps.
    #[cfg(not(feature = "system"))]
    pub(crate) fn wake(_word: &AtomicU32) {}
}
