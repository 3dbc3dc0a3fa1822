//! Where the allocator's own memory lies, apart from the window.

use freestone_base::ledger::Line;
use freestone_sys::linux;
use freestone_sys::linux::residency::Residency;

use crate::cache::region::REGION_SIZE;
use crate::cache::{cpu, thread};
use crate::central::rooms;
use crate::instances::{CENTRALS, LEVELS};
use crate::pageheap::shadow;
use crate::start::{self, Mode};
use crate::{counters, emergency, record};

/// Ranges that are kept. Beyond it (thousands of per-thread caches apart from each other) the rest is taken for
/// mappings of others.
const RANGES: usize = 512;

/// Ranges of addresses, from a start to an end each.
pub(super) struct Own {
    ranges: [(usize, usize); RANGES],
    count: usize,
}

impl Own {
    /// Forgets all ranges.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Finds all ranges, adds what is resident in them to `lines`, and sorts them. The gate has been entered.
    pub(super) fn find(&mut self, residency: &mut Residency, lines: &mut [usize]) {
        let first = linux::first_memory();
        // Chunks of records and arrays of the page map may lie within the first memory; what is left of it are
        // arrays of the page map that were replaced by longer ones.
        self.add(residency, lines, Line::PageMap, first);
        let within = |range: (usize, usize)| first.0 <= range.0 && range.1 <= first.1;

        let mut records = [(0, 0); 32];
        let count = LEVELS.pages.record_ranges(&mut records);
        for &range in &records[..count] {
            if within(range) {
                let bytes = residency.bytes(range.0, range.1);
                lines[Line::Records.index()] += bytes;
                lines[Line::PageMap.index()] -= bytes.min(lines[Line::PageMap.index()]);
            } else {
                self.add(residency, lines, Line::Records, range);
            }
        }
        for range in LEVELS.pages.map_ranges().into_iter().filter(|&range| !within(range)) {
            self.add(residency, lines, Line::PageMap, range);
        }
        if LEVELS.pages.policy().marks() {
            for range in shadow::ranges(LEVELS.pages.page_map()) {
                self.add(residency, lines, Line::PageMap, range);
            }
        }
        match start::mode() {
            Mode::Cpu => self.add(residency, lines, Line::Regions, cpu::memory()),
            Mode::Thread => thread::regions().for_each(|region| {
                let start = region.base().addr();
                self.add(residency, lines, Line::Regions, (start, start + REGION_SIZE));
            }),
            Mode::None => {}
        }
        emergency::ranges().for_each(|range| self.add(residency, lines, Line::Emergency, range));
        for (start, len) in [
            (core::ptr::from_ref(&CENTRALS).addr(), size_of_val(&CENTRALS)),
            (core::ptr::from_ref(&LEVELS).addr(), size_of_val(&LEVELS)),
        ] {
            self.add(residency, lines, Line::Statics, (start, start + len));
        }
        for range in crate::profile::memory() {
            self.add(residency, lines, Line::Records, range);
        }
        for range in rooms::memory() {
            self.add(residency, lines, Line::Statics, range);
        }
        self.add(residency, lines, Line::Statics, counters::memory());
        self.add(residency, lines, Line::Statics, record::memory());
        self.sort();
    }

    fn add(&mut self, residency: &mut Residency, lines: &mut [usize], line: Line, range: (usize, usize)) {
        if range.0 < range.1 && self.keep(range) {
            residency.forget();
            lines[line.index()] += residency.bytes(range.0, range.1);
        }
    }

    /// Adds a range that counts in no line; false when there is no room.
    pub(super) fn keep(&mut self, range: (usize, usize)) -> bool {
        // Regions of threads are often mapped one below the other.
        if let Some(last) = self.ranges[..self.count].last_mut() {
            if last.0 == range.1 {
                last.0 = range.0;
                return true;
            }
            if last.1 == range.0 {
                last.1 = range.1;
                return true;
            }
        }
        let Some(place) = self.ranges.get_mut(self.count) else { return false };
        *place = range;
        self.count += 1;
        true
    }

    fn sort(&mut self) {
        self.ranges[..self.count].sort_unstable();
    }

    /// What of `[start, end)` is ours: bytes, and those of them that are resident.
    pub(super) fn part(&self, residency: &mut Residency, start: usize, end: usize) -> (usize, usize) {
        let ranges = &self.ranges[..self.count];
        let from = ranges.partition_point(|range| range.1 <= start);
        let mut part = (0, 0);
        for range in ranges[from..].iter().take_while(|range| range.0 < end) {
            let (from, to) = (range.0.max(start), range.1.min(end));
            part.0 += to - from;
            part.1 += residency.bytes(from, to);
        }
        part
    }
}
