//! Guarded blocks: a few requests, drawn by lot, get pages of their own between guard pages, and their pages are guarded when
//! they are freed. Whoever reaches beyond one, or into a freed one, faults, and is told who allocated and who freed it.
//!
//! ```text
//!  guard page │ slack, filled │ block │ slack, filled │ guard page
//!             └──────── whole OS pages ───────────────┘
//! ```
//!
//! The block ends as near to its last page's end as its alignment allows. What is left before and behind it holds a pattern
//! that is compared when the block is freed. The last blocks freed wait, guarded whole. (The idea is Electric Fence's,
//! B. Perens 1987; to guard a sample only, so that it can stay on in production, is GWP-ASan's: K. Serebryany et al.,
//! arXiv 2311.09394.)
//!
//! Blocks are drawn by `observe.rs`; their spans are those of watched large blocks, so frees by anybody come here. Guard
//! pages take no mappings where the kernel has `MADV_GUARD_INSTALL`; else `mprotect` makes them, and fewer. Where OS pages are
//! longer than half a page, and for alignments of more than an OS page, no block is guarded.
//!
//! # Safety
//!
//! - B1: the records are mapped zeroed, once, and never unmapped; they hold atomics. Whoever changes one holds the lock; the
//!   handler of faults only reads, and at worst tells of a block that is being freed at that moment.
//! - B2: the pages of a guarded block belong to the page heap's owner of its span, who is this file.
#![allow(unsafe_code)]

mod record;
pub(crate) mod report;

use core::ptr::with_exposed_provenance_mut;

use freestone_base::PAGE_SIZE;
use freestone_sys::{System, linux};

use self::record::{FREED, LIVE, Record, SLOTS, STACK};
use self::report::Kind;
use crate::observe::{self, Observer};
use crate::pageheap::SpanRef;
use crate::slow::LEVELS;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::{gate, stack, start};

/// Freed blocks that wait at most.
const WAITING: usize = SLOTS / 2;
/// Guarded blocks at most where each takes three mappings of its own.
const MAPPED_SLOTS: usize = 256;
/// Of the bytes that count towards a guarded block, no more than so many a nanosecond are heeded (2 GB a second): two blocks lie at least as
/// far apart in time as their mean distance takes at that rate. So what guarding costs is bounded however fast a program allocates.
const HEEDED: u64 = 2;
/// Shorter times are not looked at: to guard a block takes longer.
const SHORTEST_PAUSE_NS: u64 = 1000;
/// What slack is filled with: neither text nor zero.
const PATTERN: u8 = 0xb5;
/// Bytes of it that are compared at once.
const LINE: usize = 64;

struct State {
    /// Records ever used; the first so many.
    used: usize,
    /// Records whose blocks went back to the page heap.
    unused: [u16; SLOTS],
    unused_count: usize,
    /// Those of freed blocks, in a ring, the oldest first.
    waiting: [u16; SLOTS],
    oldest: usize,
    waiting_count: usize,
}

static STATE: Lock<State> = Lock::new(State {
    used: 0,
    unused: [0; SLOTS],
    unused_count: 0,
    waiting: [0; SLOTS],
    oldest: 0,
    waiting_count: 0,
});

/// The kernel has guard pages without mappings.
static CAN_GUARD: AtomicBool = AtomicBool::new(false);
/// When a block was guarded last, where there has to be a pause.
static LAST_NS: AtomicU64 = AtomicU64::new(0);
/// The mean distance that an option asked for before the start.
static WANTED: AtomicU64 = AtomicU64::new(0);

/// The mean distance of two guarded blocks, in requested bytes; 0 when none are.
pub(crate) fn mean() -> u64 {
    if start::is_started() { observe::mean_of(Observer::Guard) } else { WANTED.load(Ordering::Relaxed) }
}

/// Sets the mean distance; by option, also before the allocator has started.
pub(crate) fn want(mean: u64) {
    WANTED.store(mean, Ordering::Relaxed);
    if start::is_started()
        && let Some(inside) = gate::enter_patiently()
    {
        begin(mean);
        drop(inside);
    }
}

/// Begins what an option asked for. The gate has been entered.
pub(crate) fn begin_if_wanted() {
    let mean = WANTED.load(Ordering::Relaxed);
    if mean > 0 && start::debugging() {
        start::tell("guard cannot take effect in debug mode, where each block is guarded");
    } else if mean > 0 && !fits(LEVELS.pages.os_page_size()) {
        start::tell("guard cannot take effect here (the pages of the system are longer than 4 KiB)");
    } else if mean > 0 {
        begin(mean);
    }
}

/// Whether a guard page of the system's leaves room for the beginning of a block on a span's first page, the only one but the last that
/// leads to the span. So it takes half of that page at most; the slack before the block is less than the other half.
fn fits(os_page: usize) -> bool {
    2 * os_page <= PAGE_SIZE
}

