//! The dirty bits: for each page of the window, whether it may hold something other than zeros
//! while it is free. For pages in use the bits say what they said when the pages were handed out.
//!
//! The bits of free pages change only under the page heap's lock. The bits of pages in use do not
//! change, so their user may read them without the lock, although the words are shared.

use core::ops::Range;

use super::pagemap::PageMap;
use crate::sync::atomic::Ordering::Relaxed;

/// Calls `visit` for the parts of a range of pages that lie in one word each, with the mask of their bits.
#[inline]
fn words(pages: Range<usize>, mut visit: impl FnMut(usize, u64)) {
    debug_assert!(pages.start < pages.end);
    let last_page = pages.end - 1;
    let (mut word, last) = (pages.start / 64, last_page / 64);
    let mut mask = u64::MAX << (pages.start % 64);
    while word < last {
        visit(word, mask);
        mask = u64::MAX;
        word += 1;
    }
    visit(last, mask & (u64::MAX >> (63 - last_page % 64)));
}

/// Marks pages dirty, at least one.
pub(super) fn set(map: &PageMap, pages: Range<usize>) {
    words(pages, |word, mask| {
        let bits = map.dirty_word(word);
        let old = bits.load(Relaxed);
        if old & mask != mask {
            bits.store(old | mask, Relaxed);
        }
    });
}

/// Marks pages clean, at least one.
pub(super) fn clear(map: &PageMap, pages: Range<usize>) {
    words(pages, |word, mask| {
        let bits = map.dirty_word(word);
        bits.store(bits.load(Relaxed) & !mask, Relaxed);
    });
}

/// How many of the pages, at least one, are dirty.
pub(super) fn count(map: &PageMap, pages: Range<usize>) -> usize {
    let mut dirty = 0;
    words(pages, |word, mask| dirty += (map.dirty_word(word).load(Relaxed) & mask).count_ones() as usize);
    dirty
}

/// The first dirty page among `pages`, and the pages up to the next clean one.
pub(super) fn next_run(map: &PageMap, pages: Range<usize>) -> Option<Range<usize>> {
    let start = first(map, pages.clone(), 0)?;
    let end = first(map, start..pages.end, u64::MAX).unwrap_or(pages.end);
    Some(start..end)
}

/// The first page whose bit differs from those of `flip`.
fn first(map: &PageMap, pages: Range<usize>, flip: u64) -> Option<usize> {
    let mut from = pages.start;
    while from < pages.end {
        let word = from / 64;
        let bits = (map.dirty_word(word).load(Relaxed) ^ flip) & (u64::MAX << (from % 64));
        if bits != 0 {
            let page = word * 64 + bits.trailing_zeros() as usize;
            return (page < pages.end).then_some(page);
        }
        from = (word + 1) * 64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_sys::sim::Simulated;

    #[test]
    fn ranges_of_bits_are_exact_at_every_boundary() {
        let system = Simulated::new();
        let map = PageMap::new();
        map.cover(&system, 1000).unwrap();
        for from in [0, 1, 63, 64, 65, 130] {
            for to in (from + 1..from + 200).step_by(7).chain([from + 64, from + 128]) {
                set(&map, from..to);
                assert_eq!(count(&map, 0..1000), to - from);
                assert_eq!(next_run(&map, 0..1000), Some(from..to));
                assert_eq!(next_run(&map, from + 1..1000), (from + 1 < to).then_some(from + 1..to));
                assert_eq!(next_run(&map, to..1000), None);
                clear(&map, from..to);
                assert_eq!(count(&map, 0..1000), 0);
            }
        }
    }
}
