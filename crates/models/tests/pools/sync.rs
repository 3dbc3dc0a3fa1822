//! The kit's `sync` for loom: the library's, but for pointers, which are many and lie in arrays.
//!
//! A checked atomic belongs to the thread that touches it first. Of the pointers in an array nobody knows which thread
//! that would be, so they are touched when they are made.

#[path = "../../src/sync.rs"]
#[allow(dead_code, reason = "shared with the library, which uses all of it")]
mod on_first_use;

pub(crate) use on_first_use::{Fault, check};

pub(crate) mod atomic {
    pub(crate) use super::on_first_use::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    use super::on_first_use::atomic;
    use std::ops::Deref;

    pub(crate) struct AtomicPtr<T>(atomic::AtomicPtr<T>);

    impl<T> AtomicPtr<T> {
        pub(crate) fn new(value: *mut T) -> AtomicPtr<T> {
            let pointer = AtomicPtr(atomic::AtomicPtr::new(value));
            pointer.load(Ordering::Relaxed);
            pointer
        }
    }

    impl<T> Deref for AtomicPtr<T> {
        type Target = atomic::AtomicPtr<T>;

        fn deref(&self) -> &atomic::AtomicPtr<T> {
            &self.0
        }
    }
}
