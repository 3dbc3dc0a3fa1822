//! Which slot a thread goes to first; one number for all instances, since it is a hint only.
//!
//! With the feature `std` a thread remembers the slot that it locked last. Without, it starts at the CPU that it runs on.

/// How many CPUs there can be.
pub(super) fn cpus() -> usize {
    freestone_sys::linux::possible_cpus()
}

/// Lets another thread run.
pub(super) fn pause() {
    freestone_sys::linux::control::yield_now();
}

/// A thread has a slot from here on. A model watches that it is the only one.
#[inline(always)]
pub(super) fn entered(_slot: usize) {}

/// A thread is about to give its slot back.
#[inline(always)]
pub(super) fn leaving(_slot: usize) {}

#[cfg(feature = "std")]
mod remembered {
    use core::cell::Cell;

    std::thread_local! {
        // Without a destructor and made by the compiler: reading it neither allocates nor registers anything.
        static HOME: Cell<usize> = const { Cell::new(0) };
    }

    pub(in super::super) fn get() -> usize {
        HOME.get()
    }

    pub(in super::super) fn set(slot: usize) {
        HOME.set(slot);
    }
}

#[cfg(not(feature = "std"))]
mod remembered {
    #![allow(unsafe_code)]

    pub(in super::super) fn get() -> usize {
        // SAFETY: no preconditions. It may fail where the kernel is very old; then all begin at one slot.
        let cpu = unsafe { libc::sched_getcpu() };
        usize::try_from(cpu).unwrap_or(0)
    }

    pub(in super::super) fn set(_: usize) {}
}

pub(super) use remembered::{get, set};
