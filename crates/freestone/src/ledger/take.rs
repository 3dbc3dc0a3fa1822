//! Taking the ledger: first what is ours, range by range and span by span, then what is not, from the kernel's list of
//! mappings.
//!
//! # Safety
//!
//! Zeros are a value of [`Work`], which holds numbers only. What `SET_ASIDE` holds is 0 or a mapping that was kept, and
//! whoever swaps it out has it alone.
#![allow(unsafe_code)]

use freestone_base::ledger::{LINES, Line};
use freestone_base::{CLASS_COUNT, ClassId, class_info};
use freestone_sys::linux;
use freestone_sys::linux::mappings::{self, Detail, Sums};
use freestone_sys::linux::residency::Residency;
use freestone_sys::linux::scratch::{Scratch, Zeroed};

use super::own::Own;
use super::{Ledger, foreign};
use crate::cache::region::Region;
use crate::cache::{cpu, thread};
use crate::instances::LEVELS;
use crate::pageheap::{Seen, SpanRef, SpanState};
use crate::start::{self, Mode};
use crate::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};
use crate::{counters, gate, harden};

/// Spans that are noted in one step under the lock.
const STEP: usize = 32;
/// Cached blocks from this size on are looked at one by one: smaller ones have been touched, or nearly.
const LOOKED_AT: usize = 4096;

/// What the work needs room for; too much for a small stack.
struct Work {
    residency: Residency,
    own: Own,
    lines: [usize; LINES],
    /// Resident bytes of the blocks of each class that do not lie free in their slab.
    used: [usize; CLASS_COUNT],
    text: [u8; 8192],
}

// SAFETY: numbers only.
unsafe impl Zeroed for Work {}

/// How far the lines may be off, as a part of what is resident, before the ledger is taken again: while others are
/// at work, some change between the first line and the last.
const OFF: usize = 400;
/// How often it is taken at most.
const ATTEMPTS: usize = 3;
/// Up to so much the kernel is asked to add up what is resident, exactly; above it takes seconds, and the count that it
/// keeps at hand is good enough.
const ADDED_UP: usize = 4 << 30;

/// Room to work in that was set aside; 0 when there is none, or somebody works in it.
static SET_ASIDE: AtomicUsize = AtomicUsize::new(0);

/// Sets room aside, so that the ledger can be taken though the system refuses memory.
pub(crate) fn set_room_aside() {
    if let Some(scratch) = Scratch::<Work>::map() {
        give_room_back(SET_ASIDE.swap(scratch.keep(), AcqRel));
    }
}

fn give_room_back(kept: usize) {
    // SAFETY: 0, or kept before and taken by a swap: used once.
    drop(unsafe { Scratch::<Work>::again(kept) });
}

/// As [`super::take`], deferred frees done.
pub(super) fn take() -> Option<Ledger> {
    match Scratch::map() {
        Some(mut scratch) => take_in(&mut scratch),
        None => {
            // SAFETY: as in `give_room_back`.
            let mut scratch = unsafe { Scratch::again(SET_ASIDE.swap(0, AcqRel)) }?;
            let taken = take_in(&mut scratch);
            give_room_back(SET_ASIDE.swap(scratch.keep(), AcqRel));
            taken
        }
    }
}

fn take_in(scratch: &mut Scratch<Work>) -> Option<Ledger> {
    LEVELS.pages.keep_records();
    let taken = take_now(scratch);
    LEVELS.pages.release_records();
    taken
}

