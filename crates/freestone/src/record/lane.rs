//! Lanes: how a thread comes to a sheet that it has to itself for a moment, and writes into it.
//!
//! # Safety
//!
//! R2 and R3 of `mod.rs`.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::compiler_fence;

use freestone_base::trace::sheet::{HEADER, LANES, SHEET, SheetHeader};
use freestone_base::trace::{Event, Frequent, Kind, MOST_FRAMES, Model, Op, Scratch, Way};
use freestone_sys::linux::{self, control, tape};

use super::file::write_header;
use super::{Last, State, THREADS, stacks};
use crate::cache::cpu;
use crate::stack;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
#[cfg(target_arch = "x86_64")]
use crate::sync::one_thread;
use crate::tls::{self, ThreadState};

/// So many lanes, the first ones, are for one thread each; the others are shared.
const OWN_LANES: usize = LANES / 2;
/// Every so many events the clocks are compared anew, so that times are right whenever the process ends.
const COMPARE_EVERY: u64 = 256;

/// To look at the clock takes as long as all else about an event. Where so many looks in a row found hardly any time gone, two
/// calls in three take over the time of the look before, unless the thread has waited or been interrupted meanwhile. Where that would not be
/// seen ([`learn`]), none does.
const CALM: u32 = 8;
const TIMELESS: u32 = 2;
/// Ticks of some 0.2 µs that are hardly any.
const CLOSE_TICKS: u64 = 4;

/// `ThreadState::recorded` of a thread that has a number; and of one that has not been on its processor all the time since its last
/// event.
const KNOWN: u8 = 1;
const RESUMED: u8 = 2;

/// Whether a thread's waiting shows. Since Linux 6.19 the kernel looks at an announcement only when it interrupts a thread, no longer when it
/// takes one off the processor within a system call.
static ABSENCE_SHOWS: AtomicBool = AtomicBool::new(false);

/// Finds out whether waiting shows, by waiting. To be called before the first event.
pub(super) fn learn() {
    cpu::announce();
    linux::futex_wait(&AtomicU32::new(0), 0, Some(50_000));
    ABSENCE_SHOWS.store(cpu::was_away(), Ordering::Relaxed);
}

/// Notes whether the thread has waited or been interrupted since its last call. To be called before it uses a cache.
#[inline(always)]
pub(super) fn note_absence() {
    let thread = tls::current();
    if cpu::was_away() && thread.recorded.load(Ordering::Relaxed) == KNOWN {
        thread.recorded.store(RESUMED, Ordering::Relaxed);
    }
}

/// A thread's number, by its thread pointer. Only that thread reads and writes it.
pub(super) struct Known {
    pointer: AtomicUsize,
    number: AtomicU32,
}

#[repr(align(128))]
pub(super) struct Lane {
    /// The thread pointer of whom the lane belongs to, and to those that come after him with the same; 0: nobody.
    owner: AtomicUsize,
    lock: AtomicU32,
    pub(super) body: UnsafeCell<Body>,
}

pub(super) struct Body {
    /// The thread that wrote last, and its number.
    pointer: usize,
    thread: u32,
    /// How many sheets the lane had.
    sheets: u32,
    /// Where the present one begins; 0 before the first.
    sheet: usize,
    /// Where the next event goes, and where the sheet ends.
    at: usize,
    end: usize,
    model: Model,
    code: Scratch,
    lot: stacks::Lot,
    /// Of the thread that wrote last.
    own_stack: stack::Own,
    /// Looks at the clock that found hardly any time gone, as far as they count.
    calm: u32,
}

impl State {
    #[inline]
    pub(super) fn take_lane(&self, pointer: usize) -> &Lane {
        /// Owners whose hashes meet lie this close together.
        const TRIES: usize = 4;
        let place = spread(pointer);
        for n in 0..TRIES {
            let lane = &self.lanes[(place + n) % OWN_LANES];
            let owner = lane.owner.load(Ordering::Relaxed);
            if owner != pointer && (owner != 0 || !lane.is_claimed_by(pointer)) {
                continue;
            }
            if lane.lock.load(Ordering::Relaxed) != 0 {
                break;
            }
            // No exchange: a signal handler that comes in between has left again when this goes on.
            lane.lock.store(1, Ordering::Relaxed);
            compiler_fence(Ordering::Acquire);
            return lane;
        }
        self.take_shared(place)
    }

