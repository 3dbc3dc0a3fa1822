//! The kit's `sync` module: its own lock, on checked atomics and on a futex that loom knows.

#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../kit/src/sync/lock.rs"]
mod lock;

pub(crate) use lock::Lock;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::Ordering;

    use crate::checked::atomic::AtomicUsize as Checked;

    macro_rules! atomic {
        ($name:ident, $value:ty) => {
            /// With what the kit's files derive, and of the width that they ask for.
            pub(crate) struct $name(Checked);

            #[allow(dead_code, reason = "each kind is used in part")]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    $name(Checked::new(value as usize))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.0.load(order) as $value
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.0.swap(value as usize, order) as $value
                }

                pub(crate) fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    let done = self.0.compare_exchange(old as usize, new as usize, success, failure);
                    done.map(|value| value as $value).map_err(|value| value as $value)
                }

                pub(crate) fn compare_exchange_weak(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(old, new, success, failure)
                }
            }

            impl Default for $name {
                fn default() -> Self {
                    $name::new(0)
                }
            }

            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.load(Ordering::Relaxed).fmt(f)
                }
            }
        };
    }

    atomic!(AtomicU32, u32);
    atomic!(AtomicUsize, usize);
}

/// A futex: whether the word still has the expected value is looked at, and the thread put to sleep, in one step.
pub(crate) mod park {
    use loom::lazy_static;
    use loom::sync::{Condvar, Mutex};

    use super::atomic::{AtomicU32, Ordering};

    /// Each look is a place where threads may change: one is enough to try both ways.
    pub(crate) const LOOKS: u32 = 1;

    lazy_static! {
        static ref QUEUE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32) {
        let (queue, woken) = &*QUEUE;
        let held = queue.lock().unwrap();
        if word.load(Ordering::SeqCst) == expected {
            drop(woken.wait(held).unwrap());
        }
    }

    pub(crate) fn wake(_word: &AtomicU32) {
        let (queue, woken) = &*QUEUE;
        drop(queue.lock().unwrap());
        woken.notify_one();
    }
}
