//! The memory that blocks lie in: how it is taken from the parent, closed when nobody lives there, kept, and given back.
//!
//! # Safety
//!
//! *Regions*: the base of every region in use is a live block of the parent with the region's length and alignment. A
//! block with its guarded bytes lies in its region and overlaps no other, ever. What is closed holds no live block; a
//! region that goes back is opened first.
#![allow(unsafe_code)]

use core::alloc::Layout;

use super::bytes;
use super::config::Placement;
use super::protect;
use super::record::{Kind, Life, MOST_PACKED, MOST_PAGES, NONE, PACKED, Region, ZONE};
use super::report::{Fault, Found};
use super::state::{Scene, State};
use crate::{Alloc, AllocError};

/// Where a new block lies.
pub(super) struct Placed {
    pub(super) region: u32,
    pub(super) address: usize,
    pub(super) front: usize,
    pub(super) room: usize,
}

/// Guarded bytes of a lone block, at most, on the side where no page is closed.
const WIDE_ZONE: usize = 256;

/// The OS page, but no more than the kit reckons with in a packed region.
pub(super) fn page_size() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: whoever finds zero asks the system for the same number.
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            let size = freestone_sys::System::os_page_size(&freestone_sys::Linux::new());
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

impl State {
    /// Finds a place for a block.
    pub(super) fn place<A: Alloc>(
        &mut self,
        layout: Layout,
        scene: &Scene<'_, A>,
        found: &mut Found,
    ) -> Result<Placed, AllocError> {
        let small = layout.size() <= MOST_PACKED && layout.align() <= page_size().min(MOST_PACKED);
        match scene.config.placement {
            Placement::Packed if small => self.place_packed(layout, scene, found),
            Placement::Packed | Placement::GuardAfter => self.place_alone(layout, true, scene),
            Placement::GuardBefore => self.place_alone(layout, false, scene),
        }
    }

    fn place_packed<A: Alloc>(
        &mut self,
        layout: Layout,
        scene: &Scene<'_, A>,
        found: &mut Found,
    ) -> Result<Placed, AllocError> {
        if self.current != NONE {
            if let Some(placed) = self.place_in(self.current, layout) {
                return Ok(placed);
            }
            let full = self.current;
            self.current = NONE;
            self.retire(full, scene, found);
        }
        let wanted = Layout::from_size_align(PACKED, page_size()).map_err(|_| AllocError)?;
        self.current = self.add_region(wanted, Kind::Packed { cursor: 0, retired: false }, scene.parent)?;
        self.place_in(self.current, layout).ok_or(AllocError)
    }

    /// Puts a block behind the last one of a packed region.
    fn place_in(&mut self, at: u32, layout: Layout) -> Option<Placed> {
        let region = self.regions.get_mut(at);
        let Kind::Packed { cursor, .. } = region.kind else { return None };
        let offset = (cursor + ZONE).next_multiple_of(layout.align());
        let end = offset + layout.size() + ZONE;
        if end > region.len {
            return None;
        }
        region.kind = Kind::Packed { cursor: end, retired: false };
        region.live += 1;
        for page in (offset - ZONE) / page_size()..=(end - 1) / page_size() {
            region.pages[page] += 1;
        }
        let address = region.base.as_ptr().addr() + offset;
        Some(Placed { region: at, address, front: ZONE, room: layout.size() + ZONE })
    }