fn take_now(scratch: &mut Scratch<Work>) -> Option<Ledger> {
    let began = linux::monotonic_ns();
    let range = scratch.range();
    scratch.residency.begin();
    // Where the page tables can be scanned the kernel need not tell the sizes of mappings, which takes it long.
    let scans = scratch.residency.scans();
    let mut detail = if scans { Detail::Ranges } else { Detail::Sizes };
    let mut best: Option<(usize, Sums, [usize; LINES])> = None;
    for _ in 0..ATTEMPTS {
        let Some(sums) = scratch.fill(range, detail) else { break };
        let off = sums.resident.abs_diff(scratch.lines.iter().sum());
        let lazily = sums.lazily_freed > 0 && detail == Detail::Ranges;
        let before = best.map(|(off, ..)| off);
        if lazily || before.is_none_or(|before| off <= before) {
            best = Some((off, sums, scratch.lines));
        }
        if off <= sums.resident / OFF && !lazily {
            break;
        }
        // Off by as much as before: not because of others at work, but for mappings that the scan sees differently.
        if lazily || before.is_some_and(|before| off.abs_diff(before) <= before / 8) {
            detail = Detail::Sizes;
        }
    }
    scratch.residency.end();
    let (_, sums, lines) = best?;
    Some(Ledger {
        lines,
        resident: sums.resident,
        swapped: sums.swapped,
        huge: sums.huge,
        threads: mappings::threads().unwrap_or(1),
        took_ns: linux::monotonic_ns() - began,
    })
}

impl Work {
    /// Fills all lines; returns the kernel's sums.
    fn fill(&mut self, scratch: (usize, usize), detail: Detail) -> Option<Sums> {
        self.lines = [0; LINES];
        self.used = [0; CLASS_COUNT];
        let inside = gate::enter_patiently()?;
        self.own.clear();
        self.own.keep(scratch);
        self.own.find(&mut self.residency, &mut self.lines);
        let window = LEVELS.pages.window();
        drop(inside);
        self.residency.forget();
        self.spans()?;
        let inside = gate::enter_patiently()?;
        self.classes();
        drop(inside);
        // Last, right before the kernel adds up: what runs here for the first time becomes resident by it.
        let Work { residency, own, lines, text, .. } = &mut *self;
        residency.forget();
        let lazily_freed = foreign::add(residency, own, lines, text, window.0..window.1, detail)?;
        // The scratch mapping itself counts among the records.
        self.residency.forget();
        let own = self.residency.bytes(scratch.0, scratch.1);
        self.add(Line::Records, own);
        let sums = self.sums()?;
        let lazily = lazily_freed.min(self.lines[Line::FreeDirty.index()]);
        self.lines[Line::FreeDirty.index()] -= lazily;
        self.lines[Line::LazilyFreed.index()] += lazily;
        Some(sums)
    }

    fn sums(&mut self) -> Option<Sums> {
        match mappings::resident_roughly() {
            Some(resident) if resident > ADDED_UP => Some(Sums { resident, ..Sums::default() }),
            _ => mappings::sums(&mut self.text),
        }
    }

    /// Adds what lies in the window.
    fn spans(&mut self) -> Option<()> {
        let mut next = Some(0);
        while let Some(from) = next {
            let mut seen = [None; STEP];
            let inside = gate::enter_patiently()?;
            let (count, on) = LEVELS.pages.census(from, &mut seen);
            drop(inside);
            next = on;
            seen[..count].iter().flatten().for_each(|seen| self.span(seen));
        }
        Some(())
    }

    fn span(&mut self, seen: &Seen) {
        match seen.state {
            SpanState::Slab | SpanState::HeapSlab | SpanState::WatchedSlab => self.slab(seen),
            // Freed, in hardened mode, and kept for the next.
            SpanState::Large if seen.span.is_waiting() => {
                let all = self.residency.bytes(seen.start, seen.end);
                self.add(Line::FreeDirty, all);
            }
            SpanState::Large | SpanState::HeapLarge | SpanState::WatchedLarge => {
                let end = (seen.span.first_block() + seen.span.requested()).clamp(seen.start, seen.end);
                let all = self.residency.bytes(seen.start, seen.end);
                let first = seen.span.first_block().clamp(seen.start, end);
                let asked = self.residency.bytes(first, end);
                self.add(Line::Live, asked);
                self.add(Line::Rounding, all.saturating_sub(asked));
            }
            SpanState::Free | SpanState::Away | SpanState::Recent | SpanState::Parked => {
                let all = self.residency.bytes(seen.start, seen.end);
                let mut dirty = 0;
                if all > 0 {
                    LEVELS
                        .pages
                        .each_dirty(seen, |from, to| dirty += self.residency.bytes(from, to.min(seen.end)));
                }
                self.add(Line::FreeDirty, dirty);
                self.add(Line::HugeOverhang, all.saturating_sub(dirty));
            }
            SpanState::Unused | SpanState::Hole => {}
        }
    }

