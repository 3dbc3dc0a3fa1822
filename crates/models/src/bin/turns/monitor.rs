//! The monitor of the bounded pool, of the checker's parts, and faulty on demand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread;

/// Signals are not given now and then.
pub(crate) static DEAF: AtomicBool = AtomicBool::new(false);

pub(crate) type Held<'m, T> = MutexGuard<'m, T>;

pub(crate) struct Monitor<T>(Mutex<T>);

impl<T> Monitor<T> {
    pub(crate) const fn new(value: T) -> Monitor<T> {
        Monitor(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        self.0.lock().expect("nobody panics under the lock")
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect("nobody panics under the lock")
    }
}

pub(crate) struct Signal(Condvar);

impl Signal {
    pub(crate) const fn new() -> Signal {
        Signal(Condvar::new())
    }

    /// With a time set, time is up after a number of turns that nobody knows.
    pub(crate) fn wait<'m, T>(
        &self,
        monitor: &'m Monitor<T>,
        held: Held<'m, T>,
        until: Option<Instant>,
    ) -> (Held<'m, T>, bool) {
        if until.is_none() {
            return (self.0.wait(held).expect("nobody panics under the lock"), false);
        }
        drop(held);
        (0..thread_rng().gen_range(0..4)).for_each(|_| thread::yield_now());
        (monitor.lock(), true)
    }

    pub(crate) fn notify(&self) {
        if !(DEAF.load(Ordering::Relaxed) && thread_rng().gen_bool(0.2)) {
            self.0.notify_one();
        }
    }
}