    #[inline(never)]
    fn take_shared(&self, mut place: usize) -> &Lane {
        let mut tried = 0;
        loop {
            let lane = &self.lanes[OWN_LANES + place % (LANES - OWN_LANES)];
            if lane.lock.swap(1, Ordering::Acquire) == 0 {
                return lane;
            }
            place += 1;
            tried += 1;
            if tried % (LANES - OWN_LANES) == 0 {
                control::yield_now();
            }
        }
    }

    /// The number of the calling thread; true when it is new.
    #[cold]
    fn number_of(&self, pointer: usize, thread: &ThreadState) -> (u32, bool) {
        // Where a thread ends, another may begin with the same pointer; but its own state is fresh.
        let is_fresh = thread.recorded.swap(KNOWN, Ordering::Relaxed) == 0;
        let start = spread(pointer);
        for n in 0..THREADS {
            let known = &self.known[(start + n) % THREADS];
            let found = known.pointer.load(Ordering::Relaxed);
            if found == pointer && !is_fresh {
                return (known.number.load(Ordering::Relaxed), false);
            }
            let is_own = found == pointer
                || (found == 0
                    && known
                        .pointer
                        .compare_exchange(0, pointer, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok());
            if is_own {
                let number = self.threads.fetch_add(1, Ordering::Relaxed) + 1;
                known.number.store(number, Ordering::Relaxed);
                return (number, true);
            }
        }
        // More at a time than are told apart.
        (0, false)
    }
}

impl Last {
    /// The first of so many numbers, which nobody else gets. In one order with all that others do, whose blocks these may be next.
    #[inline(always)]
    fn take(&self, count: u64) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if one_thread() {
            // The allocator's own thread, which libc does not know, writes nothing (`heap::destroy_doomed`).
            return self.take_alone(count);
        }
        self.0.fetch_add(count, Ordering::SeqCst) + 1
    }

    /// The same where there is one thread: one instruction, for the signal handlers on top of it, but not a locked one, which
    /// would wait for all that the program has stored before.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn take_alone(&self, count: u64) -> u64 {
        let mut number = count;
        // SAFETY: a word of ours, aligned; nobody else writes it meanwhile.
        unsafe {
            core::arch::asm!("xadd qword ptr [{last}], {number}", last = in(reg) self.0.as_ptr(),
                             number = inout(reg) number, options(nostack));
        }
        number + 1
    }
}

