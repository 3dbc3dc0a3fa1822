//! Two models: threads under one lock, and threads that share a fixed buffer.
//!
//! # Safety
//!
//! The contents of the lock and of the blocks are cells that loom watches: an access by two at once is what it reports.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::mem::MaybeUninit;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::checked::{Fault, check};
use crate::fixed::SharedFixed;
use crate::sync::Lock;
use crate::{Alloc, Capacity};

/// A number that loom watches.
struct Watched(UnsafeCell<u32>);

// SAFETY: loom reports an access by two threads at once.
unsafe impl Sync for Watched {}
// SAFETY: the same.
unsafe impl Send for Watched {}

impl Watched {
    fn new() -> Self {
        Watched(UnsafeCell::new(0))
    }

    fn add(&self) -> u32 {
        self.0.with_mut(|number| {
            // SAFETY: see the header.
            unsafe { *number += 1 };
            // SAFETY: see the header.
            unsafe { *number }
        })
    }
}

/// Nobody is lost asleep, nobody is inside with another, and each sees what the one before wrote.
pub fn lock(fault: Fault) {
    check(fault, Some(2), || {
        let lock = Arc::new(Lock::new(Watched::new()));
        // Checked atomics are made when they are first used, which is to be before there are two threads.
        drop(lock.lock());
        let other = lock.clone();
        let worker = thread::spawn(move || (0..2).for_each(|_| _ = other.lock().add()));
        lock.lock().add();
        if let Some(guard) = lock.try_lock() {
            guard.add();
        } else {
            lock.lock().add();
        }
        worker.join().unwrap();
        assert_eq!(lock.lock().add(), 5, "an addition was lost");
    });
}

/// Blocks of several threads do not overlap, and what was taken is what was given out.
pub fn buffer(fault: Fault) {
    check(fault, Some(3), || {
        // Leaked, in each of the ways that are tried: what is borrowed must outlive the model's threads.
        let bytes = Box::leak(Box::new([MaybeUninit::uninit(); 64]));
        let fixed = Arc::new(SharedFixed::new(bytes));
        assert_eq!(fixed.used(), 0);
        let layout = Layout::from_size_align(9, 4).unwrap();
        let take = move |fixed: &SharedFixed<'static>| {
            [0; 2].map(|_| fixed.allocate(layout).unwrap().cast::<u8>().addr().get())
        };
        let other = fixed.clone();
        let worker = thread::spawn(move || take(&other));
        let mut all: Vec<usize> = take(&fixed).into_iter().chain(worker.join().unwrap()).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|two| two[1] - two[0] >= 12), "two blocks overlap: {all:?}");
    });
}
