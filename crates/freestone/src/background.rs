//! The allocator's own thread: it looks after idle memory, so that no caller has to (but for [`scavenge::relieve`]).
//!
//! It is no thread of libc's (`freestone_sys::linux::bare`), because it is started from inside of malloc, where locks of
//! libc may be held. It starts once there is enough to look after, and ends when nothing happened for a while: most programs
//! never have one, and an idle program has none. It receives no signals, calls nothing of the program's, and is gone in a child of
//! fork, which gets one of its own if it comes to that.
//!
//! It gives up all capabilities, and being root, as soon as it starts: when the program changes its user later on, libc
//! changes the threads that it knows. (With the control open it must stay the user whose files those are.)
//!
//! None is started in a program with raised privileges, in one that put itself under a system call filter since the
//! allocator started, where another library than libc maps memory, where the kernel refuses, or with the option `background:0`. Then callers do the work, a slice at a time.
//!
//! # Life
//!
//! ```text
//!           rung, enough to do               nothing for SLEEP
//!  ABSENT ──────────────────────▶ RUNNING ────────────────────▶ ABSENT
//!     │ may not, cannot
//!     └───────────────▶ REFUSED
//! ```
//!
//! It ends at once, too, where the kernel or the program wants a process of one thread ([`retire`]).
//!
//! The thread says that it is gone before it is; `ALIVE`, which the kernel clears, says when its memory may serve the next one.
//!
//! # Safety
//!
//! The memory given to the thread is its own until `ALIVE` is 0; the words written into it lie within the storage
//! around its thread pointer.
#![allow(unsafe_code)]

use core::ptr::with_exposed_provenance_mut;

use freestone_base::PAGE_SHIFT;
use freestone_sys::linux::{self, bare, control as system, futex_wait, futex_wake};
use freestone_sys::{System, linux::bare::BareMemory};

use crate::cache::cpu;
use crate::ledger::history;
use crate::pageheap::{FIRST_CALLS, FIRST_LOOK};
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{accompany, expect_company, leave_alone, one_thread};
use crate::tls::ThreadState;
use crate::{control, gate, harden, limit, pressure, report, scavenge, stack, start, tls};

const ABSENT: u8 = 0;
const STARTING: u8 = 1;
const RUNNING: u8 = 2;
const REFUSED: u8 = 3;

/// The kernel puts barriers into the program's thread, which may therefore be alone between two looks. Without them it keeps to
/// locked instructions as long as this thread lives; and where there are more threads they do so in any case.
static BARRIERS: AtomicBool = AtomicBool::new(false);
static ALLOWED: AtomicBool = AtomicBool::new(true);
/// It is to end now: see [`retire`].
static RETIRING: AtomicBool = AtomicBool::new(false);
/// See [`keep_away`].
static PREPARED: AtomicBool = AtomicBool::new(false);
static STATE: AtomicU8 = AtomicU8::new(ABSENT);
/// The thread's number, 0 when it has left its memory.
static ALIVE: AtomicU32 = AtomicU32::new(0);
/// The number of the thread that was the last, 0 when it is known that the kernel counts it no more. `ALIVE` is 0 a little before that.
static LATEST: AtomicU32 = AtomicU32::new(0);
/// Changes when the thread is to look at once.
static WORD: AtomicU32 = AtomicU32::new(0);
/// 1 while the thread may make calls that a filter of system calls might kill for.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// Where its memory begins, once there is any.
static MEMORY: AtomicUsize = AtomicUsize::new(0);
/// When there was something to look after for the first time.
static FIRST_NS: AtomicU64 = AtomicU64::new(0);

/// Dirty pages, or as much in free blocks of slabs (4 MiB), for which a thread is started at once.
const AT_ONCE: usize = FIRST_LOOK * 4;
/// A process that lived so long after there was something to look after gets one for less.
const GRACE_NS: u64 = 200_000_000;
/// Looks without anything to do before the thread sleeps.
const QUIET_LOOKS: u32 = 5;
/// Spans and batches after which it is told to look while it does so anyway: whatever was missed, somebody rings again.
const WHILE_AWAKE: u32 = 1 << 16;
/// How long it sleeps before it ends.
const SLEEP_NS: u64 = 5_000_000_000;
/// Its stack, of which it touches a page or two.
const STACK: usize = 256 << 10;

