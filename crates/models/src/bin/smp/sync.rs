//! The kit's `sync` module: a lock of which the checker sees every step, and in which it may let another thread run.
//!
//! # Safety
//!
//! *Alone*: shuttle runs one thread at a time and switches only where a checked atomic is used; the value is not touched
//! there. So even two guards at once, which the model reports, are no data race.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) mod atomic {
    pub(crate) use core::sync::atomic::{AtomicUsize, Ordering};
}

/// Whether taking a lock is torn into two steps.
pub(crate) static TORN: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

pub(crate) struct Lock<T> {
    taken: AtomicBool,
    guards: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: *alone*.
unsafe impl<T: Send> Sync for Lock<T> {}

pub(crate) struct Guard<'l, T> {
    lock: &'l Lock<T>,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock { taken: AtomicBool::new(false), guards: AtomicUsize::new(0), value: UnsafeCell::new(value) }
    }

    fn take(&self) -> bool {
        if TORN.load(core::sync::atomic::Ordering::Relaxed) {
            let was = self.taken.load(Ordering::SeqCst);
            self.taken.store(true, Ordering::SeqCst);
            !was
        } else {
            !self.taken.swap(true, Ordering::SeqCst)
        }
    }

    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.take().then(|| {
            assert_eq!(self.guards.fetch_add(1, Ordering::SeqCst), 0, "two threads have one slot");
            Guard { lock: self }
        })
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        loop {
            match self.try_lock() {
                Some(guard) => return guard,
                None => shuttle::thread::yield_now(),
            }
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.guards.fetch_sub(1, Ordering::SeqCst);
        self.lock.taken.store(false, Ordering::SeqCst);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: *alone*.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // A place where another thread may run.
        self.lock.taken.load(Ordering::SeqCst);
        // SAFETY: *alone*.
        unsafe { &mut *self.lock.value.get() }
    }
}
