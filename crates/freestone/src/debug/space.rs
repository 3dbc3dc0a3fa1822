//! The addresses of the debug mode, and a record for each of their pages.
//!
//! Pages are handed out in the order of their addresses, and never again. A *tract* is 64 MiB of them: mapped when it is reached,
//! and turned into bare addresses, without page tables, when every page in it is dead. Records of the last tracts that died are
//! kept, to tell of a block long after its free.
//!
//! # Safety
//!
//! G1 and G2 of `debug/mod.rs`.
#![allow(unsafe_code)]

use freestone_sys::linux::{self, cgroup, debugging};
use freestone_sys::{Linux, System};

use crate::counters::Call;
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::tls;

const TRACT: usize = 64 << 20;
/// What is asked for first, and what is enough.
const MOST: usize = 16 << 40;
const LEAST: usize = 1 << 30;
/// Dead tracts whose records are kept: 128 MiB of records at most.
const KEPT: usize = 128;
/// Blocks of one page for which room is opened at once. Behind the block made last, an access may lie in open pages so far;
/// what it writes is found with the blocks that come there.
const AHEAD: usize = 16;
/// Pages from one such block to the next.
const STRIDE: usize = 1 + gap(1);

/// An OS page. Set once, before the mode is on, as the next ones.
static OS_PAGE: AtomicUsize = AtomicUsize::new(0);
static START: AtomicUsize = AtomicUsize::new(0);
static PAGES: AtomicUsize = AtomicUsize::new(0);
static RECORDS: AtomicUsize = AtomicUsize::new(0);
/// For each tract, its dead pages: an `AtomicU32` each.
static DEAD: AtomicUsize = AtomicUsize::new(0);
/// The pages that may be live at once.
static LIVE_LIMIT: AtomicUsize = AtomicUsize::new(0);

/// The first page that was never handed out.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Pages below this one are mapped.
static MAPPED: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Single pages that are open, for the next blocks of one page: the first of them, and behind eight bits how many.
static OPENED: AtomicU64 = AtomicU64::new(0);
const OPENED_COUNT: u64 = 0xff;
/// The tracts that died last, each by its number plus one.
static GRAVES: [AtomicU32; KEPT] = [const { AtomicU32::new(0) }; KEPT];
static BURIED: AtomicUsize = AtomicUsize::new(0);

/// What has become of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    /// No block begins at this page.
    None = 0,
    Live = 1,
    Freed = 2,
}

/// What is known of the block that begins at a page.
#[repr(C, align(64))]
pub(super) struct Record {
    state: AtomicU8,
    call: AtomicU8,
    /// Logarithm.
    align: AtomicU8,
    /// Used by the search for leaks only.
    pub(super) mark: AtomicU8,
    pages: AtomicU32,
    addr: AtomicUsize,
    size: AtomicUsize,
    made_from: AtomicU32,
    freed_from: AtomicU32,
    made_by: AtomicU32,
    freed_by: AtomicU32,
    /// Blocks that had been made before it.
    serial: AtomicU64,
}

const _: () = assert!(size_of::<Record>() == 64);

