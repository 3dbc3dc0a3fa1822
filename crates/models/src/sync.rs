//! The allocator's `sync` module for loom: the same names, checked, and faulty on demand.
//!
//! loom's atomics belong to one execution and cannot be made by a `const fn`. Those here are made on first
//! use, as a rule in the model's first thread.
//!
//! loom takes sequentially consistent accesses for acquiring and releasing ones only, but knows
//! sequentially consistent fences; so such an access is flanked by two fences.

use std::cell::Cell;

/// What is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every memory order is relaxed.
    Relaxed,
    /// A compare-and-exchange or a swap is a load and then a store.
    TornExchange,
}

std::thread_local! {
    // loom runs all threads of a model on the thread that called it.
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

/// Runs `model` in every way there is, with `fault`; with at most `preemptions` of a running thread, if given.
pub fn check(fault: Fault, preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    FAULT.set(fault);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(model);
}

/// No thread of a model is alone.
pub(crate) fn enter_plainly() -> bool {
    false
}

pub(crate) fn leave_plainly() {}

pub(crate) fn plain() -> bool {
    false
}

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::Ordering;

    use super::{FAULT, Fault};
    use loom::sync::atomic::fence;
    use std::sync::OnceLock;

    fn weakened(order: Ordering) -> Ordering {
        if FAULT.get() == Fault::Relaxed { Ordering::Relaxed } else { order }
    }

    fn flanked<R>(order: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
        let order = weakened(order);
        if order == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
        let result = access(order);
        if order == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
        result
    }

    macro_rules! atomic {
        ($name:ident $(<$t:ident>)?, $value:ty) => {
            pub(crate) struct $name $(<$t>)? {
                first: core::sync::atomic::$name $(<$t>)?,
                checked: OnceLock<loom::sync::atomic::$name $(<$t>)?>,
            }

            #[allow(dead_code, reason = "each kind is used in part")]
            impl $(<$t>)? $name $(<$t>)? {
                pub(crate) const fn new(value: $value) -> Self {
                    Self { first: core::sync::atomic::$name::new(value), checked: OnceLock::new() }
                }

                fn checked(&self) -> &loom::sync::atomic::$name $(<$t>)? {
                    let first = || self.first.load(core::sync::atomic::Ordering::Relaxed);
                    self.checked.get_or_init(|| loom::sync::atomic::$name::new(first()))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    flanked(order, |order| self.checked().load(order))
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    flanked(order, |order| self.checked().store(value, order));
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    if FAULT.get() == Fault::TornExchange {
                        let old = self.load(Ordering::Acquire);
                        self.store(value, Ordering::Release);
                        return old;
                    }
                    flanked(order, |order| self.checked().swap(value, order))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    if FAULT.get() == Fault::TornExchange {
                        let now = self.load(Ordering::Acquire);
                        if now != old {
                            return Err(now);
                        }
                        self.store(new, Ordering::Release);
                        return Ok(now);
                    }
                    flanked(success, |success| {
                        self.checked().compare_exchange(old, new, success, weakened(failure))
                    })
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
        };
    }

    macro_rules! counting {
        ($name:ident, $value:ty) => {
            #[allow(dead_code, reason = "each kind is used in part")]
            impl $name {
                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    flanked(order, |order| self.checked().fetch_add(value, order))
                }

                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    flanked(order, |order| self.checked().fetch_sub(value, order))
                }
            }
        };
    }

    atomic!(AtomicPtr<T>, *mut T);
    atomic!(AtomicUsize, usize);
    atomic!(AtomicU64, u64);
    atomic!(AtomicU32, u32);
    atomic!(AtomicU8, u8);
    atomic!(AtomicBool, bool);
    counting!(AtomicUsize, usize);
}
