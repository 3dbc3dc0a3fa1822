//! The debug mode (`debug:1`): every block on pages of its own, which become inaccessible when it is freed and are never used again.
//!
//! ```text
//! space    … ┃ 0 0 0 canary│block      ┃ closed ┃ canary│block│canary ┃ closed ┃ closed: freed ┃ closed ┃ …
//!            page                      page
//! records    one for each page, found by the address alone: block, size, family, state, who, when, from where
//! ```
//!
//! An access behind a block fails at once, as does one to a freed block; what is written before it, or into the few bytes up to
//! its alignment, is found when it is freed or at the end. All reports name the block and tell the stacks of allocation, free and
//! the present. The idea is Electric Fence's (Bruce Perens, 1987); that no address is used twice is from Zig's
//! debug allocator; what it costs in address space is what 64 bits have.
//!
//! Everything here is free of locks but the mapping of tracts, which a child of fork begins anew: addresses are taken by one exchange, a record is written by
//! whoever has the block, and a free is one exchange of its state. So a signal handler and a child of fork find all in order, and the gate is not needed.
//!
//! What finds no room here, because so much is live or the system refuses, is served by the usual way, unwatched.
//!
//! # Safety
//!
//! - G1: the space and its records are mapped from `begin` on and never unmapped; a record is of atomics, for which zero is valid.
//! - G2: pages that were taken belong to one block until its state says freed, and to nobody afterwards.
#![allow(unsafe_code)]

mod leaks;
mod report;
mod space;
mod trace;

use core::ptr::null_mut;

use freestone_sys::linux::debugging;
use freestone_sys::linux::fault::Access;
use freestone_sys::{Linux, System};

use crate::counters::Call;
use crate::start;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use report::{Found, Report};
use space::{Record, State};

/// Bytes beside a block that hold a pattern; those further off in its pages must be zero.
const CANARY_BYTES: usize = 64;
const CANARY: u8 = 0xc5;

static LEAKS: AtomicBool = AtomicBool::new(true);

/// What the caller of a free said about the block.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// By which function it is given back.
    pub(crate) call: Call,
    /// Its size.
    pub(crate) size: Option<usize>,
    /// Its alignment.
    pub(crate) align: Option<usize>,
}

impl Told {
    pub(crate) const fn nothing(call: Call) -> Told {
        Told { call, size: None, align: None }
    }

    pub(crate) const fn sized(call: Call, size: usize) -> Told {
        Told { call, size: Some(size), align: None }
    }
}

/// Whether blocks are watched.
#[inline]
pub(crate) fn is_on() -> bool {
    start::debugging()
}

/// Whether the end of the process tells of leaks.
pub(crate) fn want_leaks(wanted: bool) {
    LEAKS.store(wanted, Ordering::Relaxed);
}

/// Whether leaks are told of.
pub(crate) fn leaks_are_wanted() -> bool {
    LEAKS.load(Ordering::Relaxed)
}

/// Begins to watch every block, with details in files in `directory`, if that is not empty; false when the system gives no addresses for it. As the allocator starts.
pub(crate) fn begin(directory: &[u8]) -> bool {
    report::write_to(directory);
    if !space::begin() {
        return false;
    }
    trace::begin();
    debugging::learn_thread_ids();
    // Refused: faults go unexplained.
    let _ = debugging::listen_to_faults(on_fault);
    true
}

/// In a child of fork.
pub(crate) fn forked_child() {
    space::forked_child();
}

/// Whether the address is one of this mode's.
#[inline]
pub(crate) fn owns(addr: usize) -> bool {
    is_on() && space::owns(addr)
}

