//! The shadow, in hardened mode: a *mark* for each place in the window where a block of a slab could begin, and the class of
//! each page of slabs. An address leads to both by arithmetic and one pointer, without the record of its span.
//!
//! The window is shadowed in chunks, which are mapped when the first slab comes to lie there. In a chunk stand the marks,
//! one for each 16 bytes, then the classes. All blocks of hardened mode begin at multiples of 16.
//!
//! # Safety
//!
//! Invariant X1: a chunk is mapped zeroed before its address is stored (Release; whoever looks one up loads it with Acquire,
//! its partner), and is never unmapped; it holds atomics, for which zero is a valid value.
//!
//! Invariant X2: the same of the table of chunks, of which the length is stored after its address.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::mem::offset_of;
use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::size_class::MALLOC_ALIGN;
use freestone_base::{ClassId, PAGE_SHIFT, PAGE_SIZE, class_info};
use freestone_sys::System;

use super::PageMap;
use super::span::SpanRef;
use crate::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Pages of the window that a chunk shadows: 64 MiB.
const PAGES: usize = (64 << 20) >> PAGE_SHIFT;
/// The same in bytes.
pub(crate) const SHADOWED: usize = PAGES * PAGE_SIZE;
/// Marks of a page.
const MARKS: usize = PAGE_SIZE / MALLOC_ALIGN;
/// Where the classes begin in a chunk.
pub(crate) const CLASSES: usize = PAGES * MARKS;
/// Bytes of a chunk.
const CHUNK: usize = CLASSES + PAGES;
/// Blocks up to this size are marked so densely that their marks are cleared all at once.
const DENSE: usize = 256;

/// Chunks of the longest window.
const CHUNKS: usize = PageMap::LAST_WINDOW / PAGES;

/// Where the chunks are: for each 64 MiB of the window the address of its chunk, or null. Mapped with the first chunk, since it is large, and
/// most processes never need it.
pub(crate) struct Table {
    /// Entries: [`CHUNKS`], or 0 before it is mapped.
    len: AtomicUsize,
    entries: AtomicPtr<AtomicPtr<AtomicU8>>,
}

pub(crate) static TABLE: Table = Table { len: AtomicUsize::new(0), entries: AtomicPtr::new(null_mut()) };

impl Table {
    /// Where the number of entries lies, and where their address does, in bytes.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const LEN: usize = offset_of!(Table, len);
    #[cfg(target_arch = "x86_64")]
    pub(crate) const ENTRIES: usize = offset_of!(Table, entries);

    /// The entry of chunk `number`, if it can have one. O(1).
    #[inline(always)]
    fn entry(&self, number: usize) -> Option<&'static AtomicPtr<AtomicU8>> {
        if number >= self.len.load(Acquire) {
            return None;
        }
        let entry = self.entries.load(Relaxed).wrapping_add(number);
        // SAFETY: X2.
        Some(unsafe { &*entry })
    }

    /// Maps it, if nobody else does; false where the system refused memory.
    #[cold]
    fn map(&self, system: &impl System) -> bool {
        let mapped = map_for(&self.entries, CHUNKS * size_of::<AtomicPtr<AtomicU8>>(), system);
        if mapped {
            self.len.store(CHUNKS, Release);
        }
        mapped
    }
}

/// The chunk of page `index` of the window; null where there is none.
fn chunk(index: usize) -> *mut AtomicU8 {
    TABLE.entry(index / PAGES).map_or(null_mut(), |chunk| chunk.load(Acquire))
}

/// The mark of the place around `addr`, and the class of its page, where `map` covers it and slabs lie near it. O(1).
#[inline(always)]
pub(crate) fn find(map: &PageMap, addr: usize) -> Option<(&'static AtomicU8, &'static AtomicU8)> {
    // Of a page that the map does not cover there is no chunk, or zeros in one.
    let offset = map.offset_of(addr);
    let chunk = TABLE.entry(offset / SHADOWED)?.load(Acquire);
    if chunk.is_null() {
        return None;
    }
    let within = offset % SHADOWED;
    // SAFETY: X1; below the classes.
    let mark = unsafe { chunk.add(within / MALLOC_ALIGN) };
    // SAFETY: X1; one of the classes.
    let class = unsafe { chunk.add(CLASSES + within / PAGE_SIZE) };
    // SAFETY: X1.
    let mark = unsafe { &*mark };
    // SAFETY: X1.
    let class = unsafe { &*class };
    Some((mark, class))
}