impl Record {
    pub(super) fn publish(
        &self,
        addr: usize,
        size: usize,
        align: usize,
        pages: usize,
        call: Call,
        trace: u32,
    ) {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        self.addr.store(addr, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.pages.store(pages as u32, Ordering::Relaxed);
        self.align.store(align.trailing_zeros() as u8, Ordering::Relaxed);
        self.call.store(call as u8, Ordering::Relaxed);
        self.made_from.store(trace, Ordering::Relaxed);
        self.made_by.store(debugging::thread_id() as u32, Ordering::Relaxed);
        self.serial.store(SERIAL.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        // Release pairs with the Acquire of `state`.
        self.state.store(State::Live as u8, Ordering::Release);
    }

    /// From live to freed; false when somebody else was first.
    pub(super) fn retire(&self, trace: u32) -> bool {
        let (live, freed) = (State::Live as u8, State::Freed as u8);
        if self.state.compare_exchange(live, freed, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        self.freed_from.store(trace, Ordering::Relaxed);
        self.freed_by.store(debugging::thread_id() as u32, Ordering::Relaxed);
        true
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Live,
            2 => State::Freed,
            _ => State::None,
        }
    }

    pub(super) fn call(&self) -> Call {
        Call::from_number(self.call.load(Ordering::Relaxed))
    }

    pub(super) fn align(&self) -> usize {
        1 << self.align.load(Ordering::Relaxed)
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.load(Ordering::Relaxed) as usize
    }

    pub(super) fn addr(&self) -> usize {
        self.addr.load(Ordering::Relaxed)
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial.load(Ordering::Relaxed)
    }

    /// By which thread and from where it was made.
    pub(super) fn made(&self) -> (u32, u32) {
        (self.made_by.load(Ordering::Relaxed), self.made_from.load(Ordering::Relaxed))
    }

    /// The same of its free.
    pub(super) fn freed(&self) -> (u32, u32) {
        (self.freed_by.load(Ordering::Relaxed), self.freed_from.load(Ordering::Relaxed))
    }
}

/// Bytes of a page: those of an OS page.
#[inline]
pub(super) fn page_bytes() -> usize {
    OS_PAGE.load(Ordering::Relaxed)
}

fn tract_pages() -> usize {
    TRACT / page_bytes()
}

/// Reserves the addresses; false when the system has none to give.
pub(super) fn begin() -> bool {
    let system = LEVELS.pages.system();
    OS_PAGE.store(system.os_page_size(), Ordering::Relaxed);
    let most = system.address_space_limit().map_or(MOST, |limit| (limit / 2).next_power_of_two() / 2);
    let mut len = most;
    loop {
        if len < LEAST {
            return false;
        }
        if reserve(system, len) {
            break;
        }
        len /= 2;
    }
    let memory = cgroup::memory_limit().unwrap_or(usize::MAX).min(linux::process::machine_memory());
    LIVE_LIMIT.store(memory / 4 / page_bytes(), Ordering::Relaxed);
    true
}

fn reserve(system: &Linux, len: usize) -> bool {
    let pages = len / page_bytes();
    // One more tract, so that the first one can begin at a multiple.
    let ranges = [len + TRACT, pages * size_of::<Record>(), len / TRACT * size_of::<AtomicU32>()];
    let mut starts = [0; 3];
    for (index, (start, len)) in starts.iter_mut().zip(ranges).enumerate() {
        let len = len.next_multiple_of(page_bytes());
        let found = if index == 2 { system.map(len) } else { system.reserve(len) };
        match found {
            Ok(at) => *start = at,
            Err(_) => {
                for (start, len) in starts.into_iter().zip(ranges).take(index) {
                    // SAFETY: reserved just before, and unused.
                    let _ = unsafe { system.release(start, len.next_multiple_of(page_bytes())) };
                }
                return false;
            }
        }
    }
    START.store(starts[0].next_multiple_of(TRACT), Ordering::Relaxed);
    RECORDS.store(starts[1], Ordering::Relaxed);
    DEAD.store(starts[2], Ordering::Relaxed);
    PAGES.store(pages, Ordering::Relaxed);
    true
}

/// Whether the address is in the space.
pub(super) fn owns(addr: usize) -> bool {
    addr.wrapping_sub(START.load(Ordering::Relaxed)) < PAGES.load(Ordering::Relaxed) * page_bytes()
}

/// Ranges of addresses that hold what is known, not what the program has: from a start to an end.
pub(super) fn own_ranges() -> [(usize, usize); 3] {
    let pages = PAGES.load(Ordering::Relaxed);
    let range = |start: &AtomicUsize, len: usize| {
        let start = start.load(Ordering::Relaxed);
        (start, start + len)
    };
    [
        range(&START, pages * page_bytes()),
        range(&RECORDS, pages * size_of::<Record>()),
        range(&DEAD, pages / tract_pages() * size_of::<AtomicU32>()),
    ]
}

pub(super) fn address_of(page: usize) -> usize {
    START.load(Ordering::Relaxed) + page * page_bytes()
}

fn page_of(addr: usize) -> usize {
    (addr - START.load(Ordering::Relaxed)) / page_bytes()
}

/// The record of a page that was handed out.
pub(super) fn record(page: usize) -> &'static Record {
    debug_assert!(page < MAPPED.load(Ordering::Relaxed));
    let at = RECORDS.load(Ordering::Relaxed) + page * size_of::<Record>();
    // SAFETY: G1: records are mapped as far as pages are.
    unsafe { &*core::ptr::with_exposed_provenance::<Record>(at) }
}

fn dead_pages(tract: usize) -> &'static AtomicU32 {
    let at = DEAD.load(Ordering::Relaxed) + tract * size_of::<AtomicU32>();
    // SAFETY: G1: one for each tract.
    unsafe { &*core::ptr::with_exposed_provenance::<AtomicU32>(at) }
}

