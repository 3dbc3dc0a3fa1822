//! Counts for one thread: plain numbers.
//!
//! # Safety
//!
//! The contracts of [`Counts`] and [`WeakCounts`]; the types are not `Sync`, so nobody counts in between.
#![allow(unsafe_code)]

use core::cell::Cell;

use super::counts::{Counts, WeakCounts, too_many};

/// How many handles there are beyond the first, for one thread. Four bytes.
///
/// A fresh one stands for one handle. It is also what an object with its count inside holds (see
/// [`Counted`](super::Counted)); cloning it gives a fresh one, so that such objects can derive `Clone`.
///
/// ```
/// use freestone_gc::counted::{Counts, LocalCount};
///
/// let count = LocalCount::new();
/// assert_eq!(count.strong(), 1);
/// ```
#[derive(Debug, Default)]
pub struct LocalCount {
    beyond_first: Cell<u32>,
}

impl LocalCount {
    /// For one handle.
    pub const fn new() -> LocalCount {
        LocalCount { beyond_first: Cell::new(0) }
    }
}

impl Clone for LocalCount {
    fn clone(&self) -> LocalCount {
        LocalCount::new()
    }
}

// SAFETY: see the module; the number is that of the handles less one.
unsafe impl Counts for LocalCount {
    fn first() -> LocalCount {
        LocalCount::new()
    }

    #[inline]
    fn retain(&self) {
        let more = self.beyond_first.get().wrapping_add(1);
        if more == u32::MAX {
            too_many();
        }
        self.beyond_first.set(more);
    }

    #[inline]
    fn release(&self) -> bool {
        let beyond_first = self.beyond_first.get();
        if beyond_first == 0 {
            return true;
        }
        self.beyond_first.set(beyond_first - 1);
        false
    }

    #[inline]
    fn release_block(&self) -> bool {
        true
    }

    #[inline]
    fn is_unique(&self) -> bool {
        self.beyond_first.get() == 0
    }

    #[inline]
    fn release_if_unique(&self) -> bool {
        self.is_unique()
    }

    #[inline]
    fn strong(&self) -> usize {
        self.beyond_first.get() as usize + 1
    }

    #[inline]
    fn weak(&self) -> usize {
        0
    }
}

/// How many handles and how many weak ones there are, for one thread. Eight bytes.
#[derive(Debug)]
pub struct LocalCounts {
    strong: Cell<u32>,
    /// One more while there are strong ones.
    weak: Cell<u32>,
}

// SAFETY: see the module.
unsafe impl Counts for LocalCounts {
    fn first() -> LocalCounts {
        LocalCounts { strong: Cell::new(1), weak: Cell::new(1) }
    }

    #[inline]
    fn retain(&self) {
        let more = self.strong.get().wrapping_add(1);
        if more == 0 {
            too_many();
        }
        self.strong.set(more);
    }

    #[inline]
    fn release(&self) -> bool {
        let strong = self.strong.get() - 1;
        self.strong.set(strong);
        strong == 0
    }

    #[inline]
    fn release_block(&self) -> bool {
        let weak = self.weak.get() - 1;
        self.weak.set(weak);
        weak == 0
    }

    #[inline]
    fn is_unique(&self) -> bool {
        self.strong.get() == 1 && self.weak.get() == 1
    }

    #[inline]
    fn release_if_unique(&self) -> bool {
        let only = self.strong.get() == 1;
        if only {
            self.strong.set(0);
        }
        only
    }

    #[inline]
    fn strong(&self) -> usize {
        self.strong.get() as usize
    }

    #[inline]
    fn weak(&self) -> usize {
        self.weak.get() as usize - usize::from(self.strong.get() != 0)
    }
}

// SAFETY: see the module.
unsafe impl WeakCounts for LocalCounts {
    fn weak_first() -> LocalCounts {
        LocalCounts { strong: Cell::new(0), weak: Cell::new(1) }
    }

    fn begin(&self) {
        self.strong.set(1);
        self.retain_weak();
    }

    #[inline]
    fn retain_weak(&self) {
        let more = self.weak.get().wrapping_add(1);
        if more == 0 {
            too_many();
        }
        self.weak.set(more);
    }

    #[inline]
    fn upgrade(&self) -> bool {
        if self.strong.get() == 0 {
            return false;
        }
        self.retain();
        true
    }
}
