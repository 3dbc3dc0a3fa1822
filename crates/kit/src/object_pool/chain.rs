//! The shared queue of a shard: its owner works at the head, anybody takes from the tail, and nobody waits.
//!
//! A [`Deque`] is a ring of pointers. Its two indices share one word, so that whoever moves either of them has seen the
//! other. A [`Chain`] is a sequence of deques, each twice as long as the one before; the owner adds the next when the
//! newest is full and never puts anything into an older one again, so an older one that was found empty stays empty.
//!
//! ```text
//!             tail: stealers take here         head: the owner puts and takes here
//!               |                                |
//!   deques:   [ 8 ] -> [ 16 ] -> [ 32 ] -> ...   (pointers to rings; null: not made yet)
//! ```
//!
//! Rings live as long as the chain, because a stealer may look at one at any time. There are few of them, and all older
//! ones together are no longer than the newest.
//!
//! # Safety
//!
//! 1. *Owner*: `push_head` and `pop_head` are called by one thread at a time, and one call happens before the next.
//! 2. *Rings*: a pointer in `deques` that is not null came from a box that is freed by the drop of the chain alone.
//! 3. *Once*: an object that was pushed is returned by one pop, which is what the indices are for.
#![allow(unsafe_code)]

use core::ptr::{NonNull, null_mut};

use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const _: () = assert!(usize::BITS == 64, "two indices of 32 bits in a word");

const HEAD_ONE: usize = 1 << 32;

/// Ring of the first deque. Under a model checker it is soon full.
const FIRST: usize = if cfg!(loom) { 2 } else { 8 };

/// With these a chain holds 16 million objects, half of them in the last ring.
const DEQUES: usize = 21;

/// A ring with an owner at one end.
struct Deque<T> {
    /// Head in the upper half: the next slot to fill. Tail in the lower: the oldest object. Both wrap.
    ends: AtomicUsize,
    /// Null outside of `tail..head`, but for a slot that a stealer has taken and not yet cleared.
    slots: Box<[AtomicPtr<T>]>,
}

fn parts(ends: usize) -> (u32, u32) {
    ((ends >> 32) as u32, ends as u32)
}

fn joined(head: u32, tail: u32) -> usize {
    (head as usize) << 32 | tail as usize
}

impl<T> Deque<T> {
    fn new(len: usize) -> Deque<T> {
        debug_assert!(len.is_power_of_two());
        Deque { ends: AtomicUsize::new(0), slots: (0..len).map(|_| AtomicPtr::new(null_mut())).collect() }
    }

    fn slot(&self, index: u32) -> &AtomicPtr<T> {
        &self.slots[index as usize & (self.slots.len() - 1)]
    }

    /// For the owner. Gives the object back when the ring is full.
    fn push_head(&self, object: NonNull<T>) -> Result<(), NonNull<T>> {
        let (head, tail) = parts(self.ends.load(Ordering::Relaxed));
        if head.wrapping_sub(tail) as usize == self.slots.len() {
            return Err(object);
        }
        // A stealer that has moved the tail over this slot may not have read it yet. Relaxed: only the slot itself is
        // handed back, and its own order of changes is enough for that.
        if !self.slot(head).load(Ordering::Relaxed).is_null() {
            return Err(object);
        }
        self.slot(head).store(object.as_ptr(), Ordering::Relaxed);
        // Release: with the Acquire of the exchange in `pop_tail`, the slot and the object are seen by who takes it.
        self.ends.fetch_add(HEAD_ONE, Ordering::Release);
        Ok(())
    }

    /// For the owner: the object put last.
    fn pop_head(&self) -> Option<NonNull<T>> {
        let mut ends = self.ends.load(Ordering::Relaxed);
        loop {
            let (head, tail) = parts(ends);
            if head == tail {
                return None;
            }
            let head = head.wrapping_sub(1);
            // Relaxed: slots are filled by the owner alone, and its calls are ordered among themselves.
            match self.ends.compare_exchange_weak(
                ends,
                joined(head, tail),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(self.take(head)),
                Err(now) => ends = now,
            }
        }
    }

