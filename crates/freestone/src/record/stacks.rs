//! Stacks in a trace: of which calls, and what gives their addresses names later.
//!
//! A stack takes some ten times as long as the call, so calls are drawn by lot, each lane going on with the distance that is
//! left; distances are exponentially distributed, so no pattern of the program's can hide from them, and whoever reads the trace knows for
//! how many calls each one stands.
//!
//! The process's executable mappings are listed in the trace when a stack leads through code that was not there when they were
//! listed last: at the first stack, and after a library was loaded. Code that is made as the program runs is ever new, so the
//! time between two lists doubles up to some seconds; what came in between is listed at the end.
//!
//! # Safety
//!
//! R3 of `mod.rs`, for the sheets that a list fills.
#![allow(unsafe_code)]

use core::fmt::{self, Write};

use freestone_base::trace::sheet::{HEADER, SHEET};
use freestone_base::trace::{Kind, MOST_FRAMES, SheetHeader, stack_counts};
use freestone_sys::linux;

use super::State;
use super::file::write_header;
use crate::chance::{self, Exponential};
use crate::profile::mapped;
use crate::stack;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Which calls are drawn. Of zeros, none was yet.
pub(super) struct Lot {
    /// Counts left to the next, at least 1; 0: not drawn yet.
    left: u64,
    chance: AtomicU64,
}

impl Lot {
    /// Whether the stack of a call for `size` bytes is wanted, where one in `every` is; 0: none.
    #[inline]
    pub(super) fn is_drawn(&mut self, every: u64, size: u64) -> bool {
        if every <= 1 {
            return every == 1;
        }
        let counts = stack_counts(size);
        if self.left > counts {
            self.left -= counts;
            return false;
        }
        self.draw(every, counts)
    }

    /// The next distance begins at the end of this call.
    #[cold]
    fn draw(&mut self, every: u64, counts: u64) -> bool {
        let mut chance = chance::of_thread(&self.chance, linux::random_bits);
        let distance = Exponential(every as f64);
        let is_first = self.left == 0;
        if is_first {
            self.left = distance.draw(&mut chance);
        }
        let is_drawn = self.left <= counts;
        self.left = if is_drawn { distance.draw(&mut chance) } else { self.left - counts };
        chance.keep(&self.chance);
        is_drawn
    }
}

/// The stack of the caller, on a thread of which `own` is known, the innermost first.
#[inline(never)]
pub(super) fn capture<'a>(frames: &'a mut [u64; MOST_FRAMES], own: &mut stack::Own) -> &'a [u64] {
    const OWN_FRAMES: usize = 2;
    let mut addresses = [0; MOST_FRAMES];
    let count = stack::capture_own(OWN_FRAMES, &mut addresses, own);
    for (frame, address) in frames.iter_mut().zip(addresses) {
        *frame = address as u64;
    }
    frames.get(..count).unwrap_or_default()
}

/// Mappings that are known one by one.
const RANGES: usize = 512;
/// Parts of the code, of 64 KiB each, that are known to lie in one of them.
const PARTS: usize = 1024;
const PART_BITS: u32 = 16;

/// The first list may be followed by another after so long, in nanoseconds; each by the next after twice the time.
const FIRST_PAUSE: u64 = 1 << 20;
const DOUBLINGS: u32 = 13;

/// The executable mappings that are in the trace. Of zeros, none is.
pub(super) struct Code {
    /// Nonzero while somebody lists.
    busy: AtomicU32,
    /// How many lists there are.
    lists: AtomicU32,
    /// When another may follow.
    due: AtomicU64,
    /// Whether a stack was written that leads through code of no list.
    is_behind: AtomicBool,
    count: AtomicUsize,
    ranges: [(AtomicUsize, AtomicUsize); RANGES],
    parts: [AtomicU32; PARTS],
}

impl Code {
    /// Has the mappings listed if one of these addresses is in none that is.
    #[inline]
    pub(super) fn note(&self, state: &State, frames: &[u64]) {
        if !frames.iter().all(|&address| self.knows(address as usize)) {
            self.catch_up(state);
        }
    }

