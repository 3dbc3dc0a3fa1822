//! Memory for the allocator's own records, apart from user memory.
//!
//! Bytes are cut from chunks mapped from the system and are never given back: records are reused
//! as records only (invariant P1 of [`span`](super::span)), other bytes not at all.
//!
//! # Safety
//!
//! The only unsafe call releases the ends of a range mapped just before, which nobody has seen.
#![allow(unsafe_code)]

use freestone_sys::System;

use super::list::SpanList;
use super::span::{LINE, LINE_WORDS, MAX_WORDS, SpanRef, SpanState};

const FIRST_CHUNK: usize = 64 << 10;
const LAST_CHUNK: usize = 1 << 20;
const MAX_LINES: usize = 1 + MAX_WORDS / LINE_WORDS;

/// The pool of metadata. Guarded by the page heap's lock.
pub(crate) struct MetaPool {
    cursor: usize,
    end: usize,
    next_chunk: usize,
    /// Unused records by their lines.
    unused: [SpanList; MAX_LINES + 1],
    used: usize,
    mapped: usize,
}

impl MetaPool {
    /// A pool that has mapped nothing yet.
    pub(crate) const fn new() -> MetaPool {
        let unused = [const { SpanList::new() }; MAX_LINES + 1];
        MetaPool { cursor: 0, end: 0, next_chunk: FIRST_CHUNK, unused, used: 0, mapped: 0 }
    }

    /// Bytes handed out; those of unused records not counted.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes mapped from the system.
    pub(crate) fn mapped(&self) -> usize {
        self.mapped
    }

    /// `len` bytes of zeros at a multiple of `align`, a power of two; for ever.
    pub(crate) fn bytes(&mut self, system: &impl System, len: usize, align: usize) -> Option<usize> {
        let len = len.max(1).checked_next_multiple_of(16)?;
        if len > LAST_CHUNK / 16 || align > FIRST_CHUNK / 16 {
            return self.own_mapping(system, len, align);
        }
        if self.cut(len, align).is_none() {
            self.refill(system, len.max(align) + align)?;
        }
        let addr = self.cut(len, align)?;
        self.end_cut(addr, len);
        Some(addr)
    }

    /// A record with room for `words` bitmap words, all fields zero but the state `Unused`.
    pub(crate) fn record(&mut self, system: &impl System, words: usize) -> Option<SpanRef> {
        debug_assert!(words <= MAX_WORDS);
        let lines = 1 + words.div_ceil(LINE_WORDS);
        if let Some(span) = self.unused[lines].pop() {
            self.used += lines * LINE;
            return Some(span);
        }
        let addr = self.bytes(system, lines * LINE, LINE)?;
        SpanRef::make(addr, lines)
    }

    /// Takes back a record that is in no list and in no page map entry.
    pub(crate) fn recycle(&mut self, span: SpanRef) {
        span.reset();
        debug_assert!(span.state() == SpanState::Unused);
        self.used -= span.lines() * LINE;
        self.unused[span.lines()].push(span);
    }

    /// Where `len` bytes at `align` would lie in the present chunk.
    fn cut(&self, len: usize, align: usize) -> Option<usize> {
        let addr = self.cursor.checked_next_multiple_of(align)?;
        (self.cursor != 0 && addr.checked_add(len)? <= self.end).then_some(addr)
    }

    fn end_cut(&mut self, addr: usize, len: usize) {
        self.used += len;
        self.cursor = addr + len;
    }

    /// Begins a new chunk of at least `least` bytes; a smaller one where the usual size is refused.
    fn refill(&mut self, system: &impl System, least: usize) -> Option<()> {
        let os_page = system.os_page_size();
        let least = least.next_multiple_of(os_page);
        let size = self.next_chunk.next_multiple_of(os_page).max(least);
        let (addr, size) = match system.map(size) {
            Ok(addr) => (addr, size),
            Err(_) => (system.map(least).ok()?, least),
        };
        self.mapped += size;
        // Mappings often lie side by side: then the rest of the old chunk stays of use.
        if addr != self.end || self.end == 0 {
            self.cursor = addr;
        }
        self.end = addr + size;
        self.next_chunk = (self.next_chunk * 2).min(LAST_CHUNK);
        Some(())
    }

    fn own_mapping(&mut self, system: &impl System, len: usize, align: usize) -> Option<usize> {
        let os_page = system.os_page_size();
        let len = len.checked_next_multiple_of(os_page)?;
        let slack = align.saturating_sub(os_page);
        let mapped = system.map(len.checked_add(slack)?).ok()?;
        let addr = mapped.next_multiple_of(align);
        for (from, to) in [(mapped, addr), (addr + len, mapped + len + slack)] {
            if from < to {
                // SAFETY: an end of the mapping just made, unseen by anybody.
                let kept = unsafe { system.release(from, to - from) }.is_err();
                self.mapped += if kept { to - from } else { 0 };
            }
        }
        self.mapped += len;
        self.used += len;
        Some(addr)
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
    fn bytes_are_aligned_zero_and_apart() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let mut ranges = Vec::new();
        for (len, align) in
            [(1, 1), (100, 64), (5000, 4096), (1 << 20, 64), (100, 1 << 16), (64, 64)].repeat(20)
        {
            let addr = pool.bytes(&system, len, align).unwrap();
            assert_eq!(addr % align, 0);
            // SAFETY: the pool has just handed out these bytes, and this is their only user.
            let bytes = unsafe {
                core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut::<u8>(addr), len)
            };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(1);
            ranges.push((addr, addr + len));
        }
        ranges.sort();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(pool.used() <= pool.mapped());
    }

    #[test]
    fn a_refusal_leaves_the_pool_usable() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        system.refuse_all(true);
        assert!(pool.record(&system, 64).is_none());
        assert!(pool.bytes(&system, 1 << 20, 64).is_none());
        assert_eq!((pool.used(), pool.mapped()), (0, 0));
        system.refuse_all(false);
        assert!(pool.record(&system, 64).is_some());
    }
}
