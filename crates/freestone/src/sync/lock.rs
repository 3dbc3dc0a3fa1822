//! A small mutual-exclusion lock: spins for a moment, then sleeps in the kernel.
//!
//! # Safety
//!
//! Invariant L1: the value is touched only through a [`Guard`], and a guard exists only while `state` is not
//! [`FREE`] and was set so by the guard's owner. The acquiring exchange (Acquire) pairs with the releasing
//! swap (Release), so each owner sees everything its predecessor wrote. While whoever is
//! inside the gate is there [plainly](plain) there is nobody to exclude, and plain stores will do.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::atomic::{AtomicU32, Ordering};
use super::plain;
use freestone_sys::linux::{futex_wait, futex_wake};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;
/// Looks at a held lock before sleeping; a critical section takes about as long as 50 of them.
const SPINS: u32 = 100;

/// A value that one thread at a time may use. Never poisoned: the allocator does not unwind.
#[repr(C)]
pub(crate) struct Lock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: L1 makes access exclusive, so sharing the lock only ever sends the value.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Exclusive access to the value of a [`Lock`], until dropped.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Lock<T> {
    /// An unlocked lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        Lock { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits until the lock is free and takes it.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        if plain() {
            // Nobody else is there, and nobody locks twice.
            debug_assert_eq!(self.state.load(Ordering::Relaxed), FREE);
            self.state.store(HELD, Ordering::Relaxed);
        } else if self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            lock_slow(&self.state);
        }
        Guard { lock: self }
    }

    /// Takes the lock if it is free.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        if plain() {
            debug_assert_eq!(self.state.load(Ordering::Relaxed), FREE);
            self.state.store(HELD, Ordering::Relaxed);
        } else {
            self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).ok()?;
        }
        Some(Guard { lock: self })
    }
}

/// Waits until a lock is free and takes it. One function for locks around whatever.
#[cold]
#[inline(never)]
fn lock_slow(state: &AtomicU32) {
    for _ in 0..SPINS {
        if state.load(Ordering::Relaxed) == FREE
            && state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            return;
        }
        core::hint::spin_loop();
    }
    while state.swap(CONTENDED, Ordering::Acquire) != FREE {
        futex_wait(state, CONTENDED, None);
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if plain() {
            self.lock.state.store(FREE, Ordering::Relaxed);
        } else if self.lock.state.swap(FREE, Ordering::Release) == CONTENDED {
            futex_wake(&self.lock.state, 1);
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: L1, this guard is the owner.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: L1, this guard is the owner, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_exactly_under_contention() {
        let lock = Lock::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        *lock.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 160_000);
    }
}
