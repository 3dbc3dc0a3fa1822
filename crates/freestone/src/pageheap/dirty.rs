//! The dirty bits: for each page of the window, whether it may hold something other than zeros
//! while it is free. For pages in use the bits say what they said when the pages were handed out.
//!
//! The bits of free pages change only under the page heap's lock. The bits of pages in use do not
//! change, so their user may read them without the lock, although the words are shared.

use core::ops::Range;

use super::pagemap::PageMap;
use crate::sync::atomic::Ordering::Relaxed;

/// The parts of a range of pages that lie in one word each, with the mask of their bits.
fn words(pages: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let (from, to) = (pages.start, pages.end);
    (from / 64..to.div_ceil(64)).map(move |word| {
        let low = from.saturating_sub(word * 64).min(63);
        let high = (to - word * 64).min(64);
        (word, (u64::MAX << low) & (u64::MAX >> (64 - high)))
    })
}

/// Marks pages dirty.
pub(super) fn set(map: &PageMap, pages: Range<usize>) {
    for (word, mask) in words(pages) {
        let bits = map.dirty_word(word);
        bits.store(bits.load(Relaxed) | mask, Relaxed);
    }
}

/// Marks pages clean.
pub(super) fn clear(map: &PageMap, pages: Range<usize>) {
    for (word, mask) in words(pages) {
        let bits = map.dirty_word(word);
        bits.store(bits.load(Relaxed) & !mask, Relaxed);
    }
}

/// How many of the pages are dirty.
pub(super) fn count(map: &PageMap, pages: Range<usize>) -> usize {
    words(pages).map(|(word, mask)| (map.dirty_word(word).load(Relaxed) & mask).count_ones() as usize).sum()
}

/// The first dirty page among `pages`, and the pages up to the next clean one.
pub(super) fn next_run(map: &PageMap, pages: Range<usize>) -> Option<Range<usize>> {
    let first = |range: Range<usize>, flip: u64| {
        words(range).find_map(|(word, mask)| {
            let bits = (map.dirty_word(word).load(Relaxed) ^ flip) & mask;
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        })
    };
    let start = first(pages.clone(), 0)?;
    let end = first(start..pages.end, u64::MAX).unwrap_or(pages.end);
    Some(start..end)
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
