//! A slot: a lock that is only ever tried, and the lists that it guards.
//!
//! Nobody sleeps for such a lock, so that giving it back is a plain store, which takes half of what a lock with waiters
//! does.
//!
//! # Safety
//!
//! *Owner*: the lists are reached only through a [`Locked`], made by whoever changed `taken` from false and gone before it
//! is false again, or through `&mut Slot`.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::home;
use super::lists::Lists;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Away from other slots' cache lines, and from those that the CPU fetches in pairs.
#[repr(align(128))]
pub(super) struct Slot {
    taken: AtomicBool,
    lists: UnsafeCell<Lists>,
}

// SAFETY: *owner*: threads have the lists one after the other.
unsafe impl Sync for Slot {}

/// The right to use the lists of a slot.
pub(super) struct Locked<'s>(&'s Slot);

impl Slot {
    pub(super) const fn new() -> Slot {
        Slot { taken: AtomicBool::new(false), lists: UnsafeCell::new(Lists::new()) }
    }

    /// Takes the slot if nobody has it.
    #[inline]
    pub(super) fn try_lock(&self) -> Option<Locked<'_>> {
        // A look first (relaxed: it decides nothing), so that a slot that is taken is left without a write to its line.
        // Acquire: pairs with the release in `Locked::drop`, so that we see what the last owner wrote.
        if self.taken.load(Ordering::Relaxed) || self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        home::entered(self.address());
        Some(Locked(self))
    }

    /// Takes the slot as soon as nobody has it.
    pub(super) fn lock(&self) -> Locked<'_> {
        loop {
            match self.try_lock() {
                Some(locked) => return locked,
                None => home::pause(),
            }
        }
    }

    /// The lists, where nobody else can reach them.
    pub(super) fn get_mut(&mut self) -> &mut Lists {
        self.lists.get_mut()
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        home::leaving(self.0.address());
        // Release: pairs with the acquire of whoever takes the slot next.
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Deref for Locked<'_> {
    type Target = Lists;

    #[inline]
    fn deref(&self) -> &Lists {
        // SAFETY: *owner*.
        unsafe { &*self.0.lists.get() }
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Lists {
        // SAFETY: *owner*, and the right is ours alone.
        unsafe { &mut *self.0.lists.get() }
    }
}