    fn knows(&self, address: usize) -> bool {
        let part = address >> PART_BITS;
        let known = &self.parts[part % PARTS];
        if known.load(Ordering::Relaxed) == part as u32 {
            return true;
        }
        let count = self.count.load(Ordering::Acquire).min(RANGES);
        let inside = self.ranges[..count].iter().any(|(start, end)| {
            (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&address)
        });
        if inside {
            known.store(part as u32, Ordering::Relaxed);
        }
        inside
    }

    #[cold]
    fn catch_up(&self, state: &State) {
        if linux::monotonic_ns() < self.due.load(Ordering::Relaxed) {
            self.is_behind.store(true, Ordering::Relaxed);
        } else {
            self.list(state);
        }
    }

    /// At the end: lists what is missing.
    pub(super) fn settle(&self, state: &State) {
        if self.is_behind.load(Ordering::Relaxed) {
            self.list(state);
        }
    }

    fn list(&self, state: &State) {
        // Acquire and Release: one at a time. Whoever comes meanwhile, a signal handler on top of this too, goes on.
        if self.busy.swap(1, Ordering::Acquire) != 0 {
            return;
        }
        self.is_behind.store(false, Ordering::Relaxed);
        let lists = self.lists.fetch_add(1, Ordering::Relaxed);
        let pause = FIRST_PAUSE << lists.min(DOUBLINGS);
        self.due.store(linux::monotonic_ns() + pause, Ordering::Relaxed);
        let mut sheets = Sheets { state, list: lists, sheet: 0, at: 0, end: 0 };
        let mut count = 0;
        mapped::each(|mapped| {
            let _ = writeln!(sheets, "{mapped}");
            if let Some(range) = mapped.own() {
                let _ = writeln!(sheets, "own {range}");
            }
            if let Some((start, end)) = self.ranges.get(count) {
                start.store(mapped.start, Ordering::Relaxed);
                end.store(mapped.end, Ordering::Relaxed);
                count += 1;
            }
        });
        sheets.done();
        // Release: the ranges below it are set (Acquire in `knows`).
        self.count.store(count, Ordering::Release);
        self.busy.store(0, Ordering::Release);
    }
}

/// Text in sheets of the trace, as many as it takes.
struct Sheets<'a> {
    state: &'a State,
    list: u32,
    sheet: usize,
    at: usize,
    end: usize,
}

impl Sheets<'_> {
    fn turn(&mut self) -> fmt::Result {
        self.done();
        let sheet = self.state.new_sheet().ok_or(fmt::Error)?;
        let number = self.state.last.0.load(Ordering::Relaxed);
        let header = SheetHeader { place: self.list, number, ..self.state.header(Kind::Mappings, SHEET) };
        // SAFETY: R3: the sheet is new and ready.
        unsafe { write_header(sheet, &header) };
        (self.sheet, self.at, self.end) = (sheet, sheet + HEADER, sheet + SHEET);
        Ok(())
    }

    fn done(&mut self) {
        if self.sheet != 0 {
            self.state.tape().done(self.sheet - self.state.base.load(Ordering::Relaxed), SHEET);
        }
    }
}

impl Write for Sheets<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.at == self.end {
                self.turn()?;
            }
            let (now, later) = rest.split_at(rest.len().min(self.end - self.at));
            let to = core::ptr::with_exposed_provenance_mut::<u8>(self.at);
            // SAFETY: R3; no more than there is room for.
            unsafe { to.copy_from_nonoverlapping(now.as_ptr(), now.len()) };
            self.at += now.len();
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_drawn_as_their_counts_say() {
        for (every, size) in [(16, 100), (16, 40_000), (200, 5_000), (3, 0)] {
            let mut lot = Lot { left: 0, chance: AtomicU64::new(0) };
            let calls = 100_000;
            let drawn = (0..calls).filter(|_| lot.is_drawn(every, size)).count() as f64;
            let p = 1.0 - (-(stack_counts(size) as f64) / every as f64).exp();
            // Six standard deviations.
            let off = 6.0 * (f64::from(calls) * p * (1.0 - p)).sqrt() + 1.0;
            assert!((drawn - f64::from(calls) * p).abs() < off, "{every} {size}: {drawn} drawn, not {p}");
        }
        let mut lot = Lot { left: 0, chance: AtomicU64::new(0) };
        assert!((0..100).all(|_| lot.is_drawn(1, 8)) && !(0..100).any(|_| lot.is_drawn(0, 8)));
    }
}
