//! The part of a pool that belongs to one CPU.
//!
//! ```text
//!   Shard   pinned | present (0 or 1) | counters
//!           +--------------------------+--------------------------+
//!           | generation 0             | generation 1             |
//!           |   private   one object   |   private                |
//!           |   shared    a chain      |   shared                 |
//!           +--------------------------+--------------------------+
//!             present: put and got        the other: the victims, got only
//! ```
//!
//! Go may forbid that a thread is interrupted while it uses its processor's shard. A program may not, so a shard has a
//! mark that it is in use, and who finds it set goes on to the next shard: no thread ever waits for another.
//!
//! # Safety
//!
//! 1. *Pinned*: who holds the [`Pin`] of a shard is its only user but for stealers, who touch the chains' tails alone.
//!    So he is the owner of both chains, and the only one to touch `private` and to count.
//! 2. *Boxes*: every pointer in a shard came from a `Box`, and who takes it out has that box.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use super::chain::Chain;
use super::stats::ShardCounters;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Objects of one age.
struct Generation<T> {
    private: UnsafeCell<Option<NonNull<T>>>,
    shared: Chain<T>,
}

impl<T> Generation<T> {
    fn new() -> Generation<T> {
        Generation { private: UnsafeCell::new(None), shared: Chain::new() }
    }
}

/// Two cache lines, since they are fetched in pairs.
#[repr(align(128))]
pub(crate) struct Shard<T> {
    /// 1 while somebody holds the pin.
    pinned: AtomicUsize,
    present: AtomicUsize,
    pub(crate) counters: ShardCounters,
    generations: [Generation<T>; 2],
}

// SAFETY: *pinned*; objects pass from thread to thread, so they must be `Send`, and are used by one at a time.
unsafe impl<T: Send> Send for Shard<T> {}
// SAFETY: the same.
unsafe impl<T: Send> Sync for Shard<T> {}

impl<T> Shard<T> {
    pub(crate) fn new() -> Shard<T> {
        Shard {
            pinned: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            counters: ShardCounters::default(),
            generations: [Generation::new(), Generation::new()],
        }
    }

    /// Makes the caller the user of the shard, unless there is one.
    pub(crate) fn pin(&self) -> Option<Pin<'_, T>> {
        // Acquire pairs with the Release in the drop of the pin before.
        let free = self.pinned.swap(1, Ordering::Acquire) == 0;
        // Not `then_some`, which would make a pin, and drop it, in any case.
        free.then(|| Pin { shard: self })
    }

    fn generation(&self, victims: bool) -> &Generation<T> {
        // Relaxed: whichever it is, both may be used; only the age of what is found differs.
        &self.generations[(self.present.load(Ordering::Relaxed) ^ usize::from(victims)) & 1]
    }

    /// An object from the shared queue of a shard that may have a user.
    pub(crate) fn steal(&self, victims: bool) -> Option<Box<T>> {
        self.generation(victims).shared.pop_tail().map(unbox)
    }
}

fn unbox<T>(object: NonNull<T>) -> Box<T> {
    // SAFETY: *boxes*: for objects taken out, which is where this is called.
    unsafe { Box::from_raw(object.as_ptr()) }
}

impl<T> Drop for Shard<T> {
    fn drop(&mut self) {
        // Forgotten pins do not matter: nobody else is here.
        let pin = Pin { shard: self };
        while pin.scrape(false).or_else(|| pin.scrape(true)).is_some() {}
    }
}

/// The use of a shard.
pub(crate) struct Pin<'p, T> {
    shard: &'p Shard<T>,
}

impl<T> Drop for Pin<'_, T> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `pin`.
        self.shard.pinned.store(0, Ordering::Release);
    }
}

impl<T> Pin<'_, T> {
    fn private(&self, generation: &Generation<T>) -> Option<NonNull<T>> {
        // SAFETY: *pinned*.
        let private = unsafe { &mut *generation.private.get() };
        private.take()
    }

    /// The private object; without one the object of the shared queue that was put last. Counted.
    pub(crate) fn get(&self) -> Option<Box<T>> {
        let generation = self.shard.generation(false);
        if let Some(object) = self.private(generation) {
            self.shard.counters.private.count();
            return Some(unbox(object));
        }
        // SAFETY: *pinned* makes the caller the owner.
        let object = unsafe { generation.shared.pop_head() }?;
        self.shard.counters.shared.count();
        Some(unbox(object))
    }

    /// Any object of one age. Not counted.
    pub(crate) fn scrape(&self, victims: bool) -> Option<Box<T>> {
        let generation = self.shard.generation(victims);
        let object = self.private(generation).or_else(|| {
            // SAFETY: *pinned* makes the caller the owner.
            unsafe { generation.shared.pop_head() }
        });
        object.map(unbox)
    }

    /// Makes the object the private one; where there is one, puts it into the shared queue and returns how many were
    /// put into the shard so far. Gives it back when the queue is full.
    pub(crate) fn put(&self, object: Box<T>) -> Result<Option<u64>, Box<T>> {
        let generation = self.shard.generation(false);
        // SAFETY: *pinned*.
        let private = unsafe { &mut *generation.private.get() };
        let object = NonNull::from(Box::leak(object));
        if private.is_none() {
            *private = Some(object);
            self.shard.counters.kept.count();
            return Ok(None);
        }
        // SAFETY: *pinned* makes the caller the owner.
        unsafe { generation.shared.push_head(object) }.map_err(unbox)?;
        Ok(Some(self.shard.counters.kept.count()))
    }

    /// Takes out what is left of the victims, and makes victims of the others.
    pub(crate) fn age(&self) -> Vec<Box<T>> {
        let mut dropped = Vec::new();
        while let Some(object) = self.scrape(true) {
            dropped.push(object);
        }
        // Relaxed: only who holds the pin changes it, and who steals may use either.
        let present = self.shard.present.load(Ordering::Relaxed);
        self.shard.present.store(present ^ 1, Ordering::Relaxed);
        dropped
    }
}
