//! Threads that share an object, as the handles do it: the object and its block are cells that loom watches.
//!
//! # Safety
//!
//! An access by two at once is what loom reports.
#![allow(unsafe_code)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::atomic::AtomicCounts;
use crate::checked::{Fault, check};
use crate::counts::{Counts, WeakCounts};

/// What a handle leads to. It stays in memory, so that a use after the end is seen.
struct Block<C> {
    counts: C,
    object: UnsafeCell<u32>,
    /// Written when the block is freed.
    memory: UnsafeCell<bool>,
}

// SAFETY: loom reports an access by two threads at once.
unsafe impl<C> Sync for Block<C> {}
// SAFETY: the same.
unsafe impl<C> Send for Block<C> {}

impl<C: Counts> Block<C> {
    fn new() -> Arc<Block<C>> {
        Self::with(C::first())
    }

    fn with(counts: C) -> Arc<Block<C>> {
        let block = Block { counts, object: UnsafeCell::new(0), memory: UnsafeCell::new(true) };
        // Checked atomics are made when they are first used, which is to be before there are two threads.
        _ = (block.counts.strong(), block.counts.weak());
        Arc::new(block)
    }

    fn read(&self) -> u32 {
        // SAFETY: see the header.
        self.object.with(|object| unsafe { *object })
    }

    fn write(&self, value: u32) {
        // SAFETY: see the header.
        self.object.with_mut(|object| unsafe { *object = value });
    }

    fn free(&self) {
        // SAFETY: see the header.
        let there = self.memory.with_mut(|memory| unsafe { memory.replace(false) });
        assert!(there, "freed twice");
    }

    /// A handle less.
    fn release(&self) {
        if self.counts.release() {
            self.write(0);
            self.release_block();
        }
    }

    /// A weak handle less, or the last strong one.
    fn release_block(&self) {
        if self.counts.release_block() {
            self.free();
        }
    }

    /// All handles are gone, and the block was freed, once.
    fn gone(&self) {
        // SAFETY: see the header.
        assert!(!self.memory.with(|memory| unsafe { *memory }), "never freed");
    }
}

/// Handles are cloned, used and dropped.
pub fn shared<C: Counts + 'static>(fault: Fault) {
    check(fault, Some(3), || {
        let block = Block::<C>::new();
        block.write(1);
        block.counts.retain();
        let other = block.clone();
        let worker = thread::spawn(move || {
            other.counts.retain();
            other.read();
            other.release();
            other.read();
            other.release();
        });
        block.read();
        block.release();
        worker.join().unwrap();
        block.gone();
    });
}

/// One drops its handle, the other changes the object when it is the only one.
pub fn only<C: Counts + 'static>(fault: Fault) {
    check(fault, Some(3), || {
        let block = Block::<C>::new();
        block.counts.retain();
        let other = block.clone();
        let worker = thread::spawn(move || {
            other.read();
            other.release();
        });
        if block.counts.is_unique() {
            block.write(2);
        }
        if block.counts.release_if_unique() {
            block.write(3);
            block.release_block();
        } else {
            block.release();
        }
        worker.join().unwrap();
        block.gone();
    });
}

/// A weak handle is upgraded while the last strong one goes.
pub fn weak(fault: Fault) {
    check(fault, Some(3), || {
        let block = Block::<AtomicCounts>::new();
        block.write(1);
        block.counts.retain_weak();
        let other = block.clone();
        let worker = thread::spawn(move || {
            if other.counts.upgrade() {
                assert_eq!(other.read(), 1, "found, and dropped already");
                other.release();
            }
            other.release_block();
        });
        block.release();
        worker.join().unwrap();
        block.gone();
    });
}

/// One asks whether it is alone, while the other upgrades its weak handle and gives it up, or makes another.
pub fn unique_or_weak(fault: Fault) {
    check(fault, Some(3), || {
        let block = Block::<AtomicCounts>::new();
        block.counts.retain_weak();
        let other = block.clone();
        let worker = thread::spawn(move || {
            let found = other.counts.upgrade();
            other.release_block();
            if found {
                other.counts.retain_weak();
                other.read();
                other.release_block();
                other.release();
            }
        });
        if block.counts.is_unique() {
            block.write(2);
        }
        block.release();
        worker.join().unwrap();
        block.gone();
    });
}

/// A weak handle that is there before the object.
pub fn begun(fault: Fault) {
    check(fault, Some(3), || {
        let block = Block::with(AtomicCounts::weak_first());
        block.counts.retain_weak();
        let other = block.clone();
        let worker = thread::spawn(move || {
            if other.counts.upgrade() {
                assert_eq!(other.read(), 1);
                other.release();
            }
            other.release_block();
        });
        block.write(1);
        block.counts.begin();
        // The weak handle that was there first.
        block.release_block();
        block.release();
        worker.join().unwrap();
        block.gone();
    });
}