/// Whether there may be a thread, as far as the options go.
pub(crate) fn allowed() -> bool {
    ALLOWED.load(Ordering::Relaxed)
}

/// Allows a thread, or ends it.
pub(crate) fn allow(allow: bool) {
    ALLOWED.store(allow, Ordering::Relaxed);
    // Both ask the system what a sandbox may kill for.
    LEVELS.pages.ask_before_clearing(allow);
    system::allow_questions(allow);
    if allow && STATE.compare_exchange(REFUSED, ABSENT, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        LEVELS.pages.watch().arm(1, FIRST_LOOK);
    }
    wake();
}

/// The page heap's bell rang. Outside the gate.
#[cold]
#[inline(never)]
pub(crate) fn attend() {
    // Whatever is called would end the thread.
    if system::is_strict() {
        return LEVELS.pages.watch().arm(u32::MAX, usize::MAX);
    }
    limit::attend();
    if LEVELS.pages.watch().has_grown() {
        scavenge::relieve();
    }
    match STATE.load(Ordering::Acquire) {
        RUNNING if ALIVE.load(Ordering::Relaxed) != 0 => {
            LEVELS.pages.watch().arm(WHILE_AWAKE, usize::MAX);
            wake();
            // It may just have ended without having heard.
            if STATE.load(Ordering::SeqCst) != RUNNING {
                LEVELS.pages.watch().arm(1, FIRST_LOOK);
            }
        }
        // Gone without a word: it was a child's of vfork.
        RUNNING => {
            leave_alone();
            STATE.store(ABSENT, Ordering::Relaxed);
        }
        ABSENT => consider(),
        REFUSED => {
            LEVELS.pages.watch().arm(FIRST_CALLS, FIRST_LOOK);
            control::give_up();
            scavenge::tick_of_caller();
        }
        _ => {}
    }
}

/// Has the thread look at once, if there is one.
pub(crate) fn wake() {
    WORD.fetch_add(1, Ordering::Release);
    futex_wake(&WORD, 1);
}

/// Has a thread look soon, starting one if need be. Also from inside the gate.
pub(crate) fn ring() {
    LEVELS.pages.watch().arm(1, FIRST_LOOK);
    wake();
}

/// Memory is short: gives back what can be at once, by the thread if there is one. Outside the gate.
pub(crate) fn hurry() {
    if STATE.load(Ordering::Acquire) == RUNNING && ALIVE.load(Ordering::Relaxed) != 0 {
        scavenge::press();
        wake();
    } else {
        scavenge::tick();
    }
}

/// In a child of fork: the thread is the parent's.
pub(crate) fn forked_child() {
    ALIVE.store(0, Ordering::Relaxed);
    LATEST.store(0, Ordering::Relaxed);
    FIRST_NS.store(0, Ordering::Relaxed);
    linux::socket::forget_own_descriptors();
    // What the parent has heard of, or will.
    LEVELS.pages.watch().take_growth();
    pressure::forget_trigger();
    leave_alone();
    if STATE.load(Ordering::Relaxed) != REFUSED {
        STATE.store(ABSENT, Ordering::Relaxed);
        LEVELS.pages.watch().arm(FIRST_CALLS, FIRST_LOOK);
    }
}

