//! Free spans by page count: two levels of bits over lists, every operation in constant time.
//!
//! Up to 64 pages there is a bin for each count; above, 16 bins to a doubling. A bit per bin says
//! whether it has spans, a bit per 64 bins whether any of them has.
//!
//! Within a bin the span freed last comes first: its pages are the likeliest to be in the CPU's
//! caches and its record has just been touched. Lower addresses first would pack memory a little more
//! tightly, but would need a search or a tree; against scatter, merging and exact bins already do most.

use super::list::SpanList;
use super::span::SpanRef;

const EXACT: usize = 64;
const STEPS: usize = 16;
/// Bins: exact ones, then doublings from 2^6 up to 2^32 pages.
pub(crate) const BINS: usize = EXACT + 26 * STEPS;
const WORDS: usize = BINS.div_ceil(64);
/// How many spans of the request's own bin, where some are too short, are looked at.
const LOOKED_AT: usize = 8;

/// An index of free spans.
pub(crate) struct Index {
    summary: u64,
    bits: [u64; WORDS],
    bins: [SpanList; BINS],
}

/// The bin for spans of `pages` pages.
pub(crate) const fn bin_of(pages: usize) -> usize {
    if pages <= EXACT {
        return pages - 1;
    }
    let doubling = pages.ilog2() as usize - 6;
    EXACT + doubling * STEPS + ((pages >> (doubling + 2)) & (STEPS - 1))
}

impl Index {
    /// An empty index.
    pub(crate) const fn new() -> Index {
        Index { summary: 0, bits: [0; WORDS], bins: [const { SpanList::new() }; BINS] }
    }

    /// Adds a free span that is in no list to its bin.
    #[inline]
    pub(crate) fn insert(&mut self, bin: usize, span: SpanRef) {
        debug_assert!(bin == bin_of(span.pages().0));
        let list = &mut self.bins[bin];
        let is_first = list.is_empty();
        list.push(span);
        if is_first {
            self.bits[bin / 64] |= 1 << (bin % 64);
            self.summary |= 1 << (bin / 64);
        }
    }

    /// Takes a span out of its bin.
    #[inline]
    pub(crate) fn remove(&mut self, bin: usize, span: SpanRef) {
        self.bins[bin].remove(span);
        if self.bins[bin].is_empty() {
            self.bits[bin / 64] &= !(1 << (bin % 64));
            if self.bits[bin / 64] == 0 {
                self.summary &= !(1 << (bin / 64));
            }
        }
    }

    /// A span of at least `pages` pages, nearly the shortest there is. It stays in the index.
    pub(crate) fn find(&self, pages: usize) -> Option<SpanRef> {
        let own = bin_of(pages);
        self.bins[own].iter().take(LOOKED_AT).find(|span| span.pages().0 >= pages).or_else(|| {
            // Every span in a later bin is long enough.
            self.bin_from(own + 1).and_then(|bin| self.bins[bin].first())
        })
    }

    /// The first bin at or after `bin` that has spans.
    fn bin_from(&self, bin: usize) -> Option<usize> {
        let word = bin / 64;
        if word >= WORDS {
            return None;
        }
        let here = self.bits[word] & (u64::MAX << (bin % 64));
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros() as usize);
        }
        let later = self.summary & (u64::MAX << word) & !(1 << word);
        let word = (later != 0).then(|| later.trailing_zeros() as usize)?;
        Some(word * 64 + self.bits[word].trailing_zeros() as usize)
    }

    /// The last bin before `bin` that has spans: for walks from the longest spans down.
    pub(crate) fn bin_before(&self, bin: usize) -> Option<usize> {
        let (word, bit) = (bin / 64, bin % 64);
        let here = if word < WORDS { self.bits[word] & ((1 << bit) - 1) } else { 0 };
        if here != 0 {
            return Some(word * 64 + here.ilog2() as usize);
        }
        let earlier = self.summary & ((1 << word) - 1);
        let word = (earlier != 0).then(|| earlier.ilog2() as usize)?;
        Some(word * 64 + self.bits[word].ilog2() as usize)
    }

    /// The spans of one bin.
    pub(crate) fn bin(&self, bin: usize) -> &SpanList {
        &self.bins[bin]
    }

    /// Whether bits and lists agree.
    pub(crate) fn is_consistent(&self) -> bool {
        self.bins.iter().enumerate().all(|(bin, list)| {
            let word = self.bits[bin / 64];
            let bit = word >> (bin % 64) & 1 != 0;
            bit != list.is_empty() && (self.summary >> (bin / 64) & 1 != 0) == (word != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::MetaPool;
    use super::*;
    use freestone_sys::sim::Simulated;

    #[test]
    fn bins_grow_with_the_page_count_and_span_a_sixteenth() {
        let mut pages = 1;
        while pages < 1 << 31 {
            assert!(bin_of(pages) <= bin_of(pages + 1) && bin_of(pages + 1) <= bin_of(pages) + 1);
            let slack = pages + pages / 16 + 1;
            assert!(pages <= 64 || bin_of(slack) > bin_of(pages), "{pages}");
            pages += 1 + pages / 40;
        }
        assert!(bin_of(u32::MAX as usize) < BINS);
    }

    #[test]
    fn what_is_found_is_long_enough_and_nearly_the_shortest() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let mut index = Index::new();
        let sizes = [1, 3, 64, 65, 66, 67, 100, 500, 4000, 1 << 20, u32::MAX as usize];
        let spans: Vec<_> = sizes
            .map(|pages| {
                let span = pool.record(&system, 0).unwrap();
                span.set_range(1, pages);
                index.insert(bin_of(pages), span);
                span
            })
            .into();
        assert!(index.is_consistent());
        for pages in (1..5000).chain([1 << 20, (1 << 20) + 1, u32::MAX as usize]) {
            let best = *sizes.iter().find(|&&size| size >= pages).unwrap();
            let found = index.find(pages).unwrap().pages().0;
            assert!(found >= pages && bin_of(found) == bin_of(best), "{pages}: {found}");
        }
        let mut bin = BINS;
        let mut seen = 0;
        while let Some(lower) = index.bin_before(bin) {
            assert!(lower < bin);
            seen += index.bin(lower).iter().count();
            bin = lower;
        }
        assert_eq!(seen, sizes.len());
        spans.into_iter().for_each(|span| index.remove(bin_of(span.pages().0), span));
        assert!(index.is_consistent() && index.find(1).is_none() && index.bin_before(BINS).is_none());
    }
}
