//! Stacks, each kept once.
//!
//! A stack is kept as its length and its addresses in a range of words, and known by the index of the first. A table finds one that
//! is there already; two threads that bring a new one at once keep it twice, which does no harm.
//!
//! # Safety
//!
//! - The words and the table are mapped from `begin` on and never unmapped; both are atomics, for which zero is valid.
#![allow(unsafe_code)]

use freestone_sys::System;
use freestone_sys::linux::fault::Access;

use crate::slow::LEVELS;
use crate::stack;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Addresses that a stack keeps, from the inside on.
pub(super) const DEPTH: usize = 40;
const WORDS: usize = 16 << 20;
const PLACES: usize = 1 << 20;
/// Places of the table that are tried.
const TRIES: usize = 32;

static WORDS_AT: AtomicUsize = AtomicUsize::new(0);
static TABLE_AT: AtomicUsize = AtomicUsize::new(0);
/// The first word that is not taken; 0 means no stack.
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// Maps the range; without it there are no stacks.
pub(super) fn begin() {
    let system = LEVELS.pages.system();
    let (Ok(words), Ok(table)) =
        (system.map(WORDS * size_of::<usize>()), system.map(PLACES * size_of::<AtomicU32>()))
    else {
        return;
    };
    TABLE_AT.store(table, Ordering::Relaxed);
    WORDS_AT.store(words, Ordering::Release);
}

/// The ranges that stacks are kept in, from a start to an end.
pub(super) fn own_ranges() -> [(usize, usize); 2] {
    let range = |at: &AtomicUsize, len: usize| {
        let start = at.load(Ordering::Relaxed);
        (start, start + len)
    };
    [range(&WORDS_AT, WORDS * size_of::<usize>()), range(&TABLE_AT, PLACES * size_of::<AtomicU32>())]
}

fn word(index: usize) -> &'static AtomicUsize {
    let at = WORDS_AT.load(Ordering::Relaxed) + index * size_of::<usize>();
    // SAFETY: mapped, and the index is below WORDS.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(at) }
}

fn place(index: usize) -> &'static AtomicU32 {
    let at = TABLE_AT.load(Ordering::Relaxed) + index % PLACES * size_of::<AtomicU32>();
    // SAFETY: mapped, and the index is below PLACES.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicU32>(at) }
}

/// Instruction addresses, from the inside on.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    addresses: [usize; DEPTH],
    len: usize,
}

impl Stack {
    const EMPTY: Stack = Stack { addresses: [0; DEPTH], len: 0 };

    pub(super) fn addresses(&self) -> &[usize] {
        &self.addresses[..self.len]
    }

    /// The stack of the calling thread, within the allocator at first.
    pub(super) fn now() -> Stack {
        let mut stack = Stack::EMPTY;
        stack.len = stack::capture(0, &mut stack.addresses);
        // A return address may belong to the line behind the call.
        stack.addresses[..stack.len].iter_mut().for_each(|address| *address -= 1);
        stack
    }

    /// The stack of an access that was refused; its first address is the instruction.
    pub(super) fn of_access(access: &Access) -> Stack {
        let mut stack = Stack::EMPTY;
        stack.len = stack::capture_access(access, &mut stack.addresses);
        stack.addresses[..stack.len].iter_mut().skip(1).for_each(|address| *address -= 1);
        stack
    }

    /// A stack that was kept.
    pub(super) fn kept(id: u32) -> Stack {
        let mut stack = Stack::EMPTY;
        if id != 0 {
            stack.len = word(id as usize).load(Ordering::Relaxed).min(DEPTH);
            for (index, address) in stack.addresses.iter_mut().take(stack.len).enumerate() {
                *address = word(id as usize + 1 + index).load(Ordering::Relaxed);
            }
        }
        stack
    }

    fn keep(&self) -> u32 {
        if self.len == 0 || WORDS_AT.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut hash = self.len;
        for address in self.addresses() {
            hash = (hash ^ address).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        for step in 0..TRIES {
            let place = place((hash >> 20) + step);
            // Acquire pairs with the Release below.
            let found = place.load(Ordering::Acquire);
            if found != 0 {
                if Stack::kept(found).addresses() == self.addresses() {
                    return found;
                }
                continue;
            }
            let id = self.store();
            let _ = place.compare_exchange(0, id, Ordering::Release, Ordering::Relaxed);
            return id;
        }
        self.store()
    }

    /// Keeps the stack; 0 when the range is full.
    fn store(&self) -> u32 {
        let taken = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            let end = next + 1 + self.len;
            (end <= WORDS).then_some(end)
        });
        let Ok(id) = taken else { return 0 };
        for (index, &address) in self.addresses().iter().enumerate() {
            word(id + 1 + index).store(address, Ordering::Relaxed);
        }
        word(id).store(self.len, Ordering::Release);
        id as u32
    }
}

/// The number of the calling thread's stack; 0 when there is none.
pub(super) fn here() -> u32 {
    Stack::now().keep()
}