    fn slab(&mut self, seen: &Seen) {
        let all = self.residency.bytes(seen.start, seen.end);
        let class = seen.span.class();
        if all == 0 {
            return;
        }
        if class == ClassId::NONE {
            // Given back since the walk passed.
            return self.add(Line::FreeDirty, all);
        }
        let size = class_info(class).size as usize;
        let (used, free) = if all == seen.end - seen.start {
            let blocks = seen.span.blocks();
            let free = seen.span.free_blocks().min(blocks);
            ((blocks - free) * size, free * size)
        } else {
            let (mut used, mut free) = (0, 0);
            self.residency.each(seen.start, seen.end, |from, to| {
                let part = in_blocks(seen.span, size, from, to);
                used += part.0;
                free += part.1;
            });
            (used, free)
        };
        self.used[class.first().index()] += used;
        self.add(Line::FreeInSlabs, free.min(all));
        self.add(Line::SlabRests, all.saturating_sub(used + free));
    }

    /// Divides what is in use among the program, the caches and the transfer caches.
    fn classes(&mut self) {
        for class in ClassId::firsts() {
            let size = class_info(class).size as usize;
            let mut used = self.used[class.index()];
            if used == 0 {
                continue;
            }
            let cached = self.cached(class).min(used);
            used -= cached;
            let stats = crate::stats::of_class(class);
            let transfer = (stats.in_transfer * size).min(used);
            used -= transfer;
            let (requests, asked) = counters::requests_of(class);
            let capacity = u128::from(requests) * size as u128;
            let live = (used as u128 * u128::from(asked)).checked_div(capacity).unwrap_or(used as u128);
            let live = (live as usize).min(used);
            self.add(Line::Caches, cached);
            self.add(Line::Transfer, transfer);
            self.add(Line::Live, live);
            self.add(Line::Rounding, used - live);
        }
    }

    /// Resident bytes of the blocks of a class, all its variants together, that lie in caches, or wait to get there.
    fn cached(&mut self, class: ClassId) -> usize {
        let size = class_info(class).size as usize;
        let mut bytes = 0;
        for variant in ClassId::all().filter(|variant| variant.first() == class) {
            let residency = &mut self.residency;
            let mut add = |region: Region| {
                if size < LOOKED_AT {
                    bytes += region.header(variant).len(variant) * size;
                } else {
                    // The cache may change meanwhile: then an address is of a block that was there before, or will be.
                    residency.forget();
                    region.for_each_block(variant, |block| bytes += residency.bytes(block, block + size));
                }
            };
            match start::mode() {
                Mode::Cpu => cpu::regions().for_each(&mut add),
                Mode::Thread => thread::regions().for_each(&mut add),
                Mode::None => {}
            }
            if size < LOOKED_AT {
                bytes += harden::waiting(variant) * size;
            } else {
                residency.forget();
                harden::each_waiting(variant, |block| bytes += residency.bytes(block, block + size));
            }
        }
        bytes
    }

    fn add(&mut self, line: Line, bytes: usize) {
        self.lines[line.index()] += bytes;
    }
}

/// How many bytes of `[from, to)`, which lies in a slab, belong to blocks in use, and to free ones.
fn in_blocks(span: SpanRef, size: usize, from: usize, to: usize) -> (usize, usize) {
    let (first, blocks, bitmap) = (span.first_block(), span.blocks(), span.bitmap());
    let end = to.min(first + blocks * size);
    let from = from.max(first);
    if from >= end {
        return (0, 0);
    }
    let mut free = 0;
    for block in (from - first) / size..(end - first).div_ceil(size) {
        let word = bitmap.get(block / 64).map_or(0, |word| word.load(Relaxed));
        if word >> (block % 64) & 1 != 0 {
            let start = first + block * size;
            free += end.min(start + size).saturating_sub(from.max(start));
        }
    }
    (end - from - free, free)
}
