//! Giving back the OS pages of slabs on which no live block lies.
//!
//! A slab stays as long as one of its blocks lives; but nothing of the allocator's lies in free blocks, so any page that only free
//! blocks touch can go, and comes back as zeros when one of them is handed out. Swept are slabs that have been at rest for a
//! while, and sparse ones from which much came back, the emptiest first. Meanwhile nobody takes blocks from them: they count as being filled from, by nobody. Blocks
//! may come back to them at any time: that only makes more bits say "free". Slabs that stay with their class though they are whole
//! go by demand (`whole.rs`).

use freestone_base::{ClassId, class_info};

use super::{BUCKETS, Central, SlabSource, State, WHOLE, bucket_of};
use crate::pageheap::{SpanList, SpanRef};
use crate::sync::atomic::Ordering;

/// Slabs below this bucket (more than three quarters live) are not worth it.
const LEAST_BUCKET: usize = 2;
/// From this bucket on (three eighths live) a slab is not waited for to come to rest: others are filled before it.
const SPARSE_BUCKET: usize = 5;
/// Slabs taken from the lists at a time.
const BATCH: usize = 32;

/// What a sweep may cost, and what is left of it.
pub(crate) struct Effort {
    /// Slabs to look at.
    pub(crate) slabs: usize,
    /// Calls of the system; a slab that was begun is swept to its end.
    pub(crate) calls: usize,
    /// Whole slabs that were in use lately go, too.
    pub(crate) wanted: bool,
    /// Huge pages may be broken.
    pub(crate) breaks: bool,
}

impl Central {
    /// Sweeps slabs that were at rest since they were looked at last; the bytes that went back.
    pub(crate) fn sweep(&self, class: ClassId, source: &impl SlabSource, effort: &mut Effort) -> usize {
        let mut purged = 0;
        while effort.slabs > 0 && effort.calls > 0 {
            let mut picked = self.state.lock().pick(source, effort);
            if picked.is_empty() {
                break;
            }
            let mut swept = SpanList::new();
            while let Some(span) = picked.pop() {
                if effort.calls > 0 {
                    let free = span.free_blocks();
                    purged += sweep_slab(class, source, span, effort);
                    // Blocks that came back meanwhile may have been missed.
                    span.set_swept(span.free_blocks() == free);
                }
                swept.push(span);
            }
            let mut state = self.state.lock();
            while let Some(span) = swept.pop() {
                span.end_filling();
                state.file_swept(source, span);
            }
        }
        purged
    }
}

impl State {
    /// Takes slabs out of the lists that are at rest, a batch at most; marks them as being filled from.
    fn pick(&mut self, source: &impl SlabSource, effort: &mut Effort) -> SpanList {
        let mut picked = SpanList::new();
        let mut left = BATCH;
        while left > 0
            && effort.slabs > 0
            && !self.partial[WHOLE].is_empty()
            && self.whole.pick(effort.wanted)
            && let Some(span) = self.partial[WHOLE].pop()
        {
            effort.slabs -= 1;
            span.begin_filling();
            picked.push(span);
            left -= 1;
        }
        for bucket in (LEAST_BUCKET..BUCKETS).rev() {
            let mut young = SpanList::new();
            while left > 0
                && effort.slabs > 0
                && let Some(span) = self.partial[bucket].pop()
            {
                effort.slabs -= 1;
                let is_ripe = span.is_ripe(bucket >= SPARSE_BUCKET);
                if is_ripe && (effort.breaks || !source.is_in_huge_page(span)) {
                    span.begin_filling();
                    picked.push(span);
                    left -= 1;
                } else {
                    young.push(span);
                }
            }
            while let Some(span) = young.pop() {
                self.partial[bucket].push(span);
            }
        }
        picked
    }

    /// Files a slab that was picked.
    fn file_swept(&mut self, source: &impl SlabSource, span: SpanRef) {
        match bucket_of(span, class_info(span.class())) {
            Some(bucket) if span.is_swept() => {
                self.swept[bucket].push(span);
                if bucket == WHOLE {
                    self.whole.come_swept();
                }
            }
            _ => {
                span.set_swept(false);
                self.file(source, span, None);
            }
        }
    }
}

/// Gives back each run of OS pages that no live block touches.
fn sweep_slab(class: ClassId, source: &impl SlabSource, span: SpanRef, effort: &mut Effort) -> usize {
    let size = class_info(class).size as usize;
    let (first, blocks, end) = (span.first_block(), span.blocks(), span.start() + span.bytes());
    let os_page = source.os_page_size();
    let mut purged = 0;
    let mut block = 0;
    while let Some((from, to)) = next_run(span, block) {
        let start = if from == 0 { span.start() } else { first + from * size };
        let start = start.next_multiple_of(os_page);
        // Also at the slab's end: an OS page may be longer than ours, and the system would take what lies behind.
        let end = (if to == blocks { end } else { first + to * size }) / os_page * os_page;
        if start < end {
            effort.calls = effort.calls.saturating_sub(1);
            if source.purge_pages(span, start, end - start) {
                purged += end - start;
            }
        }
        block = to;
    }
    purged
}

/// The first run of free blocks from `block` on: its first block, and the first that is live or none any more.
fn next_run(span: SpanRef, block: usize) -> Option<(usize, usize)> {
    let from = find(span, block, 0)?;
    Some((from, find(span, from, u64::MAX).unwrap_or(span.blocks())))
}

/// The first block from `block` on whose free bit, turned over by `flip`, is set.
fn find(span: SpanRef, block: usize, flip: u64) -> Option<usize> {
    let bitmap = span.bitmap();
    let mut skip = u64::MAX << (block % 64);
    for (index, word) in bitmap.iter().enumerate().skip(block / 64) {
        let bits = (word.load(Ordering::Relaxed) ^ flip) & skip;
        if bits != 0 {
            let found = index * 64 + bits.trailing_zeros() as usize;
            return (found < span.blocks()).then_some(found);
        }
        skip = u64::MAX;
    }
    None
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
