//! Counts for several threads. The models run this very file under loom.
//!
//! The orders are those of Boost's and the standard library's counted pointers. A new handle is made out of one that is there, so
//! counting up orders nothing. Counting down *releases*, so that all a thread did with the object is done; who counted the last one
//! down *acquires* it from all of them, by loading the count once more, before the object goes.
//!
//! Each count has 32 bits. One that passes half of that ends the process: no program has two thousand million handles but by
//! forgetting them, and the threads that could pass at the same moment are fewer than the other half.
//!
//! # Safety
//!
//! The contracts of [`Counts`] and [`WeakCounts`]. *Lock*: [`LOCKED`] in the weak count means that somebody who has the only strong
//! handle looks whether there are weak ones; meanwhile nobody makes one.
#![allow(unsafe_code)]

use super::counts::{Counts, WeakCounts, end_too_many};
use super::sync::{AtomicU32, Ordering, let_others};

/// More handles than this end the process.
const MOST: u32 = u32::MAX / 2;

/// In a weak count: wait.
const LOCKED: u32 = u32::MAX;

#[inline]
fn up(count: &AtomicU32) {
    // Relaxed: see the module.
    if count.fetch_add(1, Ordering::Relaxed) > MOST {
        end_too_many();
    }
}

/// How many handles there are beyond the first, for several threads. Four bytes.
///
/// As [`LocalCount`](super::LocalCount), for objects that several threads share.
#[derive(Debug)]
pub struct AtomicCount {
    beyond_first: AtomicU32,
}

impl AtomicCount {
    /// For one handle.
    pub fn new() -> AtomicCount {
        AtomicCount { beyond_first: AtomicU32::new(0) }
    }
}

impl Default for AtomicCount {
    fn default() -> AtomicCount {
        AtomicCount::new()
    }
}

impl Clone for AtomicCount {
    fn clone(&self) -> AtomicCount {
        AtomicCount::new()
    }
}

// SAFETY: see the module; the number is that of the handles less one.
unsafe impl Counts for AtomicCount {
    fn first() -> AtomicCount {
        AtomicCount::new()
    }

    #[inline]
    fn retain(&self) {
        up(&self.beyond_first);
    }

    #[inline]
    fn release(&self) -> bool {
        // Acquire: with the release of whoever gave up the handle before this one. With the only handle in hand nobody else can
        // count, and the exchange is saved.
        if self.beyond_first.load(Ordering::Acquire) == 0 {
            return true;
        }
        // Release: to the acquire of whoever is last.
        if self.beyond_first.fetch_sub(1, Ordering::Release) != 0 {
            return false;
        }
        // Acquire: what all the others released. And back to what a fresh count is: the object that holds it is about to be dropped,
        // and could give the count away.
        self.beyond_first.load(Ordering::Acquire);
        self.beyond_first.store(0, Ordering::Relaxed);
        true
    }

    #[inline]
    fn release_block(&self) -> bool {
        true
    }

    #[inline]
    fn is_unique(&self) -> bool {
        // Acquire: with the release of whoever gave up the handle before this one.
        self.beyond_first.load(Ordering::Acquire) == 0
    }

    #[inline]
    fn release_if_unique(&self) -> bool {
        self.is_unique()
    }

    #[inline]
    fn strong(&self) -> usize {
        self.beyond_first.load(Ordering::Relaxed) as usize + 1
    }

    #[inline]
    fn weak(&self) -> usize {
        0
    }
}

/// How many handles and how many weak ones there are, for several threads. Eight bytes.
#[derive(Debug)]
pub struct AtomicCounts {
    strong: AtomicU32,
    /// One more while there are strong ones; or [`LOCKED`].
    weak: AtomicU32,
}

// SAFETY: see the module.
unsafe impl Counts for AtomicCounts {
    fn first() -> AtomicCounts {
        AtomicCounts { strong: AtomicU32::new(1), weak: AtomicU32::new(1) }
    }

    #[inline]
    fn retain(&self) {
        up(&self.strong);
    }

    #[inline]
    fn release(&self) -> bool {
        // Release: to the acquire of whoever is last.
        if self.strong.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // Acquire: what all the others released.
        self.strong.load(Ordering::Acquire);
        true
    }

    #[inline]
    fn release_block(&self) -> bool {
        // Acquire: nobody else is left, since a new one needs an old one; so an exchange is saved.
        if self.weak.load(Ordering::Acquire) == 1 {
            return true;
        }
        // Release: to the acquire of whoever is last.
        if self.weak.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // Acquire: what all the others released.
        self.weak.load(Ordering::Acquire);
        true
    }

    #[inline]
    fn is_unique(&self) -> bool {
        // Acquire: with the release of a weak handle that went, whose upgrade the strong count then shows.
        if self.weak.compare_exchange(1, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // Acquire: with the release of the strong handle that went before.
        let unique = self.strong.load(Ordering::Acquire) == 1;
        // Release: to the acquire of the next who makes a weak handle, who is then ordered behind our look.
        self.weak.store(1, Ordering::Release);
        unique
    }

    #[inline]
    fn release_if_unique(&self) -> bool {
        // Release and acquire: as `release`, all or nothing. Weak handles find zero from now on.
        if self.strong.compare_exchange(1, 0, Ordering::Release, Ordering::Relaxed).is_err() {
            return false;
        }
        self.strong.load(Ordering::Acquire);
        true
    }

    #[inline]
    fn strong(&self) -> usize {
        self.strong.load(Ordering::Relaxed) as usize
    }

    #[inline]
    fn weak(&self) -> usize {
        match self.weak.load(Ordering::Relaxed) {
            LOCKED => 0,
            weak => (weak as usize).saturating_sub(usize::from(self.strong() != 0)),
        }
    }
}

// SAFETY: see the module.
unsafe impl WeakCounts for AtomicCounts {
    fn weak_first() -> AtomicCounts {
        AtomicCounts { strong: AtomicU32::new(0), weak: AtomicU32::new(1) }
    }

    fn begin(&self) {
        up(&self.weak);
        // Release: the value is written; to the acquire of an upgrade.
        self.strong.store(1, Ordering::Release);
    }

    #[inline]
    fn retain_weak(&self) {
        let mut weak = self.weak.load(Ordering::Relaxed);
        loop {
            if weak == LOCKED {
                let_others();
                weak = self.weak.load(Ordering::Relaxed);
                continue;
            }
            if weak > MOST {
                end_too_many();
            }
            // Acquire: with the release of the lock.
            match self.weak.compare_exchange_weak(weak, weak + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => weak = now,
            }
        }
    }

    #[inline]
    fn upgrade(&self) -> bool {
        let mut strong = self.strong.load(Ordering::Relaxed);
        while strong != 0 {
            if strong > MOST {
                end_too_many();
            }
            // Acquire: with `begin`, which released the value.
            match self.strong.compare_exchange_weak(strong, strong + 1, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => strong = now,
            }
        }
        false
    }
}
