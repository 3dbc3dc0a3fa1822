//! Attaching from outside: a shared page of figures and a socket for commands, private to the user.
//!
//! Nothing is opened unless asked for: by the option `control:1`, or by [`open`]. Then two files appear in a directory that only
//! the user may enter (see `docs/control.md`), `PID.page` and `PID.socket`, and the background thread keeps the one fresh and
//! answers at the other. `freestone top PID` and `freestone ctl PID` use them.
//!
//! ```text
//! open, option ─ ask ──────────► ASKED ─ serve ─► OPENING ─┬► OPEN ─ close, exit ─► CLOSING ─► REMOVED ─ serve ─► CLOSED
//!                 (any thread)      (background thread)    └► FAILED
//! ```
//!
//! A child of fork inherits nothing of it, neither the page nor a descriptor; where the option asked, it opens its own.
//!
//! # Safety
//!
//! - V1: `SERVICE` is touched only by the thread that moved `BUSY` from false to true, and in a fork's child, which has one thread.
//! - V2: `RUNTIME` is written only in the state `CLAIMED`, by the thread that made it so, and read by it, or in `OPENING`.
//! - V3: `FILES` is written only in `OPENING`, by the serving thread, and read only in `CLOSING`, by the thread that made it so.
#![allow(unsafe_code)]

mod commands;
mod page;
mod place;
mod reply;
mod service;
mod trouble;

use core::cell::UnsafeCell;

use freestone_sys::linux;
use freestone_sys::linux::socket::Readiness;

use crate::slow::LEVELS;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use place::{Files, RuntimeDirectory};
use service::Service;
pub use trouble::NotOpened;
use trouble::Trouble;

const CLOSED: u32 = 0;
const CLAIMED: u32 = 1;
const ASKED: u32 = 2;
const OPENING: u32 = 3;
const OPEN: u32 = 4;
const FAILED: u32 = 5;
const CLOSING: u32 = 6;
const REMOVED: u32 = 7;

/// A value whose users agree among themselves by the states above.
struct Agreed<T>(UnsafeCell<T>);

// SAFETY: V1, V2, V3: one thread at a time, and the states pass it on with Release and Acquire.
unsafe impl<T: Send> Sync for Agreed<T> {}

static STATE: AtomicU32 = AtomicU32::new(CLOSED);
/// The option asked; so it does for children.
static BY_OPTION: AtomicBool = AtomicBool::new(false);
/// The process that asked: not a child of `vfork`, which shares this memory.
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// What to wait for, or -1; a number in the table of the serving thread.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
/// Why the state is FAILED, as `Trouble::code` has it.
static WHY: AtomicU64 = AtomicU64::new(0);
static BUSY: AtomicBool = AtomicBool::new(false);
static SERVICE: Agreed<Option<Service>> = Agreed(UnsafeCell::new(None));
static RUNTIME: Agreed<RuntimeDirectory> = Agreed(UnsafeCell::new(RuntimeDirectory::UNKNOWN));
static FILES: Agreed<Option<Files>> = Agreed(UnsafeCell::new(None));

/// The shared page is fresh to this much, if the serving thread has nothing else to do.
pub(crate) const TICK_NS: u64 = 1_000_000_000;
/// How long [`open`] waits for the background thread.
const OPENING_NS: u64 = 2_000_000_000;
/// How long the end of the process waits for an opening under way.
const ENDING_NS: u64 = 20_000_000;

fn state() -> u32 {
    // Acquire pairs with every Release below: a state comes with what was written before it.
    STATE.load(Ordering::Acquire)
}

