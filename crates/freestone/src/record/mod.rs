//! The recorder: writes down every call, in the format of `freestone_base::trace`, when asked for (`record:DIR`).
//!
//! The fast paths' gates stay closed then, as they do while calls are counted, so recording costs nothing where it is off.
//! A call is written by the thread that made it, into a *lane*: a sheet of the file, mapped, that the thread has to itself for a
//! moment. The first threads have lanes of their own, which they take and leave without a locked instruction; the others have
//! theirs by a hash. One that finds its lane taken, by another thread or by itself in the midst of an event that a signal
//! interrupted, takes the next. So nobody waits for anybody, and as many sheets are open as there are threads at work.
//!
//! What was written lies in the file, whatever becomes of the process. Everything that the recorder knows lies in memory
//! that a child of fork finds empty, however it was forked: it begins a file of its own with its first call.
//!
//! An allocation is numbered when the block is there, a free while the block still is: so the order of the numbers is one
//! in which it can have happened. A large block that is moved by its page tables gives up its old place before the new one
//! is known; `Op::Moving` says so beforehand.
//!
//! Of some calls, drawn by lot, the stack is written, too: see [`stacks`].
//!
//! # Safety
//!
//! - R1: [`STATE`] is null or points at a [`State`] that stays mapped; zeros are a value of it.
//! - R2: a lane's body is used by whoever set its lock, until he clears it. Of a lane that has an owner, nobody but the thread
//!   with that pointer sets it. No two threads that live have the same pointer, and one that follows another with the same
//!   has been started after the other's end.
//! - R3: `[at, end)` of a body is a part of the mapped file that belongs to this lane alone, and ready to be written.
#![allow(unsafe_code)]

mod file;
mod lane;
mod stacks;

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_base::trace::sheet::LANES;
use freestone_base::trace::{Op, Way};
use freestone_sys::linux;
use freestone_sys::linux::tape;

use self::lane::{Known, Lane};
use crate::counters::Call;
use crate::instances::LEVELS;
use crate::message;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::tls;

/// Threads that are told apart at a time.
const THREADS: usize = 1 << 15;
/// `State::stage`.
const CLOSED: u32 = 0;
const OPENING: u32 = 1;
const WRITING: u32 = 2;
const STOPPED: u32 = 3;

static ON: AtomicBool = AtomicBool::new(false);
static STATE: AtomicPtr<State> = AtomicPtr::new(core::ptr::null_mut());
/// The key of this process, or of the one that it was forked from as long as it has none of its own.
static KEY: AtomicU64 = AtomicU64::new(0);
/// The number of the last event before the last fork.
static FORKED_AT: AtomicU64 = AtomicU64::new(0);

/// Everything about the process's file. In a child of fork, zeros.
#[repr(C)]
struct State {
    stage: AtomicU32,
    /// The thread that opens.
    opener: AtomicUsize,
    base: AtomicUsize,
    len: AtomicUsize,
    /// Where the next sheet begins.
    end: AtomicUsize,
    key: AtomicU64,
    threads: AtomicU32,
    /// One call in so many has its stack written; kept here because a signal handler may ask.
    stack_every: AtomicU32,
    last: Last,
    code: stacks::Code,
    lanes: [Lane; LANES],
    known: [Known; THREADS],
}

/// The number of the last event, which all threads write, on a line of its own.
#[repr(align(128))]
struct Last(AtomicU64);

/// Whether calls are recorded.
#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// From now on calls are recorded. To be called before any block is handed out; the file comes with the first call.
pub(crate) fn begin() {
    match tape::wiped_on_fork(size_of::<State>()) {
        Some(at) => {
            STATE.store(core::ptr::with_exposed_provenance_mut(at), Ordering::Release);
            lane::learn();
            ON.store(true, Ordering::Relaxed);
        }
        None => tell(format_args!("no calls are recorded: the system has no memory for it")),
    }
}

fn tell(words: core::fmt::Arguments<'_>) {
    let mut text = FixedText::<320>::new();
    let _ = text.write_fmt(words);
    message::say(&text);
}

/// A request by malloc was served with the block at `addr`.
#[inline(never)]
pub(crate) fn on_malloc(size: usize, addr: usize) {
    write_frequent(Op::Alloc { way: Way::Malloc, size: size as u64, addr: addr as u64 });
}

