//! A small mutual-exclusion lock: a word, and the value it guards.
//!
//! # Safety
//!
//! *Owner*: the value is reached only through a [`Guard`] or through `&mut Lock`. A guard is made only by the thread
//! that changed the word from [`FREE`], and the word becomes `FREE` again only when the guard is dropped; so there is one
//! guard at a time.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::atomic::{AtomicU32, Ordering};
use super::park;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and somebody may be asleep for it.
const AWAITED: u32 = 2;

/// A value that one thread at a time may use. A panic under the lock releases it: nothing is poisoned.
///
/// Costs one exchange to take and one to release when nobody else wants it. Not fair, and not to be taken twice by one
/// thread, which would wait for itself.
#[derive(Default)]
pub struct Lock<T: ?Sized> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: owner: threads have the value one after the other, as if it were sent from each to the next.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

/// The right to use the value of a [`Lock`], until it is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard<'l, T: ?Sized> {
    lock: &'l Lock<T>,
}

// SAFETY: a shared guard gives shared references to the value, no more.
unsafe impl<T: ?Sized + Sync> Sync for Guard<'_, T> {}

impl<T> Lock<T> {
    /// A lock that nobody holds.
    pub const fn new(value: T) -> Lock<T> {
        Lock { word: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// The value, which nobody else can have any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Takes the lock, waiting until it is free.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        // Acquire: pairs with the release in `Guard::drop`, so that we see what the last owner wrote.
        if self.word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
        Guard { lock: self }
    }

    /// Takes the lock if nobody has it.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Acquire: as in `lock`.
        let taken = self.word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok();
        taken.then(|| Guard { lock: self })
    }

    /// The value, without the lock, since nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[cold]
    fn lock_slow(&self) {
        for _ in 0..park::LOOKS {
            core::hint::spin_loop();
            if self.word.load(Ordering::Relaxed) == FREE
                // Acquire: as in `lock`.
                && self.word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
        }
        // From here on the word says that somebody may sleep, also when it is us who take it: there may be others.
        // Acquire: as in `lock`.
        while self.word.swap(AWAITED, Ordering::Acquire) != FREE {
            park::wait(&self.word, AWAITED);
        }
    }
}

impl<T: ?Sized> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire of whoever takes the lock next.
        if self.lock.word.swap(FREE, Ordering::Release) == AWAITED {
            park::wake(&self.lock.word);
        }
    }
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: owner.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: owner, and the guard is ours alone.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Lock").field(&&*guard).finish(),
            None => f.write_str("Lock(<taken>)"),
        }
    }
}
