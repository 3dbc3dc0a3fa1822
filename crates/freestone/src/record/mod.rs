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

mod stacks;

use core::cell::UnsafeCell;
use core::fmt::Write;
use core::sync::atomic::compiler_fence;

use freestone_base::text::FixedText;
use freestone_base::trace::sheet::{
    HEADER, LANES, MOST_COMMAND, OPEN, PROCESS_SHEET, PROCESS_WORDS, SHEET, SheetHeader,
};
use freestone_base::trace::{Event, Kind, MOST_FRAMES, Model, Op, ProcessWord, Scratch, Way};
use freestone_sys::linux::read_file::ReadFile;
use freestone_sys::linux::tape::{self, Tape};
use freestone_sys::linux::{self, control};

use crate::counters::Call;
use crate::instances::LEVELS;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::tls::{self, ThreadState};
use crate::{message, start};

/// Threads that are told apart at a time.
const THREADS: usize = 1 << 15;
/// The longest file: addresses only, the disk holds what was written.
const LONGEST: usize = 64 << 30;
/// So many lanes, the first ones, are for one thread each; the others are shared.
const OWN_LANES: usize = LANES / 2;
/// Every so many events the clocks are compared anew, so that times are right whenever the process ends.
const COMPARE_EVERY: u64 = 256;

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

/// A thread's number, by its thread pointer. Only that thread reads and writes it.
struct Known {
    pointer: AtomicUsize,
    number: AtomicU32,
}

#[repr(align(128))]
struct Lane {
    /// The thread pointer of whom the lane belongs to, and to those that come after him with the same; 0: nobody.
    owner: AtomicUsize,
    lock: AtomicU32,
    body: UnsafeCell<Body>,
}

struct Body {
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
}

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

/// A request was served with `block`, or refused with null.
#[inline(never)]
pub(crate) fn on_alloc(call: Call, size: usize, align: usize, zeroed: bool, block: *mut u8) {
    let way = match call {
        Call::Aligned => Way::Aligned { align, zeroed },
        _ if align > Way::Malloc.align() => Way::Aligned { align, zeroed },
        _ if zeroed => Way::Calloc,
        _ => Way::Malloc,
    };
    let size = size as u64;
    write(if block.is_null() {
        Op::Refused { way, size }
    } else {
        Op::Alloc { way, size, addr: block.addr() as u64 }
    });
}

