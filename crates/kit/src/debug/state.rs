//! All that a debug allocator knows, and what its calls do to it. Behind the lock; the parent comes with every call.
//!
//! # Safety
//!
//! 1. *Records*: every block ever handed out has a record until its addresses go back to the parent; the index finds it by
//!    its address. Records and tables come from the parent.
//! 2. *Regions*: see [`regions`](super::regions).
#![allow(unsafe_code)]

use core::alloc::Layout;

use super::bytes;
use super::config::DebugConfig;
use super::record::{Kind, Life, NONE, Record, Region, ZONE};
use super::report::{BlockInfo, Fault, Found, Occasion, Report};
use super::table::{Index, List};
use super::trace::{Depot, Trace, TraceId};
use crate::{Alloc, AllocError, AllocStats};

/// One call: for whom, by which options, from where.
pub(super) struct Scene<'s, A> {
    pub(super) parent: &'s A,
    pub(super) config: &'s DebugConfig,
    pub(super) trace: &'s Trace,
    pub(super) occasion: Occasion,
    /// The call serves the making of a report.
    pub(super) internal: bool,
}

pub(super) struct State {
    pub(super) records: List<Record>,
    pub(super) vacant_record: u32,
    pub(super) index: Index,
    pub(super) depot: Depot,
    pub(super) regions: List<Region>,
    pub(super) vacant_region: u32,
    /// The packed region that the next small block goes to.
    pub(super) current: u32,
    /// The quarantine, a queue.
    pub(super) oldest: u32,
    pub(super) newest: u32,
    pub(super) quarantined: usize,
    /// Instead of the configured limit.
    pub(super) limit: Option<usize>,
    pub(super) stats: AllocStats,
    calls: u32,
}

// SAFETY: all pointers lead to memory that the state owns through its parent.
unsafe impl Send for State {}

/// The index's hash of an address.
pub(super) fn hash(address: usize) -> usize {
    address >> 3
}

impl State {
    pub(super) const fn new() -> State {
        State {
            records: List::new(),
            vacant_record: NONE,
            index: Index::new(),
            depot: Depot::new(),
            regions: List::new(),
            vacant_region: NONE,
            current: NONE,
            oldest: NONE,
            newest: NONE,
            quarantined: 0,
            limit: None,
            stats: AllocStats {
                live_blocks: 0,
                live_bytes: 0,
                peak_bytes: 0,
                total_blocks: 0,
                total_bytes: 0,
                refused: 0,
                held_bytes: 0,
            },
            calls: 0,
        }
    }

    /// The record of the block that was handed out at `address` last.
    pub(super) fn find(&self, address: usize) -> Option<u32> {
        self.index.find(hash(address), |at| self.records.get(at).address == address)
    }

    /// The pointer to an address in a region.
    pub(super) fn pointer(&self, region: u32, address: usize) -> *mut u8 {
        self.regions.get(region).pointer(address)
    }

    /// A report on a block, found in this scene.
    pub(super) fn report<A>(&self, fault: Fault, block: Option<u32>, scene: &Scene<'_, A>) -> Report {
        let depth = scene.config.trace_depth;
        let trace = |id, thread| self.depot.trace(id, thread, depth);
        let record = block.map(|at| self.records.get(at));
        Report {
            fault,
            block: record.map(|record| BlockInfo {
                address: record.address,
                size: record.size,
                align: record.align,
            }),
            occasion: scene.occasion,
            allocated: record.map_or(Trace::NONE, |record| trace(record.allocated, record.allocated_by)),
            freed: record
                .filter(|record| matches!(record.life, Life::Freed | Life::Gone))
                .map(|record| trace(record.freed, record.freed_by)),
            found: *scene.trace,
        }
    }

    /// Allocates a block; `credit` bytes of the limit will be given back by the same call.
    pub(super) fn allocate<A: Alloc>(
        &mut self,
        layout: Layout,
        credit: usize,
        scene: &Scene<'_, A>,
        found: &mut Found,
    ) -> Result<u32, AllocError> {
        self.due_check(scene, found);
        let result = self.try_allocate(layout, credit, scene, found);
        if result.is_err() {
            self.stats.refused += 1;
        }
        result
    }