/// Closed pages behind a block of so many: enough for large strides to end in them.
pub(super) const fn gap(pages: usize) -> usize {
    match pages / 16 {
        0 => 1,
        1..16 => pages / 16,
        _ => 16,
    }
}

/// So many pages for a block, the first a multiple of `align` pages, behind them some that are closed. `None` when too much is live,
/// no addresses are left, or the system refuses.
pub(super) fn take(pages: usize, align: usize) -> Option<usize> {
    let live = LIVE.fetch_add(pages, Ordering::Relaxed) + pages;
    let taken = match live <= LIVE_LIMIT.load(Ordering::Relaxed) {
        true if (pages, align) == (1, 1) => take_page(),
        true => take_and_open(pages, align),
        false => None,
    };
    if taken.is_none() {
        LIVE.fetch_sub(pages, Ordering::Relaxed);
    }
    taken
}

/// A page that is open already, or the first of several that are opened together.
fn take_page() -> Option<usize> {
    let taken = OPENED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |opened| {
        (opened & OPENED_COUNT != 0).then(|| opened + ((STRIDE as u64) << 8) - 1)
    });
    if let Ok(opened) = taken {
        return Some((opened >> 8) as usize);
    }
    let Some(first) = take_addresses(AHEAD * STRIDE, 1) else { return take_and_open(1, 1) };
    // SAFETY: G2: pages that were just taken, and are mapped.
    if !unsafe { debugging::open_many(address_of(first), page_bytes(), STRIDE * page_bytes(), AHEAD) } {
        give_up_unused(first, AHEAD * STRIDE);
        return None;
    }
    let (next, left) = (first + STRIDE, AHEAD - 1);
    let stock = |opened: u64| (opened & OPENED_COUNT == 0).then_some((next as u64) << 8 | left as u64);
    if OPENED.fetch_update(Ordering::AcqRel, Ordering::Acquire, stock).is_err() {
        // Another thread was as far.
        give_up_unused(next, left * STRIDE);
    }
    Some(first)
}

/// Closes pages of which no block was made.
fn give_up_unused(first: usize, pages: usize) {
    // SAFETY: G2: pages that were just taken. If the system refuses, they stay open, that is all.
    unsafe { debugging::close(address_of(first), pages * page_bytes()) };
    bury(first..first + pages);
}

fn take_and_open(pages: usize, align: usize) -> Option<usize> {
    let first = take_addresses(pages + gap(pages), align)?;
    // SAFETY: G2: pages that were just taken.
    if !unsafe { debugging::open(address_of(first), pages * page_bytes()) } {
        bury(first..first + pages + gap(pages));
        return None;
    }
    Some(first)
}

/// So many pages, the first a multiple of `align` pages, which are mapped and closed.
fn take_addresses(pages: usize, align: usize) -> Option<usize> {
    let all = PAGES.load(Ordering::Relaxed);
    // START is a multiple of a tract only: larger alignments go by the address.
    let bias = START.load(Ordering::Relaxed) / page_bytes();
    let mut next = NEXT.load(Ordering::Relaxed);
    let (first, end) = loop {
        let first = (bias + next).next_multiple_of(align) - bias;
        let end = first.checked_add(pages).filter(|&end| end <= all)?;
        match NEXT.compare_exchange_weak(next, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break (first, end),
            Err(now) => next = now,
        }
    };
    bury(next..first);
    if !map_up_to(end) {
        bury(first..end);
        return None;
    }
    Some(first)
}

/// The thread that maps tracts, by its thread pointer, which is the same in a child of fork; 0: nobody.
static MAPPER: AtomicUsize = AtomicUsize::new(0);

/// In a child of fork: a thread that was mapping is gone, but for the one that goes on, if it forked in a signal handler.
pub(super) fn forked_child() {
    if MAPPER.load(Ordering::Relaxed) != tls::thread_pointer() {
        MAPPER.store(0, Ordering::Relaxed);
    }
}

/// Maps tracts until they reach to `end`; false when the system refuses, or somebody is at it who does not come to an end: this
/// very thread, which a signal has interrupted there, or one that a child of `_Fork` has not.
fn map_up_to(end: usize) -> bool {
    const PATIENCE: usize = 10_000;
    let own = tls::thread_pointer();
    for _ in 0..PATIENCE {
        // Acquire pairs with the Release of whoever mapped.
        if MAPPED.load(Ordering::Acquire) >= end {
            return true;
        }
        match MAPPER.compare_exchange(0, own, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {
                let mapped = MAPPED.load(Ordering::Relaxed);
                let wanted = end.next_multiple_of(tract_pages()).min(PAGES.load(Ordering::Relaxed));
                let done = mapped >= end || map(mapped, wanted);
                MAPPER.store(0, Ordering::Release);
                return done;
            }
            // A signal handler would wait for what it has interrupted.
            Err(mapper) if mapper == own => return false,
            Err(_) => linux::control::yield_now(),
        }
    }
    false
}

