//! Stacks: taken by the unwinder of the C runtime, each kept once.
//!
//! The unwinder (`_Unwind_Backtrace` of libgcc_s or libunwind) is in every C++ and Rust program; `freestone run --debug` loads it
//! into others. Without it there are no stacks. The thread counts as inside the allocator meanwhile: what the unwinder
//! might allocate is served, without a stack.
//!
//! A stack is kept as its length and its addresses in a range of words, and known by the index of the first. A table finds one that
//! is there already; two threads that bring a new one at once keep it twice, which does no harm.
//!
//! # Safety
//!
//! - The words and the table are mapped from `begin` on and never unmapped; both are atomics, for which zero is valid.
//! - The weak symbol, where it is defined, is the function of that name in the Itanium C++ ABI.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};

use freestone_sys::System;

use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::tls;

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

    /// What is known when nothing else is.
    pub(super) fn of_one(address: usize) -> Stack {
        let mut stack = Stack::EMPTY;
        stack.addresses[0] = address;
        stack.len = 1;
        stack
    }

    pub(super) fn addresses(&self) -> &[usize] {
        &self.addresses[..self.len]
    }

    /// The stack of the calling thread, within the allocator at first.
    pub(super) fn now() -> Stack {
        let mut stack = Stack::EMPTY;
        let thread = tls::current();
        // A thread that is inside: called by the unwinder itself, or in the middle of things.
        if thread.busy.load(Ordering::Relaxed) != 0 {
            return stack;
        }
        thread.busy.store(1, Ordering::Relaxed);
        unwind(&mut stack);
        thread.busy.store(0, Ordering::Relaxed);
        stack
    }

    /// The part from the function on that holds this instruction: what lies before is the signal handler's.
    pub(super) fn from(mut self, instruction: usize) -> Stack {
        if let Some(at) = self.addresses().iter().position(|&address| address == instruction) {
            self.addresses.copy_within(at..self.len, 0);
            self.len -= at;
        }
        self
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

/// Calls back for each frame with an opaque context; 0 goes on.
type Step = extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type Backtrace = extern "C" fn(Step, *mut c_void) -> c_int;
type Instruction = extern "C" fn(*mut c_void, *mut c_int) -> usize;

/// What a step of the unwinder needs.
struct Walk<'a> {
    stack: &'a mut Stack,
    instruction: Instruction,
}

extern "C" fn step(context: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: the walk that `unwind` has passed, which it lends for the time of the call.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let mut before = 0;
    let address = (walk.instruction)(context, &raw mut before);
    let Some(place) = walk.stack.addresses.get_mut(walk.stack.len) else { return 1 };
    if address == 0 {
        return 1;
    }
    // A return address may belong to the line behind the call.
    *place = if before == 0 { address - 1 } else { address };
    walk.stack.len += 1;
    0
}

/// The address of a weak symbol as an optional function.
#[cfg(target_arch = "x86_64")]
macro_rules! weak {
    ($name:literal as $type:ty) => {{
        let address: *const c_void;
        // SAFETY: reads the linker's table: null where nobody defines the symbol.
        unsafe {
            core::arch::asm!(concat!(".weak ", $name), concat!("mov {0}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                 out(reg) address, options(nostack, preserves_flags));
        }
        // SAFETY: the symbol is the function of that name; null is `None`.
        unsafe { core::mem::transmute::<*const c_void, Option<$type>>(address) }
    }};
}

#[cfg(target_arch = "x86_64")]
fn unwind(stack: &mut Stack) {
    let (Some(backtrace), Some(instruction)) =
        (weak!("_Unwind_Backtrace" as Backtrace), weak!("_Unwind_GetIPInfo" as Instruction))
    else {
        return;
    };
    let mut walk = Walk { stack, instruction };
    backtrace(step, (&raw mut walk).cast());
}

#[cfg(not(target_arch = "x86_64"))]
fn unwind(_: &mut Stack) {}