/// The program asked for a filter for all threads: waits until the thread, which has seen that or will, makes only calls that are usual.
/// Outside the gate. Takes as long as the thread waits for whoever uses the control, if that was open: up to a second. Under an earlier filter, it `is_caged`.
pub(crate) fn settle(is_caged: bool) {
    const PATIENCE_MS: u32 = 3_000;
    // What a child of `_Fork` or `clone` has is a copy of its parent's.
    if CALLS.load(Ordering::SeqCst) == 0 || start::is_borrowed() {
        return;
    }
    wake();
    // Its end is a call, too.
    let lives = || match ALIVE.load(Ordering::Acquire) {
        0 => STATE.load(Ordering::Acquire) == STARTING,
        // A child of `clone` that is the first of its namespace as its parent is of another takes itself for that.
        number => is_caged || linux::has_thread(number as i32),
    };
    for _ in 0..PATIENCE_MS {
        if CALLS.load(Ordering::SeqCst) == 0 || !lives() {
            return;
        }
        linux::futex_wait(&CALLS, 1, Some(1_000_000));
    }
}

/// The program prepares a sandbox, and may look whether it has one thread; in a child of fork, perhaps, where that is caged. If libc knows of one, this one
/// ends, and comes again for work only, or beside others.
#[cold]
#[inline(never)]
pub(crate) fn keep_away() {
    PREPARED.store(true, Ordering::Relaxed);
    retire();
}

/// Has the thread end, for what is to be had in processes of one thread only, and waits until the kernel counts it no more. Outside the gate. Whether
/// that made a difference. Another starts when there is something to do.
#[cold]
#[inline(never)]
pub(crate) fn retire() -> bool {
    /// The thread may be serving somebody.
    const PATIENCE_NS: u64 = 1_000_000_000;
    static NEVER: AtomicU32 = AtomicU32::new(0);
    let number = match ALIVE.load(Ordering::Acquire) {
        0 => LATEST.load(Ordering::Relaxed),
        number => number,
    };
    // Under a filter its end might be forbidden.
    if number == 0 || !one_thread() || system::filter_was_asked_for() || start::is_borrowed() {
        return false;
    }
    let _preserved = linux::PreservedErrno::new();
    RETIRING.store(true, Ordering::SeqCst);
    let until_ns = linux::monotonic_ns() + PATIENCE_NS;
    let mut gone = false;
    while !gone && linux::monotonic_ns() < until_ns {
        if ALIVE.load(Ordering::Acquire) == 0 {
            // It has left its memory, which is somewhat earlier.
            gone = !linux::has_thread(number as i32);
            futex_wait(&NEVER, 0, Some(20_000));
        } else {
            wake();
            futex_wait(&ALIVE, number, Some(1_000_000));
        }
    }
    RETIRING.store(false, Ordering::SeqCst);
    if gone {
        // Relaxed: no thread starts while this one, which is the only one, is here.
        LATEST.store(0, Ordering::Relaxed);
    }
    gone
}

/// Whether the thread may make other calls than the usual ones, until [`rest_from_calls`].
fn may_call() -> bool {
    // SeqCst: either this sees the note that a filter was asked for, or `settle` sees this.
    CALLS.store(1, Ordering::SeqCst);
    let may = !system::filter_was_asked_for();
    if !may {
        rest_from_calls();
    }
    may
}

/// The thread makes no unusual calls until it asks [`may_call`].
fn rest_from_calls() {
    CALLS.store(0, Ordering::SeqCst);
    futex_wake(&CALLS, 1);
}

