//! New extents: mapped from the system one after the other, so that they merge.
//!
//! The first one leaves addresses in front of it. What lies there is told from all else by one comparison; it is mapped
//! span by span, downwards, and its spans are never free.
//!
//! # Safety
//!
//! The only unsafe calls release or guard ranges mapped just before, which nobody has seen.
#![allow(unsafe_code)]

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::{Refused, System};

use super::SPAN_PAGES_END;
use super::policy::HugePages;
use super::span::{SpanRef, SpanState};
use super::state::Op;

/// The shortest usual extent: 1 MiB.
const LEAST_STEP: usize = (1 << 20) >> PAGE_SHIFT;
/// The longest usual extent: 64 MiB.
const LONGEST_STEP: usize = (64 << 20) >> PAGE_SHIFT;
/// The addresses in front of the first extent: 32 MiB. Whole OS pages of the page map's arrays, which stay untouched.
const FRONT: usize = (32 << 20) >> PAGE_SHIFT;
/// How far to skip where addresses are occupied, the first time: 64 MiB. Doubled each time.
const SKIP: usize = (64 << 20) >> PAGE_SHIFT;
/// How often to skip: up to 4 TiB in all.
const SKIPS: u32 = 16;
/// Bases tried in each range before the system may choose.
const BASES_TRIED: u32 = 4;
/// Where windows may begin, in units of 4 GiB: first choice, and for small address spaces.
const BASES: [(u64, u64); 2] = [(0x1000, 0x4000), (0x10, 0x50)];
/// Pages in 4 GiB.
const BASE_UNIT: usize = (4 << 30) >> PAGE_SHIFT;