fn begin(mean: u64) {
    let system = LEVELS.pages.system();
    if mean > 0 && (start::debugging() || !fits(system.os_page_size()) || !record::prepare(system)) {
        return;
    }
    if mean > 0 {
        CAN_GUARD.store(crate::harden::can_guard(system), Ordering::Relaxed);
        linux::fault::look_at_faults(crate::harden::on_access, true);
        // Every watched block notes whose it is.
        linux::debugging::learn_thread_ids();
    }
    observe::set(Observer::Guard, mean);
}

impl State {
    /// A record for a new block; the oldest freed one's where all are in use.
    fn take_record(&mut self) -> Option<u16> {
        let most = if CAN_GUARD.load(Ordering::Relaxed) { SLOTS } else { MAPPED_SLOTS };
        if self.unused_count > 0 {
            self.unused_count -= 1;
            return Some(self.unused[self.unused_count]);
        }
        if self.used < most {
            self.used += 1;
            return Some((self.used - 1) as u16);
        }
        None
    }

    fn put_record(&mut self, number: u16) {
        self.unused[self.unused_count] = number;
        self.unused_count += 1;
    }

    fn take_oldest(&mut self) -> Option<u16> {
        if self.waiting_count == 0 {
            return None;
        }
        let number = self.waiting[self.oldest];
        self.oldest = (self.oldest + 1) % SLOTS;
        self.waiting_count -= 1;
        Some(number)
    }

    fn wait(&mut self, number: u16) {
        self.waiting[(self.oldest + self.waiting_count) % SLOTS] = number;
        self.waiting_count += 1;
    }
}

/// Whether the last block was guarded so lately that there shall be no other yet. If not, the pause begins now.
fn is_early() -> bool {
    let pause = observe::mean_of(Observer::Guard) / HEEDED;
    pause >= SHORTEST_PAUSE_NS && is_within(pause, linux::monotonic_ns(), &LAST_NS)
}

/// Whether `now` is less than `pause` after `last`. If not, it is the last now; who comes second finds it so.
fn is_within(pause: u64, now: u64, last: &AtomicU64) -> bool {
    let before = last.load(Ordering::Relaxed);
    now.saturating_sub(before) < pause
        || last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
}

/// A guarded block for a request that was drawn, not watched yet; `None` where there are too many, the last is too recent, or memory is
/// refused. The gate has been entered.
pub(crate) fn take(size: usize, align: usize) -> Option<usize> {
    if is_early() {
        return None;
    }
    let record_or_old = {
        let mut state = STATE.lock();
        match state.take_record() {
            Some(number) => (number, None),
            None => {
                let number = state.take_oldest()?;
                (number, retire(number))
            }
        }
    };
    let (number, old) = record_or_old;
    if let Some(old) = old {
        LEVELS.pages.free(old);
    }
    let made = make(number, size, align);
    if made.is_none() {
        STATE.lock().put_record(number);
    }
    made
}

fn make(number: u16, size: usize, align: usize) -> Option<usize> {
    let os_page = LEVELS.pages.os_page_size();
    if align > os_page {
        return None;
    }
    let length = size.max(1).checked_next_multiple_of(align)?;
    let data = length.checked_next_multiple_of(os_page)?;
    let room = data.checked_add(2 * os_page)?;
    let span = LEVELS.pages.alloc_large(room, 1, false)?;
    let lead = os_page;
    let (start, end) = (span.start() + lead, span.start() + lead + data);
    let addr = end - length;
    if !shield(span.start(), lead) || !shield(end, span.start() + span.bytes() - end) {
        unshield(span.start(), span.bytes());
        LEVELS.pages.free(span);
        return None;
    }
    fill(start, addr);
    fill(addr + size, end);
    span.set_colour(addr - span.start());
    span.set_requested(size);
    let record = record::get(number);
    record.begin(span, start, end, addr, size);
    let mut frames = [0; STACK];
    let count = stack::capture(1, &mut frames);
    record.allocated.note(&frames[..count]);
    span.set_guarded(Some(number));
    record.set_state(LIVE);
    Some(addr)
}

/// Makes the span of a block that [`take`] has just made, and that nobody is going to watch, free and ordinary. The gate has been entered.
pub(crate) fn give_up(span: SpanRef) {
    let Some(number) = span.guarded() else { return };
    if let Some(span) = retire(number) {
        LEVELS.pages.free(span);
    }
    STATE.lock().put_record(number);
}

/// Looks whether the block of this number may be freed at `addr`; ends the process with a report where not. Returns its bytes.
/// The gate has been entered.
pub(crate) fn check(number: u16, addr: usize) -> usize {
    let record = record::get(number);
    if record.state() == FREED {
        report::end(Kind::DoubleFree, record, addr);
    }
    if record.addr() != addr {
        report::end(Kind::InvalidFree, record, addr);
    }
    let end = record.addr() + record.size();
    if let Some(at) = damage(record.start(), addr) {
        report::end(Kind::Underrun, record, at);
    }
    if let Some(at) = damage(end, record.end()) {
        report::end(Kind::Overrun, record, at);
    }
    record.size()
}