fn map(from: usize, to: usize) -> bool {
    let records = RECORDS.load(Ordering::Relaxed) + from * size_of::<Record>();
    // SAFETY: a part of what was reserved.
    if unsafe { LEVELS.pages.system().commit(records, (to - from) * size_of::<Record>()) }.is_err() {
        return false;
    }
    // SAFETY: as above; pages from `MAPPED` on are nobody's.
    let prepared = unsafe { debugging::prepare(address_of(from), (to - from) * page_bytes()) };
    if prepared {
        MAPPED.store(to, Ordering::Release);
    }
    prepared
}

/// Gives up the pages of a freed block and the closed ones behind them.
pub(super) fn give_up(first: usize, pages: usize) {
    // SAFETY: G2: the block is freed. If the system refuses, the contents stay readable.
    unsafe { debugging::close(address_of(first), pages * page_bytes()) };
    LIVE.fetch_sub(pages, Ordering::Relaxed);
    bury(first..first + pages + gap(pages));
}

/// Counts pages as dead; a tract whose pages all are becomes bare addresses.
fn bury(mut pages: core::ops::Range<usize>) {
    while !pages.is_empty() {
        let tract = pages.start / tract_pages();
        let end = pages.end.min((tract + 1) * tract_pages());
        let here = (end - pages.start) as u32;
        pages.start = end;
        if dead_pages(tract).fetch_add(here, Ordering::AcqRel) + here == tract_pages() as u32 {
            // SAFETY: G2: nobody has a page of it any more.
            unsafe { debugging::close_for_ever(address_of(tract * tract_pages()), TRACT) };
            forget_oldest(tract);
        }
    }
}

/// Keeps the records of a dead tract for a while, in the place of those of another.
fn forget_oldest(tract: usize) {
    let place = &GRAVES[BURIED.fetch_add(1, Ordering::Relaxed) % KEPT];
    let oldest = place.swap(tract as u32 + 1, Ordering::AcqRel);
    if oldest != 0 {
        let bytes = tract_pages() * size_of::<Record>();
        let start = RECORDS.load(Ordering::Relaxed) + (oldest as usize - 1) * bytes;
        // SAFETY: the records of dead pages; zeros are records of no block.
        let _ = unsafe { LEVELS.pages.system().purge(start, bytes) };
    }
}

/// The block whose pages, with the closed ones behind them, the address lies in, and its first page.
pub(super) fn block_at(addr: usize) -> Option<(usize, &'static Record)> {
    let page = page_of(addr);
    if page >= NEXT.load(Ordering::Relaxed) || page >= MAPPED.load(Ordering::Acquire) {
        return None;
    }
    // Only large blocks and wrong addresses take more than a step.
    let first = (0..=page).rev().find(|&page| record(page).state() != State::None)?;
    let pages = record(first).pages();
    (page < first + pages + gap(pages)).then(|| (first, record(first)))
}

/// The block that an access to this address was probably meant for.
pub(super) fn block_near(addr: usize) -> Option<(usize, &'static Record)> {
    let (first, block) = block_at(addr)?;
    let next = first + block.pages() + gap(block.pages());
    if page_of(addr) >= first + block.pages()
        && next < NEXT.load(Ordering::Relaxed)
        && next < MAPPED.load(Ordering::Acquire)
    {
        let other = record(next);
        let end = block.addr() + block.size();
        if other.state() != State::None && other.addr() - addr < addr.saturating_sub(end) {
            return Some((next, other));
        }
    }
    Some((first, block))
}

/// How many blocks are live at most.
pub(super) fn live_pages() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Visits every live block.
pub(super) fn each_live(mut visit: impl FnMut(usize, &'static Record)) {
    let end = NEXT.load(Ordering::Relaxed).min(MAPPED.load(Ordering::Acquire));
    let mut page = 0;
    while page < end {
        let tract = page / tract_pages();
        if dead_pages(tract).load(Ordering::Relaxed) == tract_pages() as u32 {
            page = (tract + 1) * tract_pages();
            continue;
        }
        let found = record(page);
        if found.state() == State::Live {
            visit(page, found);
        }
        page += if found.state() == State::None { 1 } else { found.pages() + gap(found.pages()) };
    }
}