impl<S: System> Op<'_, S> {
    /// Maps memory until a free span at the top holds `pages` pages at a multiple of `align` (in pages), and
    /// returns that span. `adjacent`: only if it directly follows what is there.
    pub(super) fn extend(&mut self, pages: usize, align: usize, adjacent: bool) -> Option<SpanRef> {
        let new = self.record(0)?;
        if !adjacent
            && !self.state.released.is_empty()
            && let Some(span) = self.refill_hole(new, pages, align)
        {
            return Some(span);
        }
        let placed =
            if self.state.top == 0 { self.first(pages, align) } else { self.next(pages, align, adjacent) };
        let Some((index, mapped)) = placed else {
            self.state.meta.recycle(new);
            self.state.tight |= !adjacent;
            return None;
        };
        self.state.top = index + mapped;
        new.set_range(self.map.base() + index, mapped);
        Some(self.file_new(new))
    }

    /// Maps `pages` pages just below all others, for a slab with so many words of bitmap. `None` where there is no room any more, or
    /// never was.
    pub(super) fn extend_down(&mut self, pages: usize, words: usize) -> Option<SpanRef> {
        let index = self.state.bottom.checked_sub(pages).filter(|_| pages.is_multiple_of(self.granule()))?;
        let new = self.record(words)?;
        let first = self.map.base() + index;
        if self.system.map_at(first * PAGE_SIZE, pages * PAGE_SIZE).is_err() {
            self.state.meta.recycle(new);
            return None;
        }
        self.state.bottom = index;
        new.set_range(first, pages);
        self.ask_for_huge_pages(new);
        Some(new)
    }

    /// Maps the front of a hole that was released before and is long enough, and enters it as free under the record
    /// `new`. Few holes exist, and only where memory is short.
    #[cold]
    #[inline(never)]
    fn refill_hole(&mut self, new: SpanRef, pages: usize, align: usize) -> Option<SpanRef> {
        let needed = if align > 1 { pages.checked_add(align)? } else { pages };
        let hole = self.state.released.iter().find(|hole| hole.pages().0 >= needed)?;
        let (first, len) = (hole.first_page(), hole.pages().0);
        let mapped = self
            .sizes(needed)?
            .into_iter()
            .map(|size| size.min(len))
            .find(|&size| self.system.map_at(first * PAGE_SIZE, size * PAGE_SIZE).is_ok())?;
        self.state.released.remove(hole);
        self.state.counts.leave(hole);
        if mapped == len {
            self.state.meta.recycle(hole);
        } else {
            hole.set_range(first + mapped, len - mapped);
            self.put_to_use(hole, SpanState::Hole);
            self.state.released.push(hole);
        }
        // Entered on its ends, it replaces what the hole has left there.
        new.set_range(first, mapped);
        Some(self.file_new(new))
    }

    /// Files memory that was just mapped.
    fn file_new(&mut self, new: SpanRef) -> SpanRef {
        self.ask_for_huge_pages(new);
        if self.policy.guards() {
            // Free pages are guarded from the beginning: in front of a block may lie some that were never used.
            // SAFETY: mapped just before, unseen by anybody.
            let _ = unsafe { self.system.guard(new.start(), new.bytes()) };
        }
        let span = self.file_merged(new, 0);
        let counts = &mut self.state.counts;
        counts.peak_mapped = counts.peak_mapped.max(counts.mapped());
        span
    }

    fn ask_for_huge_pages(&self, new: SpanRef) {
        match self.policy.huge_pages() {
            HugePages::Auto => {}
            huge => self.system.ask_for_huge_pages(new.start(), new.bytes(), huge == HugePages::On),
        }
    }

    /// Pages of an OS page, or 1 where that is no longer than a page.
    fn granule(&self) -> usize {
        (self.system.os_page_size() / PAGE_SIZE).max(1)
    }

    /// How much to map: what is needed, or a step in proportion to what is mapped. A step is at most an
    /// eighth of it, so that little is asked for in vain where mappings count against a limit.
    fn sizes(&self, needed: usize) -> Option<[usize; 2]> {
        let step = (self.state.counts.mapped() / 8).clamp(LEAST_STEP, LONGEST_STEP);
        let round = |pages: usize| pages.checked_next_multiple_of(self.granule());
        let needed = round(needed)?;
        (needed < SPAN_PAGES_END).then_some([round(step)?.next_multiple_of(LEAST_STEP).max(needed), needed])
    }

    /// The first extent decides on the window's base, in front of it. Returns the index and the pages mapped.
    fn first(&mut self, pages: usize, align: usize) -> Option<(usize, usize)> {
        for (low, count) in BASES {
            for _ in 0..BASES_TRIED {
                let base = (low + self.system.random() % count) as usize * BASE_UNIT;
                let in_front = base.checked_next_multiple_of(align)? - base;
                for size in self.sizes(in_front.checked_add(pages)?)? {
                    if self.system.map_at(base * PAGE_SIZE, size * PAGE_SIZE).is_ok() {
                        return self.begin(base, size);
                    }
                }
            }
        }
        self.first_anywhere(pages, align)
    }

    /// The same wherever the system has addresses: with room to align the base, and then the block.
    #[cold]
    #[inline(never)]
    fn first_anywhere(&mut self, pages: usize, align: usize) -> Option<(usize, usize)> {
        let [_, needed] = self.sizes(pages.checked_add(align)?)?;
        let granule = self.granule() * PAGE_SIZE;
        let (len, slack) = (needed * PAGE_SIZE, granule.max(PAGE_SIZE));
        let at = self.system.map(len.checked_add(slack)?).ok()?;
        let base = at.next_multiple_of(granule);
        for (from, to) in [(at, base), (base + len, at + len + slack)] {
            if from < to {
                // SAFETY: an end of the mapping just made, unseen by anybody. If it stays, only
                // untouched addresses are lost.
                let _ = unsafe { self.system.release(from, to - from) };
            }
        }
        self.begin(base / PAGE_SIZE, needed)
    }

    fn begin(&mut self, base: usize, pages: usize) -> Option<(usize, usize)> {
        let front = if base > FRONT { FRONT } else { 0 };
        self.map.set_base(base - front);
        if self.map.cover(self.system, front + pages).is_none() {
            // SAFETY: mapped just before, unseen by anybody. If it stays, only untouched addresses are lost.
            let _ = unsafe { self.system.release(base * PAGE_SIZE, pages * PAGE_SIZE) };
            return None;
        }
        (self.state.bottom, self.state.floor) = (front, front);
        Some((front, pages))
    }

    /// An extent at the top, or beyond whatever occupies the addresses there.
    fn next(&mut self, pages: usize, align: usize, adjacent: bool) -> Option<(usize, usize)> {
        let top = self.state.top;
        let mut gap = 0;
        for skip in 0..SKIPS {
            let index = top + gap;
            match self.map_extent(index, pages, align)? {
                Ok(mapped) if gap == 0 => return Some((index, mapped)),
                Ok(mapped) => return self.enter_hole(top, gap, index, mapped),
                Err(Refused::Occupied) if !adjacent => gap += SKIP << skip,
                Err(_) => return None,
            }
        }
        None
    }

    /// Tries the usual size and the least size at `index`. `None` when the page map cannot cover it.
    fn map_extent(&mut self, index: usize, pages: usize, align: usize) -> Option<Result<usize, Refused>> {
        let base = self.map.base();
        // A free span just below will merge with the extent and gives its part.
        let below = if index == self.state.top { self.free_at(index - 1) } else { None };
        let start = base + index - below.map_or(0, |span| span.pages().0);
        let end = start.checked_next_multiple_of(align)?.checked_add(pages)?;
        let needed = end.saturating_sub(base + index).max(1);
        let mut outcome = Err(Refused::Exhausted);
        for mut size in self.sizes(needed)? {
            size += self.to_end_of_piece(index, size);
            if self.map.cover(self.system, index + size).is_none() {
                continue;
            }
            outcome = self.system.map_at((base + index) * PAGE_SIZE, size * PAGE_SIZE).map(|()| size);
            if outcome.is_ok() {
                break;
            }
        }
        Some(outcome)
    }

    /// Records the skipped addresses `[top, top + gap)`, below an extent that is mapped already.
    #[cold]
    #[inline(never)]
    fn enter_hole(&mut self, top: usize, gap: usize, index: usize, mapped: usize) -> Option<(usize, usize)> {
        let base = self.map.base();
        let Some(hole) = self.record(0) else {
            // SAFETY: mapped just before, unseen by anybody. If it stays, only untouched addresses are lost.
            let _ = unsafe { self.system.release((base + index) * PAGE_SIZE, mapped * PAGE_SIZE) };
            return None;
        };
        hole.set_range(base + top, gap);
        self.put_to_use(hole, SpanState::Hole);
        Some((index, mapped))
    }
}