    /// For anybody: the object put first.
    fn pop_tail(&self) -> Option<NonNull<T>> {
        let mut ends = self.ends.load(Ordering::Relaxed);
        loop {
            let (head, tail) = parts(ends);
            if head == tail {
                return None;
            }
            // Acquire pairs with the Release in `push_head`; whatever changed the word in between was a
            // read-modify-write, so the pairing reaches through it.
            match self.ends.compare_exchange_weak(
                ends,
                joined(head, tail.wrapping_add(1)),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(self.take(tail)),
                Err(now) => ends = now,
            }
        }
    }

    /// Empties a slot that the indices have given to the caller.
    fn take(&self, index: u32) -> NonNull<T> {
        let slot = self.slot(index);
        let object = slot.load(Ordering::Relaxed);
        slot.store(null_mut(), Ordering::Relaxed);
        NonNull::new(object).expect("a slot between the indices is full")
    }
}

/// A queue that grows.
pub(crate) struct Chain<T> {
    deques: [AtomicPtr<Deque<T>>; DEQUES],
    /// The newest deque, plus one; read and written by the owner. Zero: there is none yet.
    head: AtomicUsize,
    /// The oldest deque that may hold anything.
    tail: AtomicUsize,
}

impl<T> Chain<T> {
    pub(crate) fn new() -> Chain<T> {
        Chain {
            deques: core::array::from_fn(|_| AtomicPtr::new(null_mut())),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
        }
    }

    fn deque(&self, index: usize) -> Option<&Deque<T>> {
        // Acquire pairs with the Release in `add`.
        let deque = self.deques.get(index)?.load(Ordering::Acquire);
        // SAFETY: *rings*: null, or valid as long as the chain.
        unsafe { deque.as_ref() }
    }

    /// For the owner: makes the next deque the newest, with its first object.
    fn add(&self, index: usize, object: NonNull<T>) -> Result<(), NonNull<T>> {
        let Some(place) = self.deques.get(index) else { return Err(object) };
        let deque = Box::new(Deque::new(FIRST << index));
        deque.push_head(object)?;
        // Release pairs with the Acquire in `deque`.
        place.store(Box::into_raw(deque), Ordering::Release);
        // Relaxed: of the owner alone.
        self.head.store(index + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Puts an object at the head. Gives it back when the chain is as long as it may be.
    ///
    /// # Safety
    ///
    /// *Owner*.
    pub(crate) unsafe fn push_head(&self, object: NonNull<T>) -> Result<(), NonNull<T>> {
        let count = self.head.load(Ordering::Relaxed);
        let refused = match count.checked_sub(1).and_then(|newest| self.deque(newest)) {
            Some(newest) => match newest.push_head(object) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            None => object,
        };
        self.add(count, refused)
    }

    /// Takes the object that was put last.
    ///
    /// # Safety
    ///
    /// *Owner*.
    pub(crate) unsafe fn pop_head(&self) -> Option<NonNull<T>> {
        let count = self.head.load(Ordering::Relaxed);
        // Relaxed: with an old value of the tail an empty deque is looked at in vain.
        let tail = self.tail.load(Ordering::Relaxed);
        (tail..count).rev().find_map(|index| self.deque(index)?.pop_head())
    }

    /// Takes the object that was put first, or nearly so. For anybody.
    pub(crate) fn pop_tail(&self) -> Option<NonNull<T>> {
        let mut index = self.tail.load(Ordering::Relaxed);
        let mut deque = self.deque(index)?;
        loop {
            // Before the pop: when the next one was there already and this one is empty, it is empty for good.
            let next = self.deque(index + 1);
            if let Some(object) = deque.pop_tail() {
                return Some(object);
            }
            let next = next?;
            // Relaxed: the deque itself is reached through an Acquire. A failure means that another was faster.
            let _ = self.tail.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed);
            index += 1;
            deque = next;
        }
    }
}

impl<T> Drop for Chain<T> {
    /// Frees the rings. Objects are the business of who put them.
    fn drop(&mut self) {
        for place in &self.deques {
            let deque = place.load(Ordering::Relaxed);
            if !deque.is_null() {
                // SAFETY: *rings*; the chain is nobody else's any more.
                drop(unsafe { Box::from_raw(deque) });
            }
        }
    }
}