/// Starts the thread if there is enough to do.
fn consider() {
    let now = linux::monotonic_ns();
    let first = match FIRST_NS.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => now,
        Err(first) => first,
    };
    // Another thread may have looked at the clock first and come here last.
    let lived_ns = now.saturating_sub(first);
    // Whoever holds a lock is inside, or fork would not wait for him.
    let Some(inside) = gate::enter() else { return };
    let dirty = LEVELS.pages.demand_now().dirty + (harden::held() >> PAGE_SHIFT);
    let scattered = if dirty < AT_ONCE { scavenge::to_sweep() >> PAGE_SHIFT } else { 0 };
    drop(inside);
    let most = dirty.max(scattered);
    let unseen = PREPARED.load(Ordering::Relaxed) && one_thread();
    let worth = most >= AT_ONCE
        || (most > FIRST_LOOK && lived_ns >= GRACE_NS)
        || (LEVELS.pages.waits_for_looks() && !unseen);
    if !worth && (unseen || !is_wanted()) {
        return LEVELS.pages.watch().arm(FIRST_CALLS, AT_ONCE);
    }
    if start::is_borrowed()
        || ALIVE.load(Ordering::Acquire) != 0
        || STATE.compare_exchange(ABSENT, STARTING, Ordering::Relaxed, Ordering::Relaxed).is_err()
    {
        return;
    }
    LEVELS.pages.watch().arm(WHILE_AWAKE, usize::MAX);
    expect_company();
    CALLS.store(1, Ordering::SeqCst);
    let started = start::may_have_threads() && calls_are_libcs() && start_thread();
    if started {
        LEVELS.pages.look_at_blocks();
    }
    // Unless the thread has refused by itself meanwhile.
    let state = if started { RUNNING } else { REFUSED };
    let _ = STATE.compare_exchange(STARTING, state, Ordering::Release, Ordering::Relaxed);
    if !started {
        rest_from_calls();
        leave_alone();
        control::give_up();
        LEVELS.pages.watch().arm(FIRST_CALLS, FIRST_LOOK);
    }
}

/// Whether what maps memory and gives it back is libc's, or the program's: another library's functions may use thread-local storage, which the thread has
/// none of, and locks. Where nobody can tell, they are taken for libc's. Outside the gate.
#[cold]
#[inline(never)]
fn calls_are_libcs() -> bool {
    let (called, libcs) = linux::noted_functions();
    stack::is_one_object(libcs, called)
}

fn start_thread() -> bool {
    scavenge::look_at_system();
    // Cheap here, while there is one thread; later it may take the kernel 10 ms, for which the end of a process has to wait.
    BARRIERS.store(one_thread() && linux::membarrier_register_private(), Ordering::Relaxed);
    let Some(memory) = memory() else { return false };
    prepare(memory);
    // SAFETY: the memory is nobody's, since `ALIVE` is 0 and this caller alone starts; `body` keeps to system calls.
    unsafe { bare::start(memory, &ALIVE, body) }
}

/// The thread's memory, mapped once: the state of a thread, and what else lies around the thread pointer and is used.
fn memory() -> Option<BareMemory> {
    if !bare::SUPPORTED {
        return None;
    }
    /// Room for whatever begins at the place that is furthest from the thread pointer.
    const ITEM: usize = 64;
    let errno = linux::Errno::address().wrapping_sub(tls::thread_pointer());
    let used = [tls::offset(), errno, cpu::area_depth().wrapping_neg()].map(|place| place as isize);
    let deepest = used.iter().fold(0, |deepest, place| deepest.max(place.wrapping_neg())) as usize;
    let highest = used.iter().fold(0, |highest, &place| highest.max(place)) as usize;
    if deepest.max(highest) > 1 << 30 {
        return None;
    }
    let below = bare::BELOW + deepest.next_multiple_of(64) + ITEM;
    let above = bare::ABOVE + highest.next_multiple_of(64) + ITEM;
    let len = STACK + below + above;
    let mut base = MEMORY.load(Ordering::Relaxed);
    if base == 0 {
        base = LEVELS.pages.system().map(len).ok()?;
        MEMORY.store(base, Ordering::Relaxed);
    }
    Some(BareMemory { base, len, below, above })
}

/// Makes the thread's state what it is in a new thread, but without an area for restartable sequences: it has no cache.
fn prepare(memory: BareMemory) {
    let at = memory.thread_pointer() - memory.below;
    let storage = with_exposed_provenance_mut::<u8>(at);
    // SAFETY: the storage around the thread pointer, which nobody uses yet.
    unsafe { storage.write_bytes(0, memory.below + memory.above) };
    let state =
        with_exposed_provenance_mut::<ThreadState>(memory.thread_pointer().wrapping_add(tls::offset()));
    // SAFETY: it lies in the storage just cleared, and zeros are a valid state.
    unsafe { &*state }.become_cacheless();
}