/// A watched block; `None` where there is no room for it.
#[cold]
pub(crate) fn allocate(size: usize, align: usize, call: Call) -> Option<*mut u8> {
    if size > isize::MAX as usize >> 1 || align > isize::MAX as usize >> 1 {
        return None;
    }
    let page = space::page_bytes();
    let (align, room) = (align.max(1), size.max(1));
    let pages = room.next_multiple_of(align.min(page)).div_ceil(page);
    let first = space::take(pages, align.div_ceil(page))?;
    let start = space::address_of(first);
    let end = start + pages * page;
    let addr = if align > page { start } else { (end - room) & !(align - 1) };
    for at in
        [addr.wrapping_sub(CANARY_BYTES).max(start)..addr, addr + size..end.min(addr + size + CANARY_BYTES)]
    {
        // SAFETY: G2: within the pages that were just taken.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at.start).write_bytes(CANARY, at.len()) };
    }
    space::record(first).publish(addr, size, align, pages, call, trace::here());
    Some(core::ptr::with_exposed_provenance_mut(addr))
}

/// The pages of a block beside it, as ranges before and behind.
fn surroundings(record: &Record, first: usize) -> [core::ops::Range<usize>; 2] {
    let start = space::address_of(first);
    let (addr, size) = (record.addr(), record.size());
    [start..addr, addr + size..start + record.pages() * space::page_bytes()]
}

