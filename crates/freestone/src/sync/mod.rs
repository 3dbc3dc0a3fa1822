//! Atomics and locks. Under `--cfg loom` the atomics are the model checker's.

mod alone;
mod company;
mod lock;

pub(crate) use alone::{
    accompany, enter_plainly, expect_company, leave_alone, leave_plainly, one_thread, plain,
};
pub(crate) use lock::{Guard, Lock};

/// The atomics that the whole crate uses.
pub(crate) mod atomic {
    pub(crate) use core::sync::atomic::{
        AtomicBool, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
        AtomicUsize, Ordering,
    };
}