/// A request was served with `block`, or refused with null.
pub(crate) fn on_alloc(call: Call, size: usize, align: usize, zeroed: bool, block: *mut u8) {
    let (addr, bytes) = (block.addr() as u64, size as u64);
    if call != Call::Aligned && align <= Way::Malloc.align() && !zeroed && addr != 0 {
        return on_malloc(size, block.addr());
    }
    on_other_alloc(call, bytes, align, zeroed, addr);
}

fn on_other_alloc(call: Call, size: u64, align: usize, zeroed: bool, addr: u64) {
    let way = match call {
        Call::Aligned => Way::Aligned { align, zeroed },
        _ if align > Way::Malloc.align() => Way::Aligned { align, zeroed },
        _ if zeroed => Way::Calloc,
        _ => Way::Malloc,
    };
    write(if addr == 0 { Op::Refused { way, size } } else { Op::Alloc { way, size, addr } });
}

/// A request is about to be served.
#[inline(always)]
pub(crate) fn before_alloc() {
    lane::note_absence();
}

/// A block is about to be freed.
#[inline(never)]
pub(crate) fn on_free(addr: usize) {
    lane::note_absence();
    write_frequent(Op::Free { addr: addr as u64 });
}

/// A large block of `bytes` is about to be freed: what of it was never touched is noted, too.
#[inline(never)]
pub(crate) fn on_free_large(addr: usize, bytes: usize) {
    let end = linux::touched_end(addr, addr + bytes, LEVELS.pages.os_page_size());
    if end < addr + bytes {
        write(Op::Touched { bytes: (end - addr) as u64 });
    }
    on_free(addr);
}

/// A block was resized to `size` and lies at `new` now, before its old place can be another's; or was refused with null.
#[inline(never)]
pub(crate) fn on_realloc(old: *mut u8, size: usize, new: *mut u8) {
    let (old, size, new) = (old.addr() as u64, size as u64, new.addr() as u64);
    write(if new == 0 { Op::ReallocRefused { old, size } } else { Op::Realloc { old, size, new } });
}

/// A large block is about to be resized and may be moved.
pub(crate) fn on_moving(addr: usize) {
    write(Op::Moving { old: addr as u64 });
}

/// Before a fork, when nobody is inside: notes how far the child's past goes.
pub(crate) fn before_fork() {
    if let Some(state) = state().filter(|state| state.stage.load(Ordering::Relaxed) == WRITING) {
        FORKED_AT.store(state.last.0.load(Ordering::SeqCst), Ordering::Relaxed);
    }
}

/// The process ends by itself.
pub(crate) fn at_end() {
    let is_writing = |state: &&State| state.stage.load(Ordering::Relaxed) == WRITING;
    // Not in a child of `clone` or `vfork`, which may have no thread-local storage to speak of.
    if is_on()
        && let Some(state) = state().filter(is_writing)
        && !crate::start::is_borrowed()
    {
        write(Op::End);
        state.code.settle(state);
        state.compare_clocks();
    }
}

/// The recorder's own memory, from a start to an end; empty while calls are not recorded.
pub(crate) fn memory() -> (usize, usize) {
    let start = STATE.load(Ordering::Relaxed).addr();
    if start == 0 { (0, 0) } else { (start, start + size_of::<State>()) }
}

#[inline]
fn state() -> Option<&'static State> {
    // SAFETY: R1. Acquire pairs with the Release in `begin`.
    unsafe { STATE.load(Ordering::Acquire).as_ref() }
}

/// Writes an event of which there are few.
#[inline(never)]
fn write(op: Op) {
    write_frequent(op);
}

/// The same, made for the kind of event where it stands.
#[inline(always)]
fn write_frequent(op: Op) {
    let Some(state) = state() else { return };
    let pointer = tls::thread_pointer();
    if state.stage.load(Ordering::Acquire) != WRITING && !state.open(pointer) {
        return;
    }
    let lane = state.take_lane(pointer);
    // SAFETY: R2.
    let body = unsafe { &mut *lane.body.get() };
    body.write(state, pointer, op);
    lane.leave();
}