    fn try_allocate<A: Alloc>(
        &mut self,
        layout: Layout,
        credit: usize,
        scene: &Scene<'_, A>,
        found: &mut Found,
    ) -> Result<u32, AllocError> {
        let limit = self.limit.unwrap_or(scene.config.memory_limit);
        if (self.stats.live_bytes - credit).checked_add(layout.size()).is_none_or(|bytes| bytes > limit) {
            return Err(AllocError);
        }
        // All that can fail comes first.
        let allocated = self.depot.intern(scene.trace, scene.parent)?;
        if self.vacant_record == NONE {
            self.records.reserve(1, scene.parent)?;
        }
        let records = &self.records;
        self.index.reserve(records.len() + 1, scene.parent, |at| hash(records.get(at).address))?;
        let placed = self.place(layout, scene, found)?;
        // The parent may have handed out again what is remembered as freed.
        if let Some(old) = self.find(placed.address) {
            self.forget(old);
        }
        let record = Record {
            address: placed.address,
            size: layout.size(),
            align: layout.align(),
            life: Life::Live,
            internal: scene.internal,
            told: false,
            region: placed.region,
            next: self.regions.get(placed.region).first,
            front: placed.front,
            room: placed.room,
            allocated,
            allocated_by: scene.trace.thread(),
            freed: TraceId::NONE,
            freed_by: 0,
        };
        let at = self.enter(record);
        self.regions.get_mut(placed.region).first = at;
        self.write_zones(at, scene.config.canary);
        let block = self.pointer(placed.region, placed.address);
        // SAFETY: *regions*: a new block of that size.
        unsafe { bytes::fill(block, layout.size(), bytes::FRESH) };
        self.count_allocated(layout.size());
        Ok(at)
    }

    fn count_allocated(&mut self, size: usize) {
        let stats = &mut self.stats;
        stats.live_blocks += 1;
        stats.live_bytes += size;
        stats.peak_bytes = stats.peak_bytes.max(stats.live_bytes);
        stats.total_blocks += 1;
        stats.total_bytes += size as u64;
    }

    /// Enters a record for which there is room.
    fn enter(&mut self, record: Record) -> u32 {
        let at = match self.vacant_record {
            NONE => self.records.push_reserved(record),
            at => {
                self.vacant_record = self.records.get(at).next;
                *self.records.get_mut(at) = record;
                at
            }
        };
        self.index.insert_reserved(hash(record.address), at);
        at
    }

    /// Takes a record out of the index and off use.
    pub(super) fn forget(&mut self, at: u32) {
        let records = &self.records;
        let address = records.get(at).address;
        self.index.remove(hash(address), at, |other| hash(records.get(other).address));
        let vacant = self.vacant_record;
        let record = self.records.get_mut(at);
        (record.life, record.next) = (Life::Vacant, vacant);
        self.vacant_record = at;
    }

    fn write_zones(&self, at: u32, canary: u64) {
        let record = self.records.get(at);
        let (front, back) = (record.address - record.front, record.end());
        // SAFETY: *regions*: the bytes before a block are the allocator's.
        unsafe { bytes::write_canary(self.pointer(record.region, front), record.front, canary) };
        // SAFETY: *regions*: and so are those behind it.
        unsafe { bytes::write_canary(self.pointer(record.region, back), record.room - record.size, canary) };
    }

    /// The record of a live block for a call that gives it up or changes it. What is wrong with the call or the block is added to
    /// what was found.
    pub(super) fn expect<A>(
        &mut self,
        address: usize,
        layout: Layout,
        scene: &Scene<'_, A>,
        found: &mut Found,
    ) -> Option<u32> {
        let Some(at) = self.find(address) else {
            // An empty block that nobody allocated, as collections have them.
            if layout.size() == 0 {
                return None;
            }
            let inside = self.around(address);
            let offset = inside.map(|at| address - self.records.get(at).address);
            found.add(self.report(Fault::InvalidFree { address, offset }, inside, scene));
            return None;
        };
        let record = *self.records.get(at);
        if record.life != Life::Live {
            let freed = scene.occasion == Occasion::Free;
            let fault = if freed { Fault::DoubleFree } else { Fault::ResizeAfterFree };
            found.add(self.report(fault, Some(at), scene));
            return None;
        }
        if record.size != layout.size() {
            found.add(self.report(Fault::WrongSize { given: layout.size() }, Some(at), scene));
        }
        if record.align != layout.align() {
            found.add(self.report(Fault::WrongAlign { given: layout.align() }, Some(at), scene));
        }
        if !record.told
            && let Some(fault) = self.damage(at, scene.config.canary)
        {
            self.records.get_mut(at).told = true;
            found.add(self.report(fault, Some(at), scene));
        }
        Some(at)
    }

    /// The block, live or freed, that an address lies in.
    fn around(&self, address: usize) -> Option<u32> {
        let held = |record: &Record| record.life != Life::Vacant && record.holds(address);
        self.records.as_slice().iter().position(held).map(|at| at as u32)
    }