/// The bytes of the block of this number, whose user names `addr`; ends the process with a report where it is free.
pub(crate) fn size(number: u16, addr: usize) -> usize {
    let record = record::get(number);
    if record.state() == FREED {
        report::end(Kind::UseAfterFree, record, addr);
    }
    record.size()
}

/// Guards a block that was checked, and has it wait. Returns a span that has waited long enough, to be given back.
pub(crate) fn shut(number: u16) -> Option<SpanRef> {
    let record = record::get(number);
    let mut frames = [0; STACK];
    let count = stack::capture(1, &mut frames);
    record.freed.note(&frames[..count]);
    if !record.try_free() {
        report::end(Kind::DoubleFree, record, record.addr());
    }
    shield(record.start(), record.end() - record.start());
    let mut state = STATE.lock();
    state.wait(number);
    if state.waiting_count <= WAITING {
        return None;
    }
    let oldest = state.take_oldest()?;
    let span = retire(oldest);
    state.put_record(oldest);
    span
}

/// Freed blocks that wait, and the bytes of their spans. O(records); the gate has been entered.
pub(crate) fn waiting() -> (usize, usize) {
    // Whoever takes a span back from a record holds it too.
    let _state = STATE.lock();
    let freed = record::all().filter(|record| record.state() == FREED);
    freed.filter_map(Record::span).fold((0, 0), |(blocks, bytes), span| (blocks + 1, bytes + span.bytes()))
}

/// Makes the span of a block that is not live any more an ordinary one.
fn retire(number: u16) -> Option<SpanRef> {
    let record = record::get(number);
    let span = record.span()?;
    record.end_of_life();
    unshield(span.start(), span.bytes());
    span.set_guarded(None);
    Some(span)
}

fn shield(addr: usize, len: usize) -> bool {
    // SAFETY: B2, and the program has no right to use the pages.
    let guarded = unsafe { LEVELS.pages.system().guard(addr, len) }.is_ok();
    // SAFETY: as above.
    guarded || unsafe { linux::forbid(addr, len, true) }.is_ok()
}

fn unshield(addr: usize, len: usize) {
    // SAFETY: B2.
    let _ = unsafe { LEVELS.pages.system().unguard(addr, len) };
    if !CAN_GUARD.load(Ordering::Relaxed) {
        // SAFETY: B2.
        let _ = unsafe { linux::forbid(addr, len, false) };
    }
}

fn fill(from: usize, to: usize) {
    // SAFETY: B2: pages of the block's own, beside it.
    unsafe { with_exposed_provenance_mut::<u8>(from).write_bytes(PATTERN, to - from) };
}

/// The first byte that is not what [`fill`] wrote.
fn damage(from: usize, to: usize) -> Option<usize> {
    let bytes = with_exposed_provenance_mut::<u8>(from);
    // SAFETY: B2, as `fill`; the block is live, so its pages are accessible.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, to - from) };
    // By whole lines, which vectors compare, as far as they are as they were.
    let whole = bytes
        .chunks_exact(LINE)
        .take_while(|line| line.iter().fold(0, |all, byte| all | byte ^ PATTERN) == 0)
        .count();
    let first = whole * LINE;
    bytes[first..].iter().position(|&byte| byte != PATTERN).map(|at| from + first + at)
}

/// The record of the block whose pages, guard pages included, `addr` lies in. O(records). Takes no lock.
fn find(addr: usize) -> Option<&'static Record> {
    record::all().find(|record| record.covers(addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guarded_blocks_keep_their_distance_in_time() {
        let last = AtomicU64::new(0);
        let taken: Vec<u64> = (100..1000).filter(|&now| !is_within(100, now, &last)).collect();
        assert_eq!(taken, [100, 200, 300, 400, 500, 600, 700, 800, 900]);
        // A clock read by another thread a moment earlier.
        assert!(is_within(100, 850, &last));
    }

    #[test]
    fn a_block_that_is_given_up_leaves_no_guard_pages() {
        let inside = gate::enter().expect("no fork is under way");
        start::ensure();
        assert!(record::prepare(LEVELS.pages.system()));
        for size in [100, 5000] {
            let Some(addr) = take(size, 16) else {
                return freestone_testkit::skipped(format_args!("OS pages are too long"));
            };
            let span = LEVELS.pages.page_map().span_of(addr).expect("a span of ours");
            let bytes = span.bytes();
            give_up(span);
            // Whoever gets the pages next may use all of them: most likely this, since the span freed last comes first.
            let next = LEVELS.pages.alloc_large(bytes, 1, false).expect("memory");
            // SAFETY: a block of our own.
            unsafe { with_exposed_provenance_mut::<u8>(next.start()).write_bytes(1, next.bytes()) };
            assert!(next.guarded().is_none());
            LEVELS.pages.free(next);
        }
        drop(inside);
    }
}
