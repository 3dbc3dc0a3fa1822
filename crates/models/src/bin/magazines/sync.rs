//! The kit's `sync` module: a lock that the checker knows, and faulty on demand.
//!
//! # Safety
//!
//! *Owner*: a guard is made only by the thread that set the flag. Where the fault is on, two threads may come to
//! think so: each says that it is inside before it makes its guard, and the second ends the run.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use shuttle::sync::atomic::AtomicBool;

/// Whether taking a lock is a look and then a store.
pub(crate) static TORN: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

pub(crate) mod atomic {
    pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};
}

use atomic::Ordering;

pub(crate) struct Lock<T> {
    taken: AtomicBool,
    inside: core::sync::atomic::AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: owner: threads have the value one after the other.
unsafe impl<T: Send> Sync for Lock<T> {}

pub(crate) struct Guard<'l, T>(&'l Lock<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        let inside = core::sync::atomic::AtomicBool::new(false);
        Lock { taken: AtomicBool::new(false), inside, value: UnsafeCell::new(value) }
    }

    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let was_taken = if TORN.load(core::sync::atomic::Ordering::Relaxed) {
            let was_taken = self.taken.load(Ordering::SeqCst);
            if !was_taken {
                self.taken.store(true, Ordering::SeqCst);
            }
            was_taken
        } else {
            self.taken.swap(true, Ordering::SeqCst)
        };
        if was_taken {
            return None;
        }
        let was_inside = self.inside.swap(true, core::sync::atomic::Ordering::SeqCst);
        assert!(!was_inside, "two threads have one lock");
        Some(Guard(self))
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            shuttle::thread::yield_now();
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0.inside.store(false, core::sync::atomic::Ordering::SeqCst);
        self.0.taken.store(false, Ordering::SeqCst);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: owner.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: owner.
        unsafe { &mut *self.0.value.get() }
    }
}