impl Lane {
    /// Makes the lane the thread's own, if it is nobody's.
    #[cold]
    fn is_claimed_by(&self, pointer: usize) -> bool {
        self.owner.compare_exchange(0, pointer, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// For the next one.
    #[inline(always)]
    pub(super) fn leave(&self) {
        // Release: he finds the body as it is now (Acquire in `take_shared`).
        self.lock.store(0, Ordering::Release);
    }
}

impl Body {
    #[inline(always)]
    pub(super) fn write(&mut self, state: &State, pointer: usize, op: Op) {
        let thread = tls::current();
        if self.pointer != pointer || thread.recorded.load(Ordering::Relaxed) != KNOWN {
            self.meet(state, pointer, thread);
        }
        let drawn = match op {
            Op::Alloc { size, .. } | Op::Realloc { size, .. } => {
                self.lot.is_drawn(state.stack_every.load(Ordering::Relaxed).into(), size)
            }
            _ => false,
        };
        if drawn {
            return self.put_with_stack(state, op);
        }
        match op {
            Op::Alloc { way: Way::Malloc, size, addr } => {
                self.put_frequent(state, Frequent::Malloc { size, addr }, op);
            }
            Op::Free { addr } => self.put_frequent(state, Frequent::Free { addr }, op),
            _ => self.put(state, op),
        }
    }

    /// Another thread than last time writes, or one that is not known yet or did something else meanwhile.
    #[cold]
    #[inline(never)]
    fn meet(&mut self, state: &State, pointer: usize, thread: &ThreadState) {
        self.calm = 0;
        if self.pointer == pointer && thread.recorded.load(Ordering::Relaxed) == RESUMED {
            return thread.recorded.store(KNOWN, Ordering::Relaxed);
        }
        self.own_stack = stack::Own::UNKNOWN;
        let (number, is_new) = state.number_of(pointer, thread);
        (self.pointer, self.thread) = (pointer, number);
        if is_new {
            self.put(state, Op::ThreadStart { tid: linux::debugging::thread_id() as u32 });
        }
    }

    /// Writes the stack of the caller, and the event that it belongs to right behind it.
    #[inline(never)]
    fn put_with_stack(&mut self, state: &State, op: Op) {
        let mut frames = [0; MOST_FRAMES];
        let frames = stacks::capture(&mut frames, &mut self.own_stack);
        state.code.note(state, frames);
        self.model.set_frames(frames);
        if self.make_room(state, 2) {
            // Nobody gets a number in between, a signal handler on top of this neither.
            let number = state.last.take(2);
            self.put_as(state, number, Op::Stack);
            self.put_as(state, number + 1, op);
        }
    }

    #[inline(never)]
    fn put(&mut self, state: &State, op: Op) {
        if self.make_room(state, 1) {
            let number = state.last.take(1);
            self.put_as(state, number, op);
        }
    }

    /// The same in fewer steps: `frequent` is `op`.
    #[inline(always)]
    fn put_frequent(&mut self, state: &State, frequent: Frequent, op: Op) {
        if !self.make_room(state, 1) {
            return;
        }
        let number = state.last.take(1);
        let ticks = self.ticks();
        let Some(short) = self.model.encode_short(number, ticks, self.thread, frequent) else {
            return self.put_as(state, number, op);
        };
        let at = core::ptr::with_exposed_provenance_mut::<u64>(self.at);
        // One store, before or after which the process can be stopped. Behind the code it writes zeros, as are there already.
        // SAFETY: R3; there is room for the longest event.
        unsafe { at.write_unaligned(short.bits.to_le()) };
        self.at += short.len;
        self.compare_sometimes(state, number);
    }

    /// The time, as of now or, where calls follow each other closely, as of one of the last calls.
    #[inline(always)]
    fn ticks(&mut self) -> u64 {
        if self.calm > CALM && self.calm <= CALM + TIMELESS {
            self.calm += 1;
            return self.model.ticks();
        }
        let ticks = tape::ticks();
        let is_close = ticks.saturating_sub(self.model.ticks()) <= CLOSE_TICKS;
        let is_calm = is_close && ABSENCE_SHOWS.load(Ordering::Relaxed);
        self.calm = if is_calm { self.calm.min(CALM) + 1 } else { 0 };
        ticks
    }

    #[inline(always)]
    fn compare_sometimes(&self, state: &State, number: u64) {
        if number.is_multiple_of(COMPARE_EVERY) {
            state.compare_clocks();
        }
    }

    /// Sees to it that so many events fit; false where the trace ends.
    #[inline]
    fn make_room(&mut self, state: &State, events: usize) -> bool {
        self.end - self.at >= events * Scratch::SIZE || self.turn(state)
    }

    #[inline(never)]
    fn put_as(&mut self, state: &State, number: u64, op: Op) {
        let event = Event { number, ticks: tape::ticks(), thread: self.thread, op };
        self.model.encode(&event, &mut self.code);
        let code = self.code.bytes();
        let Some((&tag, rest)) = code.split_first() else { return };
        let at = core::ptr::with_exposed_provenance_mut::<u8>(self.at);
        // SAFETY: R3; there is room for the longest event.
        unsafe { at.wrapping_add(1).copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
        // SAFETY: R3; a byte of the file as an atomic.
        let place = unsafe { core::sync::atomic::AtomicU8::from_ptr(at) };
        // Release: what stops the process here leaves either all of the event in the file or a zero.
        place.store(tag, Ordering::Release);
        self.at += code.len();
        self.compare_sometimes(state, number);
    }

    /// Goes on in a new sheet.
    #[cold]
    fn turn(&mut self, state: &State) -> bool {
        let Some(sheet) = state.new_sheet() else { return false };
        if self.sheet != 0 {
            state.tape().done(self.sheet - state.base.load(Ordering::Relaxed), SHEET);
        }
        let (number, ticks) = (self.model.number(), self.model.ticks());
        let ticks = if ticks == 0 { tape::ticks() } else { ticks };
        let header = SheetHeader {
            lane: (core::ptr::from_ref(self).addr() - core::ptr::from_ref(&state.lanes).addr()) as u32
                / size_of::<Lane>() as u32,
            place: self.sheets,
            number,
            ticks,
            thread: self.thread,
            ..state.header(Kind::Events, SHEET)
        };
        self.model.begin(number, ticks, self.thread);
        // SAFETY: R3: the sheet is new and ready.
        unsafe { write_header(sheet, &header) };
        self.sheets += 1;
        (self.sheet, self.at, self.end) = (sheet, sheet + HEADER, sheet + SHEET);
        true
    }
}

/// Spreads thread pointers, which differ in their middle bits.
#[inline]
fn spread(pointer: usize) -> usize {
    (pointer >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}