fn pass(from: u32, to: u32) -> bool {
    STATE.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

fn set(state: u32) {
    STATE.store(state, Ordering::Release);
    linux::futex_wake(&STATE, u32::MAX);
}

/// Opens the control of this process, unless it is open. Reads `XDG_RUNTIME_DIR`: as with `getenv`, no other thread may change the
/// environment meanwhile.
///
/// From then on whoever acts as the same user, and root, can read the allocator's figures and give it commands.
pub fn open() -> Result<(), NotOpened> {
    ask();
    crate::background::attend();
    let until_ns = linux::monotonic_ns() + OPENING_NS;
    loop {
        match state() {
            OPEN => return Ok(()),
            FAILED => return Err(NotOpened(Trouble::from_code(WHY.load(Ordering::Relaxed)))),
            // What was closed before is only now out of the way.
            CLOSED => {
                ask();
                crate::background::attend();
            }
            other => {
                let left_ns = until_ns.saturating_sub(linux::monotonic_ns());
                if left_ns == 0 {
                    return Err(NotOpened(Trouble::Unserved));
                }
                // A thread that is about to end does not hear; then another is to start.
                linux::futex_wait(&STATE, other, Some(left_ns.min(10_000_000)));
                if other == ASKED {
                    crate::background::attend();
                }
            }
        }
    }
}

/// Closes the control and removes its files. Harmless when it is not open.
pub fn close() {
    if state() == OPEN && PROCESS.load(Ordering::Relaxed) == linux::process_id() && pass(OPEN, CLOSING) {
        // SAFETY: V3, this thread made the state CLOSING.
        if let Some(files) = unsafe { &*FILES.0.get() } {
            files.remove();
        }
        set(REMOVED);
    }
}

/// Has the background thread open the control, by option.
pub(crate) fn ask_by_option() {
    BY_OPTION.store(true, Ordering::Relaxed);
    ask();
    ring();
}

/// Has the background thread start as soon as the program asks for pages. Not at once: this is inside the gate, or in a fork handler.
fn ring() {
    LEVELS.pages.watch().arm(1, usize::MAX);
}

fn ask() {
    if pass(CLOSED, CLAIMED) || pass(FAILED, CLAIMED) {
        // SAFETY: V2, this thread made the state CLAIMED.
        unsafe { *RUNTIME.0.get() = RuntimeDirectory::read() };
        PROCESS.store(linux::process_id(), Ordering::Relaxed);
        set(ASKED);
    }
}

/// Whether there is something to serve, now or soon.
pub(crate) fn is_wanted() -> bool {
    matches!(state(), CLAIMED | ASKED | OPENING | OPEN | CLOSING | REMOVED)
}

/// Waits until [`serve`] has something to do, but no longer than `timeout_ns`. On the serving thread, while the control is open;
/// false at once when it is not.
pub(crate) fn wait(timeout_ns: u64) -> bool {
    let number = DESCRIPTOR.load(Ordering::Relaxed);
    if number >= 0 {
        Readiness::wait(number, timeout_ns);
    }
    number >= 0
}

/// The serving thread is about to end, and the next one serves: what is open goes, and is opened again by that.
#[cold]
#[inline(never)]
pub(crate) fn hand_over() {
    let was_open = state() == OPEN;
    close();
    while state() == CLOSING {
        linux::futex_wait(&STATE, CLOSING, Some(1_000_000));
    }
    // What is removed is closed.
    serve(0);
    if was_open && pass(CLOSED, ASKED) {
        ring();
    }
}

/// There is no thread that could serve, and will be none.
pub(crate) fn give_up() {
    if pass(ASKED, OPENING) {
        fail(Trouble::Unserved);
    }
}

/// Does all there is to do at this moment, without waiting. To be called by one thread, always the same, that needs no
/// descriptors of its own: on opening it parts with the program's.
#[inline]
pub(crate) fn serve(now_ns: u64) {
    if matches!(state(), ASKED | OPEN | REMOVED) {
        serve_now(now_ns);
    }
}

/// A function of its own: in most processes the thread never comes here.
#[cold]
#[inline(never)]
fn serve_now(now_ns: u64) {
    if BUSY.swap(true, Ordering::Acquire) {
        return;
    }
    // SAFETY: V1.
    let service = unsafe { &mut *SERVICE.0.get() };
    match state() {
        ASKED if pass(ASKED, OPENING) => start(service, now_ns),
        OPEN => {
            if let Some(service) = service {
                service.serve(now_ns);
            }
        }
        REMOVED => {
            DESCRIPTOR.store(-1, Ordering::Relaxed);
            *service = None;
            set(CLOSED);
        }
        _ => {}
    }
    BUSY.store(false, Ordering::Release);
}

fn start(service: &mut Option<Service>, now_ns: u64) {
    // SAFETY: V2, the state is OPENING.
    let runtime = unsafe { &*RUNTIME.0.get() };
    match Service::open(runtime, now_ns) {
        Ok((opened, files)) => {
            DESCRIPTOR.store(opened.descriptor(), Ordering::Relaxed);
            *service = Some(opened);
            // SAFETY: V3, the state is OPENING.
            unsafe { *FILES.0.get() = Some(files) };
            set(OPEN);
        }
        Err(trouble) => fail(trouble),
    }
}

fn fail(trouble: Trouble) {
    WHY.store(trouble.code(), Ordering::Relaxed);
    set(FAILED);
    if BY_OPTION.load(Ordering::Relaxed) {
        trouble.tell();
    }
}

/// At the end of the process: no files stay. The C library calls it; other programs do well to [`close`].
#[doc(hidden)]
#[inline]
pub fn at_exit() {
    if STATE.load(Ordering::Relaxed) != CLOSED {
        end();
    }
}

#[cold]
fn end() {
    if PROCESS.load(Ordering::Relaxed) != linux::process_id() {
        return;
    }
    if pass(ASKED, CLAIMED) {
        // Nothing is open, but a program that replaced itself by this one may have left its files under the same number.
        // SAFETY: V2, this thread made the state CLAIMED, and reads only.
        let files = Files::named(unsafe { &*RUNTIME.0.get() }, linux::process_id());
        if !linux::socket::is_served(files.socket.as_c()) {
            files.remove();
        }
        return set(CLOSED);
    }
    let until_ns = linux::monotonic_ns() + ENDING_NS;
    while state() == OPENING && linux::monotonic_ns() < until_ns {
        linux::futex_wait(&STATE, OPENING, Some(1_000_000));
    }
    close();
}

/// In a fork's child, which has one thread and none of what was open.
pub(crate) fn forked_child() {
    let before = state();
    if before == CLOSED {
        return;
    }
    // What failed in the parent is not tried, and told, again.
    let again = BY_OPTION.load(Ordering::Relaxed) && before != CLAIMED && before != FAILED;
    // What the service held was not inherited: its destructors would close and unmap what belongs to others.
    // SAFETY: V1, the only thread.
    unsafe { SERVICE.0.get().write(None) };
    DESCRIPTOR.store(-1, Ordering::Relaxed);
    BUSY.store(false, Ordering::Relaxed);
    PROCESS.store(linux::process_id(), Ordering::Relaxed);
    STATE.store(if again { ASKED } else { CLOSED }, Ordering::Release);
    if again {
        ring();
    }
}

#[cfg(test)]
mod tests;