/// The first byte in a range of a block's pages that is not `value`, searched by lines where they are whole.
fn first_other(range: core::ops::Range<usize>, value: u8) -> Option<usize> {
    const LINE: usize = 64;
    let whole = u64::from_ne_bytes([value; 8]);
    let mut at = range.start;
    while at < range.end {
        if at.is_multiple_of(LINE) && range.end - at >= LINE && line_differs(at, whole) == 0 {
            at += LINE;
            continue;
        }
        // SAFETY: G2: a page of a block that is not freed yet.
        if unsafe { core::ptr::with_exposed_provenance::<u8>(at).read_volatile() } != value {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The bits in which the words of a line beside a block differ from `word`, all in one.
fn line_differs(at: usize, word: u64) -> u64 {
    // SAFETY: G2, as `first_other`; aligned. Whoever writes there meanwhile misuses memory, and is found now or later.
    let words = unsafe { core::ptr::with_exposed_provenance::<[u64; 8]>(at).read_volatile() };
    words.iter().fold(0, |bits, one| bits | one ^ word)
}

/// A byte beside the block that was written to, and whether it lies before the block: the nearest to its end, or the
/// furthest from its start.
fn damage(record: &Record, first: usize) -> Option<(usize, bool)> {
    let [before, behind] = surroundings(record, first);
    let near = before.end.saturating_sub(CANARY_BYTES).max(before.start);
    let far = (behind.start + CANARY_BYTES).min(behind.end);
    let found_before = first_other(before.start..near, 0)
        .or_else(|| first_other(near..before.end, CANARY))
        .map(|at| (at, true));
    let found_behind = || {
        first_other(behind.start..far, CANARY)
            .or_else(|| first_other(far..behind.end, 0))
            .map(|at| (at, false))
    };
    found_before.or_else(found_behind)
}

/// Gives a watched block back, or ends the process with a report.
#[cold]
pub(crate) fn release(addr: usize, told: &Told) {
    let Some((first, record)) = space::block_at(addr) else { never_was(addr) };
    if record.addr() != addr {
        Report::new(Found::InvalidFree, addr, record).present("freed").old().end();
    }
    if record.state() == State::Freed {
        Report::new(Found::DoubleFree, addr, record).present("freed again").old().end();
    }
    check_told(record, addr, told);
    if let Some((at, before)) = damage(record, first) {
        let found = if before { Found::Underrun { at } } else { Found::Overrun { at } };
        Report::new(found, addr, record).present("freed").old().end();
    }
    if !record.retire(trace::here()) {
        Report::new(Found::DoubleFree, addr, record).present("freed again").old().end();
    }
    space::give_up(first, record.pages());
}

/// Tells of a free by the wrong function, size or alignment. Nothing is damaged, so the process goes on.
fn check_told(record: &'static Record, addr: usize, told: &Told) {
    let mismatch = if Family::of(told.call) != Family::of(record.call()) && told.call != Call::Inner {
        Some(Found::WrongFunction { made: record.call(), freed: told.call })
    } else if let Some(size) = told.size.filter(|&size| size != record.size()) {
        Some(Found::WrongSize { told: size })
    } else {
        let align = told.align.filter(|&align| align != record.align() && align > 16);
        align.map(|align| Found::WrongAlignment { told: align })
    };
    if let Some(found) = mismatch {
        Report::new(found, addr, record).present("freed").old().say();
    }
}

/// Functions whose blocks are given back by the same functions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Malloc,
    New,
    NewArray,
    AlignedNew,
    AlignedNewArray,
}

impl Family {
    fn of(call: Call) -> Family {
        match call {
            Call::Malloc | Call::Calloc | Call::Aligned | Call::Inner => Family::Malloc,
            Call::New => Family::New,
            Call::NewArray => Family::NewArray,
            Call::AlignedNew => Family::AlignedNew,
            Call::AlignedNewArray => Family::AlignedNewArray,
        }
    }
}

/// realloc of a watched block: always to a new place, so that old pointers are found out.
#[cold]
pub(crate) fn resize(addr: usize, size: usize, align: usize) -> *mut u8 {
    let Some((_, record)) = space::block_at(addr) else { never_was(addr) };
    if record.addr() != addr || record.state() == State::Freed {
        let found = if record.addr() == addr { Found::ResizeAfterFree } else { Found::InvalidFree };
        Report::new(found, addr, record).present("resized").old().end();
    }
    let to = crate::slow::allocate(
        freestone_base::class_of_aligned(size, align),
        size,
        align,
        false,
        if record.call() == Call::Calloc { Call::Malloc } else { record.call() },
    );
    if to.is_null() {
        return null_mut();
    }
    let from: *const u8 = core::ptr::with_exposed_provenance(addr);
    // SAFETY: the new block and the old one hold that many bytes each and are apart.
    unsafe { to.copy_from_nonoverlapping(from, record.size().min(size)) };
    release(addr, &Told::nothing(record.call()));
    to
}

/// The size that was asked for.
#[cold]
pub(crate) fn usable_size(addr: usize) -> usize {
    match space::block_at(addr) {
        Some((_, record)) if record.addr() == addr && record.state() == State::Live => record.size(),
        Some((_, record)) => Report::new(Found::NoBlock, addr, record).present("asked for").old().end(),
        None => never_was(addr),
    }
}

fn never_was(addr: usize) -> ! {
    Report::without_block(Found::InvalidFree, addr).present("freed").end()
}

/// An access failed: if it was to the space, tells of whose block.
fn on_fault(access: &Access) {
    if !owns(access.addr) {
        return;
    }
    match space::block_near(access.addr) {
        Some((_, record)) if record.state() == State::Freed => {
            Report::new(Found::UseAfterFree { write: access.write }, access.addr, record)
        }
        Some((_, record)) => Report::new(Found::Outside { write: access.write }, access.addr, record),
        None => Report::without_block(Found::Wild { write: access.write }, access.addr),
    }
    .access(access)
    .old()
    .say();
}

/// A word of memory that this mode has mapped for its own work, or that lies beside a live block.
fn cell(at: usize) -> &'static AtomicUsize {
    // SAFETY: only whole words of such memory are asked for, while it is there.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicUsize>(at) }
}

/// Unmaps such a mapping.
fn unmap(system: &Linux, at: usize, len: usize) {
    // SAFETY: mapped for its own work, and done with.
    let _ = unsafe { system.release(at, len) };
}

/// At the end of the process: what is damaged, and what was lost.
#[inline]
pub(crate) fn at_end() {
    if is_on() {
        tell_at_end();
    }
}

#[cold]
#[inline(never)]
fn tell_at_end() {
    space::each_live(|first, record| {
        if let Some((at, before)) = damage(record, first) {
            let found = if before { Found::Underrun { at } } else { Found::Overrun { at } };
            Report::new(found, record.addr(), record).old().say();
        }
    });
    // The search reads files.
    if leaks_are_wanted() && !freestone_sys::linux::control::filter_was_asked_for() {
        leaks::tell();
    }
}