/// Whether there is to be a thread in any case: for the control, or for the history in the report.
fn is_wanted() -> bool {
    control::is_wanted() || start::reporting() || pressure::is_watched()
}

/// What the thread does.
extern "C" fn body() {
    // Relaxed: ordered by the end of the thread, after which it is read.
    LATEST.store(ALIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    // Not registered with the kernel, it has no cache; zeros in libc's area would say that it has the first.
    cpu::forget_number();
    linux::socket::forget_own_descriptors();
    pressure::forget_trigger();
    system::name_thread(c"freestone");
    // The group's pressure is root's to watch.
    if pressure::is_felt() {
        scavenge::press();
    }
    let mut kept = report::kept::Kept::open();
    // With the control, its files are the user's.
    let powerless = !control::is_wanted();
    if !system::drop_privileges(powerless) && powerless {
        leave_alone();
        STATE.store(REFUSED, Ordering::Relaxed);
        LEVELS.pages.watch().arm(FIRST_CALLS, FIRST_LOOK);
        return;
    }
    let mut barriers = BARRIERS.load(Ordering::Relaxed);
    let (mut quiet, mut looked_ns) = (0, 0);
    loop {
        let calls = may_call();
        if calls && powerless && control::is_wanted() {
            // One with the user's rights takes over.
            return end(1);
        }
        let seen = WORD.load(Ordering::Acquire);
        barriers = barriers && accompany();
        if calls && pressure::is_felt() {
            scavenge::press();
        }
        let now_ns = linux::monotonic_ns();
        // Whoever asks the control something wakes it, too.
        if now_ns.saturating_sub(looked_ns) >= scavenge::tick_ns() / 2 || scavenge::is_urgent() {
            looked_ns = now_ns;
            let emptied = calls && scavenge::empty_idle_threads();
            quiet = if scavenge::tick() || emptied { 0 } else { quiet + 1 };
        }
        let soon_ns = if calls { scavenge::look_at_long() } else { None };
        // The history reads files, whose numbers must not be the program's.
        if calls && start::reporting() && linux::socket::own_descriptors() {
            history::tick(now_ns);
            kept.tick(now_ns);
        }
        if calls {
            control::serve(now_ns);
        }
        if barriers {
            leave_alone();
        }
        let wanted = calls && is_wanted();
        if calls && RETIRING.load(Ordering::SeqCst) {
            control::hand_over();
            return end(FIRST_CALLS);
        }
        if (quiet < QUIET_LOOKS || wanted || soon_ns.is_some()) && allowed() {
            let time_ns = if quiet < QUIET_LOOKS { scavenge::tick_ns() } else { control::TICK_NS };
            let time_ns = soon_ns.map_or(time_ns, |soon_ns| soon_ns.min(time_ns));
            if !calls || !control::wait(time_ns) {
                rest_from_calls();
                futex_wait(&WORD, seen, Some(time_ns));
            }
            continue;
        }
        if calls && !allowed() {
            return end(FIRST_CALLS);
        }
        // Under a filter that came meanwhile it sleeps for ever: to end might be forbidden.
        if !calls || quiet < QUIET_LOOKS + 1 {
            LEVELS.pages.watch().arm(FIRST_CALLS, FIRST_LOOK);
            rest_from_calls();
            futex_wait(&WORD, seen, calls.then_some(SLEEP_NS));
            // Woken or not, it looks once more.
            looked_ns = 0;
            quiet = if WORD.load(Ordering::Acquire) == seen { QUIET_LOOKS } else { 0 };
            continue;
        }
        scavenge::note_end();
        return end(FIRST_CALLS);
    }
}

/// The thread ends; the page heap's bell rings after `calls` spans.
fn end(calls: u32) {
    leave_alone();
    // Before the bell is set: whoever rings it finds no thread.
    STATE.store(ABSENT, Ordering::SeqCst);
    LEVELS.pages.watch().arm(calls, FIRST_LOOK);
}
