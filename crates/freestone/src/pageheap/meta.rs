//! Memory for the allocator's own records, apart from user memory.
//!
//! Records are cut from chunks mapped from the system. Their addresses are never given back: they are reused as
//! records only (invariant P1 of [`span`](super::span)). The memory of a *piece* of a chunk in which no record is in use any more
//! goes back ([`MetaPool::trim`]); reading such a record gives zeros.
//!
//! # Safety
//!
//! A piece is purged only while no record in it is in use, listed, or handed out again (the pool is guarded by a lock).

#![allow(unsafe_code)]

use freestone_sys::System;

use super::list::SpanList;
use super::span::{LINE, LINE_WORDS, MAX_WORDS, SpanRef};
use crate::sync::atomic::Ordering::Relaxed;

const FIRST_CHUNK: usize = 64 << 10;
const LAST_CHUNK: usize = 1 << 20;
/// Bytes in a piece. No record lies in two of them.
const PIECE: usize = 64 << 10;
/// Most pieces that wait for reuse without memory.
const MOST_PIECES: usize = 256;
/// Pieces looked at in one pass.
const PASS: usize = 128;
/// Most unused records that are looked at, since nobody else can have the page heap meanwhile.
const MOST_RECORDS: usize = 50_000;
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
    /// Pieces without records, which read as zeros.
    pieces: [usize; MOST_PIECES],
    piece_count: usize,
    /// What was idle when the pool was trimmed last.
    pub(super) idle_lately: usize,
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
        let pieces = [0; MOST_PIECES];
        MetaPool {
            cursor: 0,
            end: 0,
            next_chunk: 0,
            unused,
            used: 0,
            mapped: 0,
            chunks,
            pieces,
            piece_count: 0,
            idle_lately: 0,
        }
    }

    /// Bytes in records that are in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes that are neither in use nor known to have gone back.
    pub(crate) fn idle(&self) -> usize {
        self.mapped - self.used - self.piece_count * PIECE
    }

    /// Bytes mapped from the system.
    pub(crate) fn mapped(&self) -> usize {
        self.mapped
    }

    /// The ranges mapped from the system, from a start to an end each.
    pub(crate) fn ranges(&self) -> &[(usize, usize)] {
        &self.chunks.ranges[..self.chunks.len]
    }

    /// A record with room for `words` words of bits and marks that describes nothing.
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
        // No record lies in two pieces: what is left of one becomes short records.
        while self.left_in_piece() < lines * LINE {
            match self.left_in_piece() {
                0 => self.refill(system)?,
                _ => {
                    let short = SpanRef::make(self.cursor, 1)?;
                    self.cursor += LINE;
                    self.unused[1].push(short);
                }
            }
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

    /// Bytes up to the end of the piece, or of the chunk, from which records are cut.
    fn left_in_piece(&self) -> usize {
        (self.end - self.cursor).min(self.cursor.wrapping_add(1).next_multiple_of(PIECE) - self.cursor)
    }

    /// Gives the memory of pieces without records back; bytes that went. O(unused records), and a call of the system a piece.
    pub(crate) fn trim(&mut self, system: &impl System) -> usize {
        if !PIECE.is_multiple_of(system.os_page_size())
            || self.unused.iter().map(|list| list.iter().take(MOST_RECORDS).count()).sum::<usize>()
                >= MOST_RECORDS
        {
            return 0;
        }
        let mut trimmed = 0;
        for range in 0..self.chunks.len {
            let (start, end) = self.chunks.ranges[range];
            let mut piece = start.next_multiple_of(PIECE);
            while piece + PIECE <= end && self.piece_count < MOST_PIECES {
                trimmed += self.trim_pass(system, piece, ((end - piece) / PIECE).min(PASS));
                piece += PASS * PIECE;
            }
        }
        trimmed
    }

    /// Trims those of `count` pieces from `first` on that hold unused records only.
    fn trim_pass(&mut self, system: &impl System, first: usize, count: usize) -> usize {
        let mut unused = [0; PASS];
        let within = |span: SpanRef| {
            let piece = span.as_ptr().addr().wrapping_sub(first) / PIECE;
            (piece < count).then_some(piece)
        };
        for span in self.unused.iter().flat_map(SpanList::iter) {
            if let Some(piece) = within(span) {
                unused[piece] += span.lines() * LINE;
            }
        }
        let mut trimmed = 0;
        for (piece, bytes) in unused.into_iter().enumerate().take(count) {
            let at = first + piece * PIECE;
            if bytes != PIECE || self.piece_count == MOST_PIECES {
                continue;
            }
            for list in &mut self.unused {
                let mut next = list.first();
                while let Some(span) = next {
                    next = SpanRef::from_ptr(span.next().load(Relaxed));
                    if within(span) == Some(piece) {
                        list.remove(span);
                    }
                }
            }
            // SAFETY: a piece of a chunk of ours in which no record is in use or listed any more.
            if unsafe { system.purge(at, PIECE) }.is_ok() {
                trimmed += PIECE;
            } else {
                // Zeroed by hand, it serves as well.
                // SAFETY: as above.
                unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at).write_bytes(0, PIECE) };
            }
            self.pieces[self.piece_count] = at;
            self.piece_count += 1;
        }
        trimmed
    }

    /// Begins a piece that was trimmed, or else a new chunk; a short one where the usual size is refused.
    fn refill(&mut self, system: &impl System) -> Option<()> {
        if self.cursor == self.end && self.piece_count > 0 {
            self.piece_count -= 1;
            self.cursor = self.pieces[self.piece_count];
            self.end = self.cursor + PIECE;
            return Some(());
        }
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
    fn pieces_without_records_give_their_memory_back_and_serve_again() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let make = |pool: &mut MetaPool| -> Vec<SpanRef> {
            [0, 64, 8, 33]
                .repeat(1000)
                .into_iter()
                .map(|words| pool.record(&system, words).unwrap())
                .collect()
        };
        let spans = make(&mut pool);
        let mapped = pool.mapped();
        let kept = spans[1000];
        kept.set_range(5, 7);
        let (purges, bytes) = (system.calls().purge, pool.used());
        spans.iter().filter(|&&span| span != kept).for_each(|&span| pool.recycle(span));
        let trimmed = pool.trim(&system);
        // Where chunks begin and end inside of pieces, those stay.
        assert!(trimmed > bytes / 2 && trimmed <= bytes, "{trimmed} of {bytes}");
        assert_eq!((system.calls().purge - purges) as usize, trimmed / PIECE);
        assert_eq!(pool.trim(&system), 0);
        assert!(kept.bytes() > 0 && pool.used() == kept.lines() * LINE);
        let mut again = make(&mut pool);
        assert!(pool.mapped() <= mapped + LAST_CHUNK);
        again.push(kept);
        let mut ranges: Vec<_> = again
            .iter()
            .map(|span| (span.as_ptr().addr(), span.as_ptr().addr() + span.lines() * LINE))
            .collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(again.iter().filter(|&&span| span != kept).all(|span| span.bytes() == 0));
        again.into_iter().for_each(|span| pool.recycle(span));
        // What cannot be purged is still of use.
        system.refuse_all(true);
        assert_eq!(pool.trim(&system), 0);
        system.refuse_all(false);
        make(&mut pool);
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
