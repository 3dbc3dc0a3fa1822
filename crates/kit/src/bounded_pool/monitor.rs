//! A lock, and signals to those who wait under it. A model checker puts its own in this file's place.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The lock, held.
pub(crate) type Held<'m, T> = MutexGuard<'m, T>;

/// What a lock guards.
pub(crate) struct Monitor<T>(Mutex<T>);

impl<T> Monitor<T> {
    pub(crate) const fn new(value: T) -> Monitor<T> {
        Monitor(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        // A panic under the lock can come from the parent alone, which is called at points where all figures are right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the one who waits for it.
pub(crate) struct Signal(Condvar);

impl Signal {
    pub(crate) const fn new() -> Signal {
        Signal(Condvar::new())
    }

    /// Waits without the lock of `_monitor`, which is held, and takes it again. Whether it is late, too; it may return
    /// for no reason.
    pub(crate) fn wait<'m, T>(
        &self,
        _monitor: &'m Monitor<T>,
        held: Held<'m, T>,
        until: Option<Instant>,
    ) -> (Held<'m, T>, bool) {
        let Some(until) = until else {
            return (self.0.wait(held).unwrap_or_else(PoisonError::into_inner), false);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (held, true);
        }
        let (held, result) = self.0.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner);
        (held, result.timed_out())
    }

    pub(crate) fn notify(&self) {
        self.0.notify_one();
    }
}