    /// Puts a block onto pages of its own, with its end or its beginning at a closed page.
    fn place_alone<A: Alloc>(
        &mut self,
        layout: Layout,
        guard_after: bool,
        scene: &Scene<'_, A>,
    ) -> Result<Placed, AllocError> {
        let (page, align) = (page_size(), layout.align());
        // Beyond a page's alignment, the block is aligned within the region.
        let slack = if align > page { align } else { 0 };
        let inner =
            layout.size().checked_add(slack).and_then(|bytes| bytes.max(1).checked_next_multiple_of(page));
        let len = inner.and_then(|bytes| bytes.checked_add(2 * page)).ok_or(AllocError)?;
        let wanted = Layout::from_size_align(len, page).map_err(|_| AllocError)?;
        let at = self.add_region(wanted, Kind::Alone { guarded: false }, scene.parent)?;
        let base = self.regions.get(at).base;
        let (first, last) = (base.as_ptr().addr() + page, base.as_ptr().addr() + len - page);
        // SAFETY: *regions*: the first page of it, where no block lies.
        let mut guarded = unsafe { protect::close(base, page) };
        // SAFETY: *regions*: the region has that many bytes.
        let end = unsafe { base.add(len - page) };
        // SAFETY: *regions*: the last page of it, where no block lies.
        guarded &= unsafe { protect::close(end, page) };
        if !guarded {
            // SAFETY: *regions*: closed half or not at all.
            unsafe { protect::open(base, len) };
        }
        let region = self.regions.get_mut(at);
        region.kind = Kind::Alone { guarded };
        region.live = 1;
        let address =
            if guard_after { (last - layout.size()) & !(align - 1) } else { first.next_multiple_of(align) };
        // Where the pages beyond could not be closed, they are guarded by their bytes, as far as that is cheap.
        let (least, most) = if guarded { (first, last) } else { (first - page, last + page) };
        let front = (address - least).min(WIDE_ZONE);
        let back = (most - address - layout.size()).min(WIDE_ZONE.max(align));
        Ok(Placed { region: at, address, front, room: layout.size() + back })
    }

    fn add_region<A: Alloc>(&mut self, layout: Layout, kind: Kind, parent: &A) -> Result<u32, AllocError> {
        if self.vacant_region == NONE {
            self.regions.reserve(1, parent)?;
        }
        let base = parent.allocate(layout)?.cast::<u8>();
        self.stats.held_bytes += layout.size();
        let region = Region {
            base,
            len: layout.size(),
            align: layout.align(),
            kind,
            live: 0,
            first: NONE,
            next: NONE,
            closed: false,
            buried: false,
            pages: [0; MOST_PAGES],
            gone: 0,
        };
        match self.vacant_region {
            NONE => Ok(self.regions.push_reserved(region)),
            at => {
                self.vacant_region = self.regions.get(at).next;
                *self.regions.get_mut(at) = region;
                Ok(at)
            }
        }
    }

