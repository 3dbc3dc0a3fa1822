//! A magazine: an array of objects that passes between processors and the depot as one.
//!
//! # Safety
//!
//! *Magazine*: a [`Magazine`] designates a head with room for `capacity` rounds behind it, of which the first
//! `rounds` are written; whoever holds the value is the only one to use it.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use super::pieces::{MOST, Pieces};
use crate::{Alloc, AllocError};

#[derive(Clone, Copy)]
struct Head {
    next: Option<Magazine>,
    capacity: u32,
    rounds: u32,
}

/// Some objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Magazine(NonNull<u8>);

/// The most rounds of a magazine.
const MOST_ROUNDS: usize = (MOST - size_of::<Head>()) / size_of::<NonNull<u8>>();

const _: () = assert!(MOST_ROUNDS >= 143 && align_of::<Head>() == align_of::<NonNull<u8>>());

impl Magazine {
    /// An empty one.
    #[inline]
    pub fn new(capacity: usize, pieces: &Pieces, parent: &impl Alloc) -> Result<Magazine, AllocError> {
        let capacity = capacity.min(MOST_ROUNDS);
        let bytes = size_of::<Head>() + capacity * size_of::<NonNull<u8>>();
        let magazine = Magazine(pieces.take(bytes, parent)?);
        magazine.set(Head { next: None, capacity: capacity as u32, rounds: 0 });
        Ok(magazine)
    }

    /// Gives the memory back; what was loaded is lost.
    #[inline]
    pub fn free(self, pieces: &Pieces, parent: &impl Alloc) {
        // SAFETY: magazine: taken from there, and the value is used up.
        unsafe { pieces.put(self.0, parent) };
    }

    #[inline]
    fn head(self) -> Head {
        // SAFETY: magazine.
        unsafe { self.0.cast().read() }
    }

    #[inline]
    fn set(self, head: Head) {
        // SAFETY: magazine.
        unsafe { self.0.cast().write(head) };
    }

    /// Rounds that it can hold.
    #[inline]
    pub fn capacity(self) -> usize {
        self.head().capacity as usize
    }

    /// Rounds that it holds.
    #[inline]
    pub fn rounds(self) -> usize {
        self.head().rounds as usize
    }

    #[inline]
    fn round(self, index: usize) -> NonNull<NonNull<u8>> {
        // SAFETY: magazine: behind the head.
        let first = unsafe { self.0.add(size_of::<Head>()).cast::<NonNull<u8>>() };
        // SAFETY: magazine: below the capacity.
        unsafe { first.add(index) }
    }

    /// Whether it is loaded with this object. O(rounds).
    #[inline]
    pub fn holds(self, object: NonNull<u8>) -> bool {
        // SAFETY: magazine: written when they were loaded.
        (0..self.rounds()).any(|index| unsafe { self.round(index).read() } == object)
    }

    /// Takes the round loaded last.
    #[inline]
    pub fn pop(self) -> Option<NonNull<u8>> {
        let head = self.head();
        let rounds = head.rounds.checked_sub(1)?;
        self.set(Head { rounds, ..head });
        // SAFETY: magazine: written when it was loaded.
        Some(unsafe { self.round(rounds as usize).read() })
    }

    /// Loads a round; false when there is no room.
    #[inline]
    pub fn push(self, object: NonNull<u8>) -> bool {
        let head = self.head();
        if head.rounds == head.capacity {
            return false;
        }
        // SAFETY: magazine: there is room.
        unsafe { self.round(head.rounds as usize).write(object) };
        self.set(Head { rounds: head.rounds + 1, ..head });
        true
    }
}

/// A stack of magazines, and how far it fell.
pub struct Stack {
    head: Option<Magazine>,
    len: usize,
    /// The fewest since [`Stack::start_interval`]: so many were not needed.
    least: usize,
}

// SAFETY: the stack is the only one to use its magazines, which may go with it to another thread.
unsafe impl Send for Stack {}

impl Stack {
    pub const fn new() -> Stack {
        Stack { head: None, len: 0, least: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn push(&mut self, magazine: Magazine) {
        magazine.set(Head { next: self.head, ..magazine.head() });
        self.head = Some(magazine);
        self.len += 1;
    }

    #[inline]
    pub fn pop(&mut self) -> Option<Magazine> {
        let magazine = self.head?;
        self.head = magazine.head().next;
        self.len -= 1;
        self.least = self.least.min(self.len);
        Some(magazine)
    }

    /// How many were there all the time since the last call.
    #[inline]
    pub fn start_interval(&mut self) -> usize {
        core::mem::replace(&mut self.least, self.len).min(self.len)
    }
}