/// A block is about to be freed.
#[inline(never)]
pub(crate) fn on_free(addr: usize) {
    write(Op::Free { addr: addr as u64 });
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
    if is_on()
        && let Some(state) = state().filter(is_writing)
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

fn write(op: Op) {
    let Some(state) = state() else { return };
    let pointer = tls::thread_pointer();
    if state.stage.load(Ordering::Acquire) != WRITING && !state.open(pointer) {
        return;
    }
    let lane = state.take_lane(pointer);
    // SAFETY: R2.
    let body = unsafe { &mut *lane.body.get() };
    body.write(state, pointer, op);
    // Release: the next one finds the body as it is now (Acquire in `take_shared`).
    lane.lock.store(0, Ordering::Release);
}

impl State {
    #[inline]
    fn take_lane(&self, pointer: usize) -> &Lane {
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

    /// Opens the file, or waits until another thread has; false where there is none.
    #[cold]
    fn open(&self, pointer: usize) -> bool {
        loop {
            match self.stage.compare_exchange(CLOSED, OPENING, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    self.opener.store(pointer, Ordering::Relaxed);
                    let opened = self.create();
                    self.stage.store(if opened { WRITING } else { STOPPED }, Ordering::Release);
                    return opened;
                }
                Err(WRITING) => return true,
                Err(STOPPED) => return false,
                // A signal handler on top of the opening cannot wait for it.
                Err(_) if self.opener.load(Ordering::Relaxed) == pointer => return false,
                Err(_) => control::yield_now(),
            }
        }
    }

    /// Creates the file, with the process's sheet.
    fn create(&self) -> bool {
        let config = start::config();
        let directory = core::str::from_utf8(config.record()).unwrap_or(".");
        let key = linux::random_bits() | 1;
        let mut path = FixedText::<600>::new();
        let _ = write!(path, "{directory}/{}-{key:016x}.part\0", linux::process_id());
        let Ok(path) = core::ffi::CStr::from_bytes_until_nul(path.as_bytes()) else { return false };
        let tape = match Tape::create(path, LONGEST) {
            Ok(tape) if tape.ready(0, PROCESS_SHEET) => tape,
            created => {
                let errno = created.err().map_or(libc::ENOSPC, |errno| errno.0);
                tell(format_args!(
                    "no calls are recorded: no file can be made in {directory} (errno {errno})"
                ));
                return false;
            }
        };
        self.base.store(tape.base(), Ordering::Relaxed);
        self.len.store(tape.len(), Ordering::Relaxed);
        self.end.store(PROCESS_SHEET, Ordering::Relaxed);
        self.key.store(key, Ordering::Relaxed);
        self.stack_every.store(config.record_sample, Ordering::Relaxed);
        let parent = KEY.swap(key, Ordering::Relaxed);
        let forked_at = if parent == 0 { 0 } else { FORKED_AT.load(Ordering::Relaxed) };
        let mut command = [0; MOST_COMMAND];
        let command_len = command_line(&mut command);
        let (ticks, ns) = (tape::ticks(), linux::monotonic_ns());
        for (word, value) in [
            (ProcessWord::Pid, linux::process_id() as u64),
            (ProcessWord::Parent, parent),
            (ProcessWord::ForkedAt, forked_at),
            (ProcessWord::Realtime, tape::realtime_ns()),
            (ProcessWord::FirstTicks, ticks),
            (ProcessWord::FirstNs, ns),
            (ProcessWord::LastTicks, ticks),
            (ProcessWord::LastNs, ns),
            (ProcessWord::StackEvery, config.record_sample.into()),
            (ProcessWord::CommandLen, command_len as u64),
        ] {
            self.process_word(word).store(value, Ordering::Relaxed);
        }
        let text = core::ptr::with_exposed_provenance_mut::<u8>(tape.base() + HEADER + PROCESS_WORDS * 8);
        // SAFETY: behind the words in the process's sheet, which was made ready and has room for so much.
        unsafe { text.copy_from_nonoverlapping(command.as_ptr(), command_len) };
        let header = self.header(Kind::Process, PROCESS_SHEET);
        // SAFETY: R3 for the process's sheet.
        unsafe { write_header(tape.base(), &header) };
        true
    }

    fn header(&self, kind: Kind, length: usize) -> SheetHeader {
        SheetHeader {
            kind,
            length: length as u32,
            used: OPEN,
            process: self.key.load(Ordering::Relaxed),
            lane: 0,
            place: 0,
            number: 0,
            ticks: 0,
            thread: 0,
            check: 0,
        }
    }

    /// A word of the process's sheet.
    fn process_word(&self, word: ProcessWord) -> &AtomicU64 {
        let at = self.base.load(Ordering::Relaxed) + HEADER + word as usize * 8;
        // SAFETY: the sheet is mapped and ready before anybody comes here, and its words are aligned.
        unsafe { &*core::ptr::with_exposed_provenance::<AtomicU64>(at) }
    }

    fn compare_clocks(&self) {
        self.process_word(ProcessWord::LastTicks).store(tape::ticks(), Ordering::Relaxed);
        self.process_word(ProcessWord::LastNs).store(linux::monotonic_ns(), Ordering::Relaxed);
    }

    fn tape(&self) -> Tape {
        Tape::of(self.base.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed))
    }

    /// A new sheet for a lane, ready to be written; `None`, and the end of the recording, where the disk is full.
    fn new_sheet(&self) -> Option<usize> {
        let at = self.end.fetch_add(SHEET, Ordering::Relaxed);
        if self.tape().ready(at, SHEET) {
            return Some(self.base.load(Ordering::Relaxed) + at);
        }
        if self.stage.swap(STOPPED, Ordering::Relaxed) != STOPPED {
            ON.store(false, Ordering::Relaxed);
            self.process_word(ProcessWord::Stopped).store(1, Ordering::Relaxed);
            tell(format_args!("the trace ends here: its file cannot grow"));
        }
        None
    }

    /// The number of the calling thread; true when it is new.
    #[cold]
    fn number_of(&self, pointer: usize, thread: &ThreadState) -> (u32, bool) {
        // Where a thread ends, another may begin with the same pointer; but its own state is fresh.
        let is_fresh = thread.recorded.swap(1, Ordering::Relaxed) == 0;
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

impl Lane {
    /// Makes the lane the thread's own, if it is nobody's.
    #[cold]
    fn is_claimed_by(&self, pointer: usize) -> bool {
        self.owner.compare_exchange(0, pointer, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Body {
    fn write(&mut self, state: &State, pointer: usize, op: Op) {
        let thread = tls::current();
        if self.pointer != pointer || thread.recorded.load(Ordering::Relaxed) == 0 {
            let (number, is_new) = state.number_of(pointer, thread);
            (self.pointer, self.thread) = (pointer, number);
            if is_new {
                self.put(state, Op::ThreadStart { tid: linux::thread_id() as u32 });
            }
        }
        let drawn = match op {
            Op::Alloc { size, .. } | Op::Realloc { size, .. } => {
                self.lot.is_drawn(state.stack_every.load(Ordering::Relaxed).into(), size)
            }
            _ => false,
        };
        if drawn { self.put_with_stack(state, op) } else { self.put(state, op) }
    }

    /// Writes the stack of the caller, and the event that it belongs to right behind it.
    #[inline(never)]
    fn put_with_stack(&mut self, state: &State, op: Op) {
        let mut frames = [0; MOST_FRAMES];
        let frames = stacks::capture(&mut frames);
        state.code.note(state, frames);
        self.model.set_frames(frames);
        if self.make_room(state, 2) {
            // Nobody gets a number in between, a signal handler on top of this neither.
            let number = state.last.0.fetch_add(2, Ordering::SeqCst) + 1;
            self.put_as(state, number, Op::Stack);
            self.put_as(state, number + 1, op);
        }
    }

    fn put(&mut self, state: &State, op: Op) {
        if self.make_room(state, 1) {
            // In one order with all that others do, whose blocks these may be next.
            let number = state.last.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.put_as(state, number, op);
        }
    }

    /// Sees to it that so many events fit; false where the trace ends.
    #[inline]
    fn make_room(&mut self, state: &State, events: usize) -> bool {
        self.end - self.at >= events * Scratch::SIZE || self.turn(state)
    }

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
        if number.is_multiple_of(COMPARE_EVERY) {
            state.compare_clocks();
        }
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

/// Writes a sheet's header, what makes it one last.
///
/// # Safety
/// A sheet of the caller's begins at `at`, mapped and ready.
unsafe fn write_header(at: usize, header: &SheetHeader) {
    let bytes = header.bytes();
    let (magic, rest) = bytes.split_at(4);
    let to = core::ptr::with_exposed_provenance_mut::<u8>(at);
    // SAFETY: the caller's promise.
    unsafe { to.wrapping_add(4).copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
    // SAFETY: the caller's promise; a sheet begins at an OS page.
    let place = unsafe { AtomicU32::from_ptr(to.cast()) };
    place.store(u32::from_ne_bytes([magic[0], magic[1], magic[2], magic[3]]), Ordering::Release);
}

/// The process's command line, the arguments ended by zeros, as much as fits; its length.
fn command_line(buffer: &mut [u8]) -> usize {
    let Some(file) = ReadFile::open(c"/proc/self/cmdline") else { return 0 };
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            0 => break,
            got => len += got,
        }
    }
    len
}

/// Spreads thread pointers, which differ in their middle bits.
#[inline]
fn spread(pointer: usize) -> usize {
    (pointer >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}