/// Has the marks of a new slab's blocks read as 0, and its pages show its class; false where the system refused memory.
/// O(blocks).
pub(super) fn enter(map: &PageMap, system: &impl System, span: SpanRef, class: ClassId) -> bool {
    let info = class_info(class);
    let first = map.index(span);
    let pages = first..first + info.slab_pages as usize;
    if !(pages.start / PAGES..=(pages.end - 1) / PAGES).all(|number| ensure(system, number)) {
        return false;
    }
    for page in pages {
        let (chunk, page) = (chunk(page), page % PAGES);
        // SAFETY: X1; one of the classes.
        unsafe { &*chunk.wrapping_add(CLASSES + page) }.store(class.0, Relaxed);
        if info.size as usize <= DENSE {
            // SAFETY: X1: the marks of one page.
            let marks = unsafe { core::slice::from_raw_parts(chunk.wrapping_add(page * MARKS), MARKS) };
            marks.iter().for_each(|mark| mark.store(0, Relaxed));
        }
    }
    if info.size as usize > DENSE {
        let blocks = (0..info.blocks as usize).map(|block| span.first_block() + block * info.size as usize);
        blocks.filter_map(|at| find(map, at)).for_each(|(mark, _)| mark.store(0, Relaxed));
    }
    true
}

/// Whether there is a chunk of this number, made if need be.
fn ensure(system: &impl System, number: usize) -> bool {
    if TABLE.len.load(Acquire) == 0 && !TABLE.map(system) {
        return false;
    }
    let Some(chunk) = TABLE.entry(number) else { return false };
    !chunk.load(Acquire).is_null() || map_for(chunk, CHUNK, system)
}

/// Maps `bytes` zeroed bytes and stores their address, if nobody else does it first; false where the system refused memory.
fn map_for<T>(place: &AtomicPtr<T>, bytes: usize, system: &impl System) -> bool {
    let Ok(at) = system.map(bytes) else { return false };
    if place.compare_exchange(null_mut(), with_exposed_provenance_mut(at), AcqRel, Acquire).is_err() {
        // SAFETY: mapped just now, and nobody knows of it. If it stays, only addresses are lost.
        let _ = unsafe { system.release(at, bytes) };
    }
    true
}

/// Where the chunks lie for what `map` covers, and their table, from a start to an end each. O(chunks).
pub(crate) fn ranges(map: &PageMap) -> impl Iterator<Item = (usize, usize)> {
    let covered = map.len.load(Acquire).div_ceil(PAGES);
    let starts = (0..covered).map_while(|number| TABLE.entry(number)).map(|chunk| chunk.load(Acquire).addr());
    let chunks = starts.filter(|start| *start != 0).map(|start| (start, start + CHUNK));
    let table = TABLE.entries.load(Acquire).addr();
    let entries = TABLE.len.load(Acquire) * size_of::<AtomicPtr<AtomicU8>>();
    chunks.chain((entries != 0).then_some((table, table + entries)))
}

#[cfg(test)]
mod tests {
    use super::super::{PageHeap, SpanState};
    use super::*;
    use freestone_base::size_class::class_of_medium;
    use freestone_base::{MAX_SMALL, class_of_aligned};
    use freestone_sys::sim::Simulated;

    #[test]
    fn every_block_that_is_marked_begins_where_a_mark_is() {
        let small = (0..=MAX_SMALL).step_by(8).filter_map(|size| class_of_aligned(size, MALLOC_ALIGN));
        let medium = (MAX_SMALL + 1..256 << 10).step_by(PAGE_SIZE).filter_map(class_of_medium);
        for class in small.chain(medium) {
            assert!(class_info(class).size.is_multiple_of(MALLOC_ALIGN as u32), "{class:?}");
        }
    }

    #[test]
    fn each_block_of_a_slab_has_a_mark_of_its_own_and_its_class() {
        let heap = PageHeap::new(Simulated::new());
        let class = class_of_aligned(48, MALLOC_ALIGN).unwrap();
        let span = heap.alloc_slab(class).unwrap();
        assert!(enter(&heap.map, &heap.system, span, class) && span.is(SpanState::Slab));
        let size = class_info(class).size as usize;
        let places: Vec<usize> = (0..span.blocks()).map(|block| span.first_block() + block * size).collect();
        for (number, &at) in places.iter().enumerate() {
            let (mark, of_page) = find(&heap.map, at).unwrap();
            assert_eq!((mark.swap((number % 200) as u8 + 1, Relaxed), of_page.load(Relaxed)), (0, class.0));
        }
        for (number, &at) in places.iter().enumerate() {
            assert_eq!(find(&heap.map, at).unwrap().0.load(Relaxed), (number % 200) as u8 + 1);
            assert_eq!(find(&heap.map, at + 16).unwrap().0.load(Relaxed), 0);
        }
        assert!(enter(&heap.map, &heap.system, span, class));
        assert!(places.iter().all(|&at| find(&heap.map, at).unwrap().0.load(Relaxed) == 0));
        assert!(find(&heap.map, 16).is_none());
    }
}
