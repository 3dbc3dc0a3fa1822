//! From an address to its class and its span: flat arrays over one window of addresses.
//!
//! The arrays are reserved for the whole window and committed as far as extents reach. Look-ups take no
//! lock; whoever changes an entry holds the page heap's lock.
//!
//! # Safety
//!
//! Invariant W1: for every value that `len` or `shown` ever had, all three arrays, in the version of any later moment,
//! are committed for that many pages. Arrays are never released, so an old version stays readable. A new
//! version is filled before its pointers are stored (Release), and these before a larger `len` (Release);
//! readers load `len` first, then a pointer (both Acquire, their partners). A reader that meets an
//! old version sees what it held for every page in use then: entries of live blocks do not change.
//!
//! Invariant W2: the arrays hold atomics, for which zero is a valid value ("nothing").
#![allow(unsafe_code)]

use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::{ClassId, PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::System;

use super::span::{Span, SpanRef, SpanState};
use crate::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// Pages of the window at first: 64 GiB.
const FIRST_WINDOW: usize = (64 << 30) >> PAGE_SHIFT;
/// No window is smaller (64 MiB), and commits are rounded to it.
const LEAST_WINDOW: usize = (64 << 20) >> PAGE_SHIFT;
/// No window is larger: 16 TiB, so that page counts and sums of them fit 32 bits.
const LAST_WINDOW: usize = (16 << 40) >> PAGE_SHIFT;
/// How much larger the next window is.
const GROWTH: usize = 16;
/// Most pages committed ahead of need: 8 GiB.
const AHEAD: usize = (8 << 30) >> PAGE_SHIFT;

/// The base before there is one: every page is further from it than any window is long. So whoever reads the base first
/// and the length after it, as free does in assembly, takes nothing for a page of ours.
const NOWHERE: usize = usize::MAX / 2;

/// The page map. `base_page`, `shown` and `classes` are read by the fast path.
#[repr(C, align(128))]
pub(crate) struct PageMap {
    /// The number of the window's first page. Fixed once `len` is not 0.
    pub(crate) base_page: AtomicUsize,
    /// As `len`; 0 for ever where no CPU has a cache for what is freed, so that a free need look no further.
    pub(crate) shown: AtomicUsize,
    /// A class for each page, 0 where no slab of the global allocator is.
    pub(crate) classes: AtomicPtr<AtomicU8>,
    /// Pages that the arrays cover. Only grows.
    pub(crate) len: AtomicUsize,
    spans: AtomicPtr<AtomicPtr<Span>>,
    dirty: AtomicPtr<AtomicU64>,
    /// Pages that the arrays could cover, were they committed.
    window: AtomicUsize,
    committed_bytes: AtomicUsize,
    /// No slab's class is entered: whoever looks one up by address comes to the slow path.
    hides_classes: AtomicBool,
    /// Nothing is shown: all frees begin with the slow path, which looks the class up.
    shows_nothing: AtomicBool,
}

/// The three arrays of one version: their addresses, each array a multiple of the OS page.
struct Arrays {
    classes: usize,
    spans: usize,
    dirty: usize,
}

impl Arrays {
    /// Bytes of each array for `pages` pages.
    fn bytes(pages: usize, os_page: usize) -> [usize; 3] {
        [pages, pages * 8, pages.div_ceil(64) * 8].map(|bytes| bytes.next_multiple_of(os_page))
    }

    fn reserve(system: &impl System, pages: usize) -> Option<Arrays> {
        let [classes, spans, dirty] = Self::bytes(pages, system.os_page_size());
        let at = system.reserve(classes + spans + dirty).ok()?;
        Some(Arrays { classes: at, spans: at + classes, dirty: at + classes + spans })
    }

    /// Commits what `to` pages need and `from` pages did not.
    fn commit(&self, system: &impl System, from: usize, to: usize) -> Option<usize> {
        let os_page = system.os_page_size();
        let before = if from == 0 { [0; 3] } else { Self::bytes(from, os_page) };
        let after = Self::bytes(to, os_page);
        for (array, at) in [self.classes, self.spans, self.dirty].into_iter().enumerate() {
            if before[array] < after[array] {
                // SAFETY: within this array of the reservation, whose size grows with the pages.
                unsafe { system.commit(at + before[array], after[array] - before[array]) }.ok()?;
            }
        }
        Some(after.iter().sum::<usize>() - before.iter().sum::<usize>())
    }
}

impl PageMap {
    /// Most pages of the window.
    pub(super) const LAST_WINDOW: usize = LAST_WINDOW;

    /// A page map that covers nothing.
    pub(crate) const fn new() -> PageMap {
        PageMap {
            base_page: AtomicUsize::new(NOWHERE),
            shown: AtomicUsize::new(0),
            classes: AtomicPtr::new(null_mut()),
            len: AtomicUsize::new(0),
            spans: AtomicPtr::new(null_mut()),
            dirty: AtomicPtr::new(null_mut()),
            window: AtomicUsize::new(0),
            committed_bytes: AtomicUsize::new(0),
            hides_classes: AtomicBool::new(false),
            shows_nothing: AtomicBool::new(false),
        }
    }

    /// Enters no classes from now on; before any slab is entered.
    pub(crate) fn hide_classes(&self) {
        self.hides_classes.store(true, Relaxed);
        self.show_nothing();
    }

    /// Has whoever frees begin with the slow path from now on; before any slab is entered.
    pub(crate) fn show_nothing(&self) {
        self.shows_nothing.store(true, Relaxed);
        self.shown.store(0, Relaxed);
    }

    /// Whether the classes of slabs are entered.
    pub(super) fn enters_classes(&self) -> bool {
        !self.hides_classes.load(Relaxed)
    }

    /// The class of the slab around `addr`; none for whatever else it may be. O(1), no lock.
    #[inline]
    pub(crate) fn class_of(&self, addr: usize) -> ClassId {
        match self.index_of(addr) {
            Some(index) => ClassId(self.class_entry(index).load(Relaxed)),
            None => ClassId::NONE,
        }
    }

    /// The span that is entered for the page of `addr`. O(1), no lock.
    #[inline]
    pub(crate) fn span_of(&self, addr: usize) -> Option<SpanRef> {
        self.index_of(addr).and_then(|index| self.span_at(index))
    }

    /// The span that contains `addr`, also where it is entered on its first page alone; `None` for one that is longer than 8 GiB.
    /// O(pages), no lock.
    pub(crate) fn span_around(&self, addr: usize) -> Option<SpanRef> {
        let index = self.index_of(addr)?;
        let span = (index.saturating_sub(AHEAD)..=index).rev().find_map(|index| self.span_at(index))?;
        (addr.wrapping_sub(span.start()) < span.bytes()).then_some(span)
    }

    /// How far `addr` lies behind the window's beginning, in bytes. O(1), no lock.
    #[inline]
    pub(super) fn offset_of(&self, addr: usize) -> usize {
        addr.wrapping_sub(self.base_page.load(Relaxed) << PAGE_SHIFT)
    }

    /// The index in the window of the page of `addr`, if it is covered. O(1), no lock.
    #[inline]
    pub(crate) fn index_of(&self, addr: usize) -> Option<usize> {
        let len = self.len.load(Acquire);
        let index = (addr >> PAGE_SHIFT).wrapping_sub(self.base_page.load(Relaxed));
        (index < len).then_some(index)
    }

    /// The same for whoever wants the class alone, where classes are shown. O(1), no lock.
    #[inline]
    pub(crate) fn shown_index_of(&self, addr: usize) -> Option<usize> {
        let shown = self.shown.load(Acquire);
        let index = (addr >> PAGE_SHIFT).wrapping_sub(self.base_page.load(Relaxed));
        (index < shown).then_some(index)
    }

    /// The span entered at page `index` of the window, which is below `len`.
    #[inline]
    pub(super) fn span_at(&self, index: usize) -> Option<SpanRef> {
        SpanRef::from_ptr(self.span_entry(index).load(Acquire))
    }

    /// The index in the window of a span's first page.
    pub(super) fn index(&self, span: SpanRef) -> usize {
        span.first_page() - self.base_page.load(Relaxed)
    }

    /// The number of the window's first page.
    pub(super) fn base(&self) -> usize {
        self.base_page.load(Relaxed)
    }

    /// Bytes of the arrays that are committed.
    pub(crate) fn committed_bytes(&self) -> usize {
        self.committed_bytes.load(Relaxed)
    }

    /// The committed parts of the arrays, from a start to an end each.
    pub(super) fn ranges(&self, os_page: usize) -> [(usize, usize); 3] {
        let len = self.len.load(Acquire);
        let Arrays { classes, spans, dirty } = self.arrays();
        let [a, b, c] = if len == 0 { [0; 3] } else { Arrays::bytes(len, os_page) };
        [(classes, classes + a), (spans, spans + b), (dirty, dirty + c)]
    }

    /// The class of page `index` of the window, which [`index_of`](Self::index_of) gave.
    #[inline]
    pub(crate) fn class_entry(&self, index: usize) -> &AtomicU8 {
        debug_assert!(index < self.len.load(Relaxed));
        let classes = self.classes.load(Acquire);
        // SAFETY: W1, the index is below `len`.
        let entry = unsafe { classes.add(index) };
        // SAFETY: W1, W2.
        unsafe { &*entry }
    }

    #[inline]
    fn span_entry(&self, index: usize) -> &AtomicPtr<Span> {
        debug_assert!(index < self.len.load(Relaxed));
        let spans = self.spans.load(Acquire);
        // SAFETY: W1, the index is below `len`.
        let entry = unsafe { spans.add(index) };
        // SAFETY: W1, W2.
        unsafe { &*entry }
    }

    /// The dirty bits of 64 pages.
    pub(super) fn dirty_word(&self, word: usize) -> &AtomicU64 {
        debug_assert!(word * 64 < self.len.load(Relaxed));
        let dirty = self.dirty.load(Acquire);
        // SAFETY: W1, the word belongs to pages below `len`, which is a multiple of 64.
        let entry = unsafe { dirty.add(word) };
        // SAFETY: W1, W2.
        unsafe { &*entry }
    }

    /// Makes the window begin at page `base`, before anything is covered.
    pub(super) fn set_base(&self, base: usize) {
        debug_assert!(self.len.load(Relaxed) == 0);
        self.base_page.store(base, Relaxed);
    }

    /// Covers at least `pages` pages from the base; `None` when refused, with nothing changed.
    pub(super) fn cover(&self, system: &impl System, pages: usize) -> Option<()> {
        let len = self.len.load(Relaxed);
        if pages <= len {
            return Some(());
        }
        let least = pages.checked_next_multiple_of(LEAST_WINDOW)?;
        if least > LAST_WINDOW {
            return None;
        }
        if least > self.window.load(Relaxed) {
            return self.widen(system, least);
        }
        let ahead = (len * 2).min(len + AHEAD).clamp(least, self.window.load(Relaxed));
        [ahead, least].into_iter().find_map(|to| {
            let bytes = self.arrays().commit(system, len, to)?;
            self.committed_bytes.fetch_add(bytes, Relaxed);
            self.publish(to);
            Some(())
        })
    }

    fn arrays(&self) -> Arrays {
        Arrays {
            classes: self.classes.load(Relaxed).expose_provenance(),
            spans: self.spans.load(Relaxed).expose_provenance(),
            dirty: self.dirty.load(Relaxed).expose_provenance(),
        }
    }

    /// Reserves arrays for a larger window, copies what there is, and publishes them.
    fn widen(&self, system: &impl System, least: usize) -> Option<()> {
        let len = self.len.load(Relaxed);
        let wanted = match self.window.load(Relaxed) {
            0 => LEAST_WINDOW,
            LEAST_WINDOW => first_window(system),
            window => window.saturating_mul(GROWTH).min(LAST_WINDOW),
        };
        let mut window = wanted.max(least);
        let arrays = loop {
            match Arrays::reserve(system, window) {
                Some(arrays) => break arrays,
                None if window == least => return None,
                None => window = (window / 2).next_multiple_of(64).clamp(least, window - 1),
            }
        };
        let Some(bytes) = arrays.commit(system, 0, least) else {
            let reserved: usize = Arrays::bytes(window, system.os_page_size()).iter().sum();
            // SAFETY: reserved above and not published. If it stays, only addresses are lost.
            let _ = unsafe { system.release(arrays.classes, reserved) };
            return None;
        };
        let classes = with_exposed_provenance_mut::<AtomicU8>(arrays.classes);
        let spans = with_exposed_provenance_mut::<AtomicPtr<Span>>(arrays.spans);
        let dirty = with_exposed_provenance_mut::<AtomicU64>(arrays.dirty);
        for index in 0..len {
            let class = self.class_entry(index).load(Relaxed);
            if class != 0 {
                // SAFETY: the new arrays are committed for more than `len` pages.
                let entry = unsafe { classes.add(index) };
                // SAFETY: W2, and nobody else knows the new arrays.
                unsafe { &*entry }.store(class, Relaxed);
            }
            let span = self.span_entry(index).load(Relaxed);
            if !span.is_null() {
                // SAFETY: as above.
                let entry = unsafe { spans.add(index) };
                // SAFETY: as above.
                unsafe { &*entry }.store(span, Relaxed);
            }
        }
        for word in 0..len.div_ceil(64) {
            let bits = self.dirty_word(word).load(Relaxed);
            if bits != 0 {
                // SAFETY: as above.
                let entry = unsafe { dirty.add(word) };
                // SAFETY: as above.
                unsafe { &*entry }.store(bits, Relaxed);
            }
        }
        // Pointers before the length, each with Release: W1.
        self.classes.store(classes, Release);
        self.spans.store(spans, Release);
        self.dirty.store(dirty, Release);
        self.window.store(window, Relaxed);
        self.committed_bytes.fetch_add(bytes, Relaxed);
        self.publish(least);
        Some(())
    }

    /// Has the map cover so many pages.
    fn publish(&self, pages: usize) {
        // Pairs with the loads in `index_of` and `shown_index_of`: W1.
        self.len.store(pages, Release);
        if !self.shows_nothing.load(Relaxed) {
            self.shown.store(pages, Release);
        }
    }

    /// Enters a span as its state demands: a slab of several blocks on all its pages, others on the first and last.
    pub(super) fn enter(&self, span: SpanRef) {
        if span.is(SpanState::Slab) && self.enters_classes() {
            self.write_classes(span, span.class());
        }
        if Self::enters_whole(span) {
            let first = self.index(span);
            (first..first + span.pages().0).for_each(|index| self.write(index, span.as_ptr()));
        } else {
            self.enter_ends(span);
        }
    }

    /// Enters a span on its first and last page.
    pub(super) fn enter_ends(&self, span: SpanRef) {
        let first = self.index(span);
        self.write(first, span.as_ptr());
        self.write(first + span.pages().0 - 1, span.as_ptr());
    }

    /// Enters a span for one page of the window.
    pub(super) fn enter_at(&self, index: usize, span: SpanRef) {
        self.write(index, span.as_ptr());
    }

    /// Clears all entries but those of the first and last page of a span, which still has the state and range it
    /// was entered with.
    pub(super) fn leave_inside(&self, span: SpanRef) {
        if span.is(SpanState::Slab) && self.enters_classes() {
            self.write_classes(span, ClassId::NONE);
        }
        if Self::enters_whole(span) {
            let first = self.index(span);
            (first + 1..first + span.pages().0 - 1).for_each(|index| self.write(index, null_mut()));
        }
    }

    /// Clears the entries of the last page of one span and of the first page of the next, which are being joined.
    pub(super) fn clear_ends(&self, last: usize, first: usize) {
        self.write(last, null_mut());
        self.write(first, null_mut());
    }

    /// Whether a span in its present state is entered on all its pages: only where blocks begin on all of them.
    pub(super) fn enters_whole(span: SpanRef) -> bool {
        span.blocks() > 1
    }

    fn write(&self, index: usize, entry: *mut Span) {
        // Pairs with the Acquire in `span_at`: who finds the record sees it described.
        self.span_entry(index).store(entry, Release);
    }

    fn write_classes(&self, span: SpanRef, class: ClassId) {
        let first = self.index(span);
        let pages = if Self::enters_whole(span) { span.pages().0 } else { 1 };
        // Relaxed: a legitimate reader got an address in the slab from somebody, which orders.
        (first..first + pages).for_each(|index| self.class_entry(index).store(class.0, Relaxed));
    }
}

/// Pages of the first window: no more than the process may have addresses for, so that the
/// arrays take about a thousandth of the limit.
fn first_window(system: &impl System) -> usize {
    let limit = system.address_space_limit().map_or(FIRST_WINDOW, |bytes| bytes / PAGE_SIZE);
    limit.clamp(LEAST_WINDOW, FIRST_WINDOW).next_multiple_of(LEAST_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::super::meta::MetaPool;
    use super::*;
    use freestone_sys::sim::Simulated;

    #[test]
    fn addresses_outside_are_nobodys() {
        let map = PageMap::new();
        for addr in [0, 1, PAGE_SIZE, usize::MAX] {
            assert!(map.class_of(addr) == ClassId::NONE && map.span_of(addr).is_none());
        }
    }

    #[test]
    fn entries_survive_a_wider_window() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let map = PageMap::new();
        map.set_base(1000);
        map.cover(&system, 10).unwrap();
        let span = pool.record(&system, 1).unwrap();
        span.set_range(1003, 4);
        span.set_slab(ClassId(7), 10);
        span.set_state(SpanState::Slab);
        map.enter(span);
        map.dirty_word(0).store(0b101, Relaxed);
        for pages in [LEAST_WINDOW + 1, FIRST_WINDOW / 8, FIRST_WINDOW + 1] {
            map.cover(&system, pages).unwrap();
            assert!(map.len.load(Relaxed) >= pages);
            for page in 1000..1010 {
                let inside = (1003..1007).contains(&page);
                assert_eq!(map.span_of(page * PAGE_SIZE + 5), inside.then_some(span));
                assert_eq!(map.class_of(page * PAGE_SIZE + 5), ClassId(if inside { 7 } else { 0 }));
            }
            assert_eq!(map.dirty_word(0).load(Relaxed), 0b101);
        }
        map.clear_ends(4, 5);
        assert_eq!(map.span_around(1005 * PAGE_SIZE + 7), Some(span));
        assert_eq!(map.span_around(1007 * PAGE_SIZE), None);
        map.leave_inside(span);
        assert!(map.span_of(1004 * PAGE_SIZE).is_none() && map.class_of(1004 * PAGE_SIZE) == ClassId::NONE);
        map.clear_ends(6, 3);
        assert!((1003..1007).all(|page| map.span_of(page * PAGE_SIZE).is_none()));
    }

    #[test]
    fn each_refusal_leaves_the_map_as_it_was() {
        for refused in 1..8 {
            let system = Simulated::new();
            let map = PageMap::new();
            for pages in [10, LEAST_WINDOW + 1, FIRST_WINDOW + 1] {
                system.refuse_from(refused);
                let len = map.len.load(Relaxed);
                if map.cover(&system, pages).is_none() {
                    assert_eq!(map.len.load(Relaxed), len);
                }
                system.forgive();
                map.cover(&system, pages).unwrap();
                assert!(map.span_of((pages - 1) * PAGE_SIZE).is_none());
            }
        }
    }
}
