//! Memory for the allocator's own records, apart from user memory.
//!
//! Records are cut from chunks mapped from the system and are never given back: they are reused as
//! records only (invariant P1 of [`span`](super::span)).

use freestone_sys::System;

use super::list::SpanList;
use super::span::{LINE, LINE_WORDS, MAX_WORDS, SpanRef};

const FIRST_CHUNK: usize = 64 << 10;
const LAST_CHUNK: usize = 1 << 20;
const MAX_LINES: usize = 1 + MAX_WORDS / LINE_WORDS;

/// Lines of a record with room for `words` bitmap words.
pub(super) const fn lines_for(words: usize) -> usize {
    1 + words.div_ceil(LINE_WORDS)
}

/// The pool of metadata. Guarded by the page heap's lock.
pub(crate) struct MetaPool {
    cursor: usize,
    end: usize,
    next_chunk: usize,
    /// Unused records by their lines.
    unused: [SpanList; MAX_LINES + 1],
    used: usize,
    mapped: usize,
    chunks: Chunks,
}

/// Ranges told of by [`MetaPool::ranges`]: enough for some GiB of the smallest spans; beyond that the ledger shows
/// what is missing as mappings of others.
const CHUNKS: usize = 32;

/// Where the chunks lie; those side by side count as one.
#[derive(Clone, Copy)]
struct Chunks {
    ranges: [(usize, usize); CHUNKS],
    len: usize,
}

impl Chunks {
    fn add(&mut self, start: usize, end: usize) {
        if let Some(last) = self.ranges[..self.len].last_mut()
            && last.1 == start
        {
            last.1 = end;
        } else if self.len < CHUNKS {
            self.ranges[self.len] = (start, end);
            self.len += 1;
        }
    }
}

impl MetaPool {
    /// A pool that has mapped nothing yet.
    pub(crate) const fn new() -> MetaPool {
        let unused = [const { SpanList::new() }; MAX_LINES + 1];
        let chunks = Chunks { ranges: [(0, 0); CHUNKS], len: 0 };
        MetaPool { cursor: 0, end: 0, next_chunk: 0, unused, used: 0, mapped: 0, chunks }
    }

    /// Bytes in records that are in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes mapped from the system.
    pub(crate) fn mapped(&self) -> usize {
        self.mapped
    }

    /// The ranges mapped from the system, from a start to an end each.
    pub(crate) fn ranges(&self) -> &[(usize, usize)] {
        &self.chunks.ranges[..self.chunks.len]
    }

    /// A record with room for `words` bitmap words that describes nothing.
    pub(crate) fn record(&mut self, system: &impl System, words: usize) -> Option<SpanRef> {
        debug_assert!(words <= MAX_WORDS);
        let lines = lines_for(words);
        if let Some(span) = self.unused[lines].pop() {
            self.used += lines * LINE;
            return Some(span);
        }
        self.new_record(system, lines)
    }

    #[cold]
    fn new_record(&mut self, system: &impl System, lines: usize) -> Option<SpanRef> {
        if self.end - self.cursor < lines * LINE {
            self.refill(system)?;
        }
        let span = SpanRef::make(self.cursor, lines)?;
        self.cursor += lines * LINE;
        self.used += lines * LINE;
        Some(span)
    }

    /// Takes back a record that is in no list and in no page map entry.
    pub(crate) fn recycle(&mut self, span: SpanRef) {
        span.reset();
        self.used -= span.lines() * LINE;
        self.unused[span.lines()].push(span);
    }

    /// Begins a new chunk; a short one where the usual size is refused.
    fn refill(&mut self, system: &impl System) -> Option<()> {
        let os_page = system.os_page_size();
        let usual = self.next_chunk.max(FIRST_CHUNK).next_multiple_of(os_page);
        let (addr, size) = match system.map(usual) {
            Ok(addr) => (addr, usual),
            Err(_) => (system.map(os_page).ok()?, os_page),
        };
        self.mapped += size;
        self.chunks.add(addr, addr + size);
        // Mappings often lie side by side: then the rest of the old chunk stays of use.
        if addr != self.end {
            self.cursor = addr;
        }
        self.end = addr + size;
        self.next_chunk = (self.next_chunk.max(FIRST_CHUNK) * 2).min(LAST_CHUNK);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_sys::sim::Simulated;

    #[test]
    fn records_are_reused_by_their_size_and_come_back_blank() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let small = pool.record(&system, 0).unwrap();
        let large = pool.record(&system, 64).unwrap();
        assert_eq!((small.lines(), large.lines()), (1, 9));
        large.fill_bitmap(4095);
        large.set_range(5, 7);
        let used = pool.used();
        pool.recycle(large);
        assert_eq!(pool.used(), used - 9 * LINE);
        let other = pool.record(&system, 1).unwrap();
        assert_ne!(other, large);
        let again = pool.record(&system, 57).unwrap();
        assert_eq!(again, large);
        assert_eq!((again.bitmap().len(), again.start(), again.bytes()), (0, 0, 0));
    }

    #[test]
    fn records_lie_apart_in_whole_lines() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let mut ranges = Vec::new();
        for words in [0, 64, 1, 8, 9, 33].repeat(500) {
            let span = pool.record(&system, words).unwrap();
            let start = span.as_ptr().addr();
            assert!(start.is_multiple_of(LINE) && (span.lines() - 1) * LINE_WORDS >= words);
            ranges.push((start, start + span.lines() * LINE));
        }
        ranges.sort();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert_eq!(pool.used(), ranges.iter().map(|(from, to)| to - from).sum());
        assert!(pool.used() <= pool.mapped());
        assert_eq!(pool.mapped(), pool.ranges().iter().map(|(from, to)| to - from).sum());
        let within = |&(from, to): &(usize, usize)| pool.ranges().iter().any(|r| r.0 <= from && to <= r.1);
        assert!(ranges.iter().all(within));
    }

    #[test]
    fn a_refusal_leaves_the_pool_usable() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        system.refuse_all(true);
        assert!(pool.record(&system, 64).is_none());
        assert_eq!((pool.used(), pool.mapped()), (0, 0));
        system.refuse_all(false);
        assert!(pool.record(&system, 64).is_some());
    }
}
