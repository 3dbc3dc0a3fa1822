//! The module `sync` of the counted handles, on checked atomics.

pub(crate) use loom::sync::atomic::Ordering;
pub(crate) use loom::thread::yield_now as let_others;

use crate::checked::atomic::AtomicUsize as Checked;

/// Of the width that is asked for; additions are exchanges, so that they can be torn.
pub(crate) struct AtomicU32(Checked);

impl AtomicU32 {
    pub(crate) fn new(value: u32) -> Self {
        AtomicU32(Checked::new(value as usize))
    }

    pub(crate) fn load(&self, order: Ordering) -> u32 {
        self.0.load(order) as u32
    }

    pub(crate) fn store(&self, value: u32, order: Ordering) {
        self.0.store(value as usize, order);
    }

    fn change(&self, change: impl Fn(u32) -> u32, order: Ordering) -> u32 {
        let mut old = self.load(Ordering::Relaxed);
        loop {
            match self.compare_exchange(old, change(old), order, Ordering::Relaxed) {
                Ok(old) => return old,
                Err(now) => old = now,
            }
        }
    }

    pub(crate) fn fetch_add(&self, more: u32, order: Ordering) -> u32 {
        self.change(|old| old.wrapping_add(more), order)
    }

    pub(crate) fn fetch_sub(&self, less: u32, order: Ordering) -> u32 {
        self.change(|old| old.wrapping_sub(less), order)
    }

    pub(crate) fn compare_exchange(
        &self,
        old: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        let done = self.0.compare_exchange(old as usize, new as usize, success, failure);
        done.map(|value| value as u32).map_err(|value| value as u32)
    }

    pub(crate) fn compare_exchange_weak(
        &self,
        old: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        self.compare_exchange(old, new, success, failure)
    }
}

impl std::fmt::Debug for AtomicU32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.load(Ordering::Relaxed).fmt(f)
    }
}