    /// Closes what a block that was just freed leaves behind, and fills the rest of it.
    pub(super) fn vacate<A: Alloc>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        let record = *self.records.get(at);
        let block = self.pointer(record.region, record.address);
        self.regions.get_mut(record.region).live -= 1;
        match self.regions.get(record.region).kind {
            Kind::Alone { .. } if !scene.config.never_unmap => self.bury(record.region, scene, found),
            Kind::Packed { cursor, retired } => {
                // SAFETY: *regions*: the bytes of a block that is free now.
                unsafe { bytes::fill(block, record.size, bytes::FREED) };
                let region = self.regions.get_mut(record.region);
                let start = record.address - record.front - region.base.as_ptr().addr();
                let pages = start / page_size()..=(start + record.front + record.room - 1) / page_size();
                // What a resize in place gave up was guarded, and counted, to the end.
                pages.clone().for_each(|page| region.pages[page] -= 1);
                if scene.config.never_unmap {
                    return;
                }
                for page in pages {
                    if retired || (page + 1) * page_size() <= cursor {
                        self.close_page(record.region, page, scene, found);
                    }
                }
                self.bury_if_dead(record.region, scene, found);
            }
            // SAFETY: *regions*: the bytes of a block that is free now.
            _ => unsafe { bytes::fill(block, record.size, bytes::FREED) },
        }
    }

    /// No further block goes to this packed region.
    fn retire<A: Alloc>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        let region = self.regions.get_mut(at);
        let Kind::Packed { cursor, .. } = region.kind else { return };
        region.kind = Kind::Packed { cursor, retired: true };
        let pages = region.len / page_size();
        if scene.config.never_unmap {
            return;
        }
        for page in 0..pages {
            self.close_page(at, page, scene, found);
        }
        self.bury_if_dead(at, scene, found);
    }

    /// Closes a page of a packed region on which nobody lives, after a last look at it.
    fn close_page<A: Alloc>(&mut self, at: u32, page: usize, scene: &Scene<'_, A>, found: &mut Found) {
        let region = self.regions.get(at);
        if region.pages[page] > 0 || region.gone & (1 << page) != 0 {
            return;
        }
        let start = region.base.as_ptr().addr() + page * page_size();
        let mut next = region.first;
        while next != NONE {
            let record = *self.records.get(next);
            let on_page = record.address < start + page_size() && record.end() > start;
            if on_page && record.life == Life::Freed && !record.told {
                self.tell_write_after_free(next, scene, found);
            }
            next = record.next;
        }
        let region = self.regions.get(at);
        // SAFETY: *regions*: a whole page in it.
        let pointer = unsafe { region.base.add(page * page_size()) };
        // SAFETY: *regions*: no live block is on it.
        if unsafe { protect::close(pointer, page_size()) } {
            self.regions.get_mut(at).gone |= 1 << page;
        }
    }

    fn tell_write_after_free<A>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        if let Some(fault) = self.write_after_free(at)
            && !found.is_full()
        {
            self.records.get_mut(at).told = true;
            found.add(self.report(fault, Some(at), scene));
        }
    }

    fn bury_if_dead<A: Alloc>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        let region = self.regions.get(at);
        if region.live == 0 && matches!(region.kind, Kind::Packed { retired: true, .. }) {
            self.bury(at, scene, found);
        }
    }

    /// Closes a region without a live block and puts it into quarantine; what is too much there goes back.
    fn bury<A: Alloc>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        let region = self.regions.get_mut(at);
        if region.buried {
            return;
        }
        let (base, len, page) = (region.base, region.len, page_size());
        // SAFETY: *regions*: nobody lives in it.
        let closed = unsafe { protect::close(base, len / page * page) };
        region.closed = closed;
        region.buried = true;
        region.next = NONE;
        if !closed && let Kind::Alone { .. } = region.kind {
            self.fill_lone(at);
        }
        match self.newest {
            NONE => self.oldest = at,
            newest => self.regions.get_mut(newest).next = at,
        }
        self.newest = at;
        self.quarantined += len;
        while self.quarantined > scene.config.quarantine {
            let oldest = self.oldest;
            self.oldest = self.regions.get(oldest).next;
            if self.oldest == NONE {
                self.newest = NONE;
            }
            self.quarantined -= self.regions.get(oldest).len;
            self.exhume(oldest, scene, found);
        }
    }

    /// Fills a freed block that could not be closed.
    fn fill_lone(&mut self, region: u32) {
        let first = self.regions.get(region).first;
        let record = self.records.get(first);
        let (block, size) = (self.pointer(region, record.address), record.size);
        // SAFETY: *regions*: the bytes of a free block, on open pages.
        unsafe { bytes::fill(block, size, bytes::FREED) };
    }

    /// Gives a region back to the parent. Its records go, unless they are to be retained.
    fn exhume<A: Alloc>(&mut self, at: u32, scene: &Scene<'_, A>, found: &mut Found) {
        let mut next = self.regions.get(at).first;
        while next != NONE {
            let record = *self.records.get(next);
            self.tell_write_after_free(next, scene, found);
            if scene.config.retain_metadata {
                self.records.get_mut(next).life = Life::Gone;
            } else {
                self.forget(next);
            }
            next = record.next;
        }
        self.return_region(at, scene.parent);
    }

    /// Opens a region and gives it to the parent.
    fn return_region<A: Alloc>(&mut self, at: u32, parent: &A) {
        let vacant = self.vacant_region;
        let region = self.regions.get_mut(at);
        let page = page_size();
        // SAFETY: *regions*: all of it is the allocator's.
        unsafe { protect::open(region.base, region.len / page * page) };
        if let Ok(layout) = Layout::from_size_align(region.len, region.align) {
            // SAFETY: *regions*: live, with this layout, and no block of it is used any more.
            unsafe { parent.deallocate(region.base, layout) };
        }
        self.stats.held_bytes -= region.len;
        (region.kind, region.next, region.first) = (Kind::Vacant, vacant, NONE);
        self.vacant_region = at;
    }

    /// Forgets what is remembered of freed blocks, and gives their addresses back.
    pub(super) fn flush<A: Alloc>(&mut self, scene: &Scene<'_, A>, found: &mut Found) {
        while self.oldest != NONE {
            let oldest = self.oldest;
            self.oldest = self.regions.get(oldest).next;
            self.quarantined -= self.regions.get(oldest).len;
            self.exhume(oldest, scene, found);
        }
        self.newest = NONE;
        for at in 0..self.records.len() as u32 {
            if self.records.get(at).life == Life::Gone {
                self.forget(at);
            }
        }
    }

    /// Gives everything back, live blocks as well.
    pub(super) fn release_all<A: Alloc>(&mut self, parent: &A) {
        for at in 0..self.regions.len() as u32 {
            if self.regions.get(at).kind != Kind::Vacant {
                self.return_region(at, parent);
            }
        }
        self.regions.release(parent);
        self.records.release(parent);
        self.index.release(parent);
        self.depot.release(parent);
        *self = State::new();
    }

    /// What is wrong with the guarded bytes of a live block.
    pub(super) fn damage(&self, at: u32, canary: u64) -> Option<Fault> {
        let record = self.records.get(at);
        let back = self.pointer(record.region, record.end());
        // SAFETY: *regions*: guarded bytes of a live block are open, and were written when it was made.
        if let Some(first) = unsafe { bytes::damaged_canary(back, record.room - record.size, canary, false) }
        {
            return Some(Fault::Overrun { distance: first + 1 });
        }
        let front = self.pointer(record.region, record.address - record.front);
        // SAFETY: the same.
        let last = unsafe { bytes::damaged_canary(front, record.front, canary, true) }?;
        Some(Fault::Underrun { distance: record.front - last })
    }

    /// Whether a freed block was written to, as far as its memory is still open.
    pub(super) fn write_after_free(&self, at: u32) -> Option<Fault> {
        let record = self.records.get(at);
        let region = self.regions.get(record.region);
        if region.closed || record.told {
            return None;
        }
        let (mut from, end, base) = (record.address, record.end(), region.base.as_ptr().addr());
        while from < end {
            let page = (from - base) / page_size();
            let to = end.min(base + (page + 1) * page_size());
            let packed = matches!(region.kind, Kind::Packed { .. });
            if !packed || region.gone & (1 << page) == 0 {
                // SAFETY: *regions*: the bytes of a freed block, filled when it was, on an open page.
                if let Some(first) = unsafe { bytes::changed(region.pointer(from), to - from) } {
                    return Some(Fault::WriteAfterFree { offset: from - record.address + first });
                }
            }
            from = to;
        }
        None
    }

    /// Whether an address lies in memory of this allocator.
    pub(super) fn owns(&self, address: usize) -> bool {
        self.regions.as_slice().iter().any(|region| region.holds(address))
    }

    /// What an access to closed memory was.
    pub(super) fn explain(&self, address: usize) -> Option<(Fault, u32)> {
        let region = self.regions.as_slice().iter().position(|region| region.holds(address))?;
        let mut nearest: Option<(usize, u32)> = None;
        let mut next = self.regions.get(region as u32).first;
        while next != NONE {
            let record = self.records.get(next);
            let distance = if record.holds(address) {
                0
            } else if address < record.address {
                record.address - address
            } else {
                address - record.end() + 1
            };
            if nearest.is_none_or(|(least, _)| distance < least) {
                nearest = Some((distance, next));
            }
            next = record.next;
        }
        let (distance, at) = nearest?;
        let record = self.records.get(at);
        let fault = match record.life {
            Life::Freed => Fault::UseAfterFree { offset: address.wrapping_sub(record.address) as isize },
            Life::Live if address < record.address => Fault::Underrun { distance },
            Life::Live if distance > 0 => Fault::Overrun { distance },
            _ => return None,
        };
        Some((fault, at))
    }
}
