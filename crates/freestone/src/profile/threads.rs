//! What is known of the threads that samples were taken of, so that not every sample asks the kernel: the thread's name, and how much of
//! its stack can be read.
//!
//! Noted by thread pointer, which a later thread may have again. But each thread draws its samples from a generator of its
//! own: only who continues the one that was noted is the same thread.
//!
//! # Safety
//!
//! What is kept in arrays is made of numbers, of which zero is one.
#![allow(unsafe_code)]

use freestone_sys::linux::{self, scratch::Zeroed};

use super::array::Array;
use super::table::NAME;
use crate::sync::atomic::Ordering;
use crate::{chance, stack, tls};

/// Threads that are known at a time, about.
const PLACES: usize = 256;
/// The name is asked for with each of a thread's first samples, which may come before it was given one, and then with one in so many.
const FIRST: u32 = 4;
const EVERY: u32 = 16;

/// A thread; one of zeros is nobody.
#[derive(Clone, Copy)]
pub(super) struct Thread {
    pointer: usize,
    /// Where its generator of chance stood last.
    chance: u64,
    samples: u32,
    name: [u8; NAME],
    stack: stack::Own,
}

// SAFETY: numbers, of which zero is one.
unsafe impl Zeroed for Thread {}

impl Thread {
    /// The calling one, of which a sample was drawn, and of which nothing else is known.
    fn calling() -> Thread {
        let chance = tls::current().chance.load(Ordering::Relaxed);
        let pointer = tls::thread_pointer();
        Thread { pointer, chance, samples: 0, name: [0; NAME], stack: stack::Own::UNKNOWN }
    }

    /// Whether this is an earlier note of the thread that `now` is.
    fn continues_as(&self, now: &Thread) -> bool {
        self.pointer == now.pointer && chance::is_later(self.chance, now.chance)
    }

    /// The name of the calling thread, which this is, as of one of its last samples.
    pub(super) fn name(&mut self) -> [u8; NAME] {
        if self.samples < FIRST || self.samples.is_multiple_of(EVERY) {
            self.name = linux::thread_name();
        }
        self.samples = self.samples.wrapping_add(1);
        self.name
    }

    /// Notes where the calling thread, which this is, was called from, the innermost first; returns how many frames there are.
    #[inline(always)]
    pub(super) fn capture(&mut self, skip: usize, frames: &mut [usize]) -> usize {
        stack::capture_own(skip, frames, &mut self.stack)
    }
}

/// The threads that are known: each has one place, and the last that came keeps it.
pub(super) struct Threads {
    places: Array<Thread>,
}

impl Threads {
    pub(super) const fn new() -> Threads {
        Threads { places: Array::new() }
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    pub(super) fn range(&self) -> (usize, usize) {
        self.places.range()
    }

    fn place_of(thread: &Thread) -> usize {
        (thread.pointer as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 56 & (PLACES - 1)
    }

    /// The calling thread, with what is known of it.
    pub(super) fn calling(&self) -> Thread {
        let now = Thread::calling();
        match self.places.get(Threads::place_of(&now)) {
            Some(known) if known.continues_as(&now) => Thread { chance: now.chance, ..*known },
            _ => now,
        }
    }

    /// Notes what is known of a thread. Where memory is refused, nothing is.
    pub(super) fn keep(&mut self, thread: Thread) {
        if self.places.is_empty() && !self.places.set_zeros(PLACES) {
            return;
        }
        self.places[Threads::place_of(&thread)] = thread;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_again_and_no_other_with_its_pointer_is() {
        let mut threads = Threads::new();
        let first = Thread { samples: 3, ..Thread { pointer: 4096, chance: 77, ..Thread::calling() } };
        threads.keep(first);
        let place = Threads::place_of(&first);
        assert_eq!(threads.places[place].samples, 3);
        let later = Thread { chance: 77u64.wrapping_add(chance::STEP.wrapping_mul(1000)), ..first };
        assert!(first.continues_as(&first) && first.continues_as(&later) && !later.continues_as(&first));
        assert!(!first.continues_as(&Thread { chance: 78, ..first }));
        assert!(!first.continues_as(&Thread { pointer: 8192, ..later }));
        threads.clear();
    }

    #[test]
    fn a_name_is_asked_for_while_a_thread_is_young_and_then_now_and_then() {
        let mut thread = Thread::calling();
        let name = linux::thread_name();
        for sample in 0..100 {
            thread.name = *b"it was another's";
            let asks = sample < 4 || sample % 16 == 0;
            assert_eq!(thread.name() == name, asks, "{sample}");
        }
    }
}