    /// Frees a block that is live.
    pub(super) fn release<A: Alloc>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        // Without memory for the trace, the free goes without.
        let freed = self.depot.intern(scene.trace, scene.parent).unwrap_or(TraceId::NONE);
        let record = self.records.get_mut(at);
        (record.life, record.freed, record.freed_by) = (Life::Freed, freed, scene.trace.thread());
        // What is wrong with it was told.
        record.told = false;
        self.stats.live_blocks -= 1;
        self.stats.live_bytes -= record.size;
        self.vacate(at, scene, found);
        self.due_check(scene, found);
    }

    /// Moves a live block into one of another layout, or resizes it where it lies.
    pub(super) fn resize<A: Alloc>(
        &mut self,
        address: usize,
        old: Layout,
        new: Layout,
        scene: &Scene<'_, A>,
        found: &mut Found,
    ) -> Result<u32, AllocError> {
        if old.size() == 0 && self.find(address).is_none() {
            return self.allocate(new, 0, scene, found);
        }
        let at = self.expect(address, old, scene, found).ok_or(AllocError)?;
        let same = old.align() == new.align();
        if !scene.config.move_on_resize && same && self.fits_in_place(at, new.size(), scene.config) {
            self.resize_in_place(at, new.size(), scene);
            return Ok(at);
        }
        let record = *self.records.get(at);
        let fresh = self.allocate(new, record.size, scene, found)?;
        let (from, to) = (*self.records.get(at), *self.records.get(fresh));
        let (source, target) = (self.pointer(from.region, from.address), self.pointer(to.region, to.address));
        // SAFETY: *regions*: both are live blocks and apart; the old one's bytes are given up by its owner.
        unsafe { target.copy_from_nonoverlapping(source, from.size.min(to.size)) };
        if !scene.config.resize_traces {
            let moved = self.records.get_mut(fresh);
            (moved.allocated, moved.allocated_by) = (from.allocated, from.allocated_by);
        }
        // One block all the time.
        self.stats.total_blocks -= 1;
        self.stats.total_bytes -= from.size.min(to.size) as u64;
        self.release(at, scene, found);
        Ok(fresh)
    }

    /// Whether a live block can have another size where it lies.
    pub(super) fn fits_in_place(&self, at: u32, size: usize, config: &DebugConfig) -> bool {
        let record = self.records.get(at);
        let zone = match self.regions.get(record.region).kind {
            Kind::Alone { guarded: true } => 0,
            _ => ZONE,
        };
        let limit = self.limit.unwrap_or(config.memory_limit);
        size.checked_add(zone).is_some_and(|needed| needed <= record.room)
            && (self.stats.live_bytes - record.size).checked_add(size).is_some_and(|bytes| bytes <= limit)
    }

    /// Gives a live block a size that fits.
    pub(super) fn resize_in_place<A: Alloc>(&mut self, at: u32, size: usize, scene: &Scene<'_, A>) {
        let old = self.records.get(at).size;
        self.stats.live_bytes = self.stats.live_bytes - old + size;
        self.stats.peak_bytes = self.stats.peak_bytes.max(self.stats.live_bytes);
        self.stats.total_bytes += size.saturating_sub(old) as u64;
        let allocated =
            scene.config.resize_traces.then(|| self.depot.intern(scene.trace, scene.parent).ok()).flatten();
        let record = self.records.get_mut(at);
        record.size = size;
        if let Some(allocated) = allocated {
            (record.allocated, record.allocated_by) = (allocated, scene.trace.thread());
        }
        self.write_zones(at, scene.config.canary);
    }

    /// Counts a call, and checks everything when that is due.
    fn due_check<A>(&mut self, scene: &Scene<'_, A>, found: &mut Found) {
        let every = scene.config.check_every;
        if every == 0 {
            return;
        }
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(every) {
            let mut cursor = 0;
            while !found.is_full()
                && let Some(report) = self.next_fault(&mut cursor, scene)
            {
                found.add(report);
            }
        }
    }

    /// The next block at or behind `cursor` with a fault that was not told yet.
    pub(super) fn next_fault<A>(&mut self, cursor: &mut u32, scene: &Scene<'_, A>) -> Option<Report> {
        while (*cursor as usize) < self.records.len() {
            let at = *cursor;
            *cursor += 1;
            let record = self.records.get(at);
            if record.told {
                continue;
            }
            let fault = match record.life {
                Life::Live => self.damage(at, scene.config.canary),
                Life::Freed => self.write_after_free(at),
                Life::Gone | Life::Vacant => None,
            };
            if let Some(fault) = fault {
                self.records.get_mut(at).told = true;
                return Some(self.report(fault, Some(at), scene));
            }
        }
        None
    }

    /// Starts a search for leaks.
    pub(super) fn count_leaks(&mut self) -> (usize, usize) {
        self.depot.clear_counts();
        let (mut blocks, mut bytes) = (0, 0);
        for record in self.records.as_slice() {
            if record.life == Life::Live && !record.internal {
                self.depot.count(record.allocated, record.size);
                blocks += 1;
                bytes += record.size;
            }
        }
        (blocks, bytes)
    }

    /// The next leak at or behind `cursor`: all blocks of one trace are one report.
    pub(super) fn next_leak<A>(&mut self, cursor: &mut u32, scene: &Scene<'_, A>) -> Option<Report> {
        while (*cursor as usize) < self.records.len() {
            let at = *cursor;
            *cursor += 1;
            let record = *self.records.get(at);
            if record.life != Life::Live || record.internal {
                continue;
            }
            if let Some((blocks, bytes)) = self.depot.take_count(record.allocated, record.size) {
                return Some(self.report(Fault::Leak { blocks, bytes }, Some(at), scene));
            }
        }
        None
    }
}
