//! Which live samples nothing leads to any more: a conservative search, as a collector's that does not know where pointers are
//! (H.-J. Boehm, M. Weiser, 1988).
//!
//! It begins with all writable private memory that is not the heap's: static data, stacks, thread-local storage, what the program
//! mapped itself. Every word there that could be an address in a live block reaches the block, whose words are looked at in
//! turn. What an integer or an old word on a stack happens to point at counts as reached: so what is found lost is lost, but for addresses that are
//! kept only in another thread's registers, in memory shared with other processes, or not as such.
//!
//! The process goes on meanwhile. Nothing is held up but for the memory of records, which stays. The kernel copies what is looked at: a page that
//! another thread unmaps or guards just then is passed over.
//!
//! # Safety
//!
//! - P1 of `pageheap/span.rs` for records that are others' meanwhile.
#![allow(unsafe_code)]

use freestone_base::class_info;
use freestone_sys::linux;
use freestone_sys::linux::debugging::read_memory;
use freestone_sys::linux::mappings::{Detail, mappings};
use freestone_sys::linux::scratch::Zeroed;

use super::TABLE;
use super::array::{Array, Word};
use super::table::Sum;
use crate::cache::cpu;
use crate::gate;
use crate::pageheap::SpanRef;
use crate::slow::{self, CENTRALS, LEVELS};
use crate::sync::atomic::Ordering;

/// The smallest OS page.
const PAGE: usize = 4096;
/// Spans looked at in one step.
const STEP: usize = 64;
/// Ranges of the allocator's own that are no roots.
const OWN: usize = 64;

/// A range of addresses to be looked through.
#[derive(Clone, Copy)]
struct Range {
    from: usize,
    to: usize,
}

// SAFETY: numbers, of which zero is one.
unsafe impl Zeroed for Range {}

struct Search {
    /// The heap's addresses.
    window: Range,
    /// The large blocks, by address: the page map knows only where they begin and end.
    large: Array<Range>,
    /// A bit for every eight bytes of the heap: a block that begins there was reached.
    reached: Array<Word>,
    /// Blocks that were reached and not looked through yet.
    waiting: Array<Range>,
    waiting_len: usize,
    /// Memory was refused.
    failed: bool,
}

/// Whether the system copies a process's memory for it, which a filter of system calls may forbid.
fn can_read() -> bool {
    let here = [1u8];
    read_memory(here.as_ptr().addr(), &mut [0]) == 1
}

/// Looks for what nothing leads to and sums it up by site; false when there is no memory for that, or it cannot be read. O(memory in use).
pub(super) fn find() -> bool {
    if !can_read() {
        return false;
    }
    let Some(inside) = gate::enter_patiently() else { return false };
    // What lies free in a cache would look like a block in use, and lead to what its last owner left there.
    slow::empty_caches();
    drop(inside);
    let (from, to) = LEVELS.pages.window();
    let mut search = Search {
        window: Range { from, to },
        large: Array::new(),
        reached: Array::new(),
        waiting: Array::new(),
        waiting_len: 0,
        failed: false,
    };
    if !search.reached.set_zeros((to - from) / 512 + 1) {
        return false;
    }
    LEVELS.pages.keep_records();
    search.list_large();
    search.roots();
    LEVELS.pages.release_records();
    let found = !search.failed && search.note();
    search.large.clear();
    search.reached.clear();
    search.waiting.clear();
    found
}

/// The addresses of the caller's frame: what lies below on the stack is dead.
#[inline(always)]
fn stack_pointer() -> usize {
    let mark = 0usize;
    core::ptr::from_ref(core::hint::black_box(&mark)).addr()
}

impl Search {
    fn list_large(&mut self) {
        let mut next = Some(0);
        while let Some(from) = next {
            let mut seen = [None; STEP];
            let Some(inside) = gate::enter_patiently() else {
                self.failed = true;
                return;
            };
            let (count, on) = LEVELS.pages.census(from, &mut seen);
            drop(inside);
            next = on;
            for seen in seen[..count].iter().flatten().filter(|seen| seen.state.is_large()) {
                let from = seen.span.first_block();
                let to = from.saturating_add(seen.span.usable_bytes());
                self.failed |= !self.large.extend(&[Range { from, to }]);
            }
        }
    }

    /// The large block that an address lies in.
    fn large_around(&self, addr: usize) -> Option<(usize, usize)> {
        let behind = self.large.partition_point(|block| block.from <= addr);
        let block = self.large.get(behind.checked_sub(1)?)?;
        (addr < block.to).then_some((block.from, block.to))
    }

    fn roots(&mut self) {
        let sp = stack_pointer();
        let mut roots: Array<Range> = Array::new();
        let mut buffer = [0; PAGE];
        mappings(&mut buffer, Detail::Ranges, |mapping| {
            let [read, write, _, shared] = mapping.permissions;
            if read && write && !shared {
                let from = if (mapping.start..mapping.end).contains(&sp) { sp & !7 } else { mapping.start };
                self.failed |= !roots.extend(&[Range { from, to: mapping.end }]);
            }
        });
        let own = self.own_ranges(roots.range());
        for &root in roots.iter() {
            // Less what is the allocator's own: sorted ranges, cut out one after the other.
            let mut from = root.from;
            for cut in &own {
                if cut.to > from && cut.from < root.to {
                    self.look_through(Range { from, to: cut.from.max(from) });
                    from = cut.to;
                }
            }
            self.look_through(Range { from, to: root.to });
        }
        roots.clear();
    }

    /// The heap, and what the allocator knows of it, from the lowest to the highest.
    fn own_ranges(&self, roots: (usize, usize)) -> [Range; OWN] {
        let nothing = Range { from: usize::MAX, to: usize::MAX };
        let mut own = [nothing; OWN];
        let mut places = own.iter_mut();
        let mut add = |(from, to): (usize, usize)| {
            if from < to
                && let Some(place) = places.next()
            {
                *place = Range { from, to };
            }
        };
        let mut records = [(0, 0); 32];
        let count = LEVELS.pages.record_ranges(&mut records);
        add((self.window.from, self.window.to));
        add(cpu::memory());
        add(linux::first_memory());
        LEVELS.pages.map_ranges().into_iter().for_each(&mut add);
        if let Some(inside) = gate::enter_patiently() {
            super::memory().into_iter().for_each(&mut add);
            drop(inside);
        }
        // What this search notes would lead to everything.
        [roots, self.reached.range(), self.large.range()].into_iter().for_each(&mut add);
        let levels = core::ptr::from_ref(&LEVELS).addr();
        add((levels, levels + size_of_val(&LEVELS)));
        let centrals = core::ptr::from_ref(&CENTRALS).addr();
        add((centrals, centrals + size_of_val(&CENTRALS)));
        records[..count].iter().copied().for_each(&mut add);
        own.sort_unstable_by_key(|range| range.from);
        own
    }

    /// Looks at every word of a range, and of the blocks that it leads to.
    fn look_through(&mut self, range: Range) {
        self.words(range);
        while self.waiting_len > 0 {
            self.waiting_len -= 1;
            let block = self.waiting[self.waiting_len];
            self.words(block);
        }
    }

    fn words(&mut self, range: Range) {
        let mut page = [0; PAGE];
        let mut at = range.from.next_multiple_of(8);
        while at < range.to {
            let end = range.to.min((at & !(PAGE - 1)) + PAGE);
            let copied = read_memory(at, &mut page[..end - at]);
            for word in page[..copied].as_chunks().0 {
                let word = usize::from_ne_bytes(*word);
                if word.wrapping_sub(self.window.from) < self.window.to - self.window.from {
                    self.reach(word);
                }
            }
            at = end.next_multiple_of(8);
        }
    }

    /// Notes the block that an address leads into.
    fn reach(&mut self, addr: usize) {
        let in_slab = LEVELS.pages.page_map().span_of(addr).and_then(|span| block_around(span, addr));
        let Some((from, to)) = in_slab.or_else(|| self.large_around(addr)) else { return };
        let bit = from.wrapping_sub(self.window.from) / 8;
        let Some(word) = self.reached.get_mut(bit / 64) else { return };
        if word.0 >> (bit % 64) & 1 != 0 {
            return;
        }
        word.0 |= 1 << (bit % 64);
        let block = Range { from, to };
        if let Some(place) = self.waiting.get_mut(self.waiting_len) {
            *place = block;
        } else if !self.waiting.extend(&[block]) {
            self.failed = true;
            return;
        }
        self.waiting_len += 1;
    }

    fn is_reached(&self, addr: usize) -> bool {
        let bit = addr.wrapping_sub(self.window.from) / 8;
        // What came after the search began is not lost.
        self.reached.get(bit / 64).is_none_or(|word| word.0 >> (bit % 64) & 1 != 0)
    }

    /// Sums the samples up that were not reached.
    fn note(&self) -> bool {
        let Some(inside) = gate::enter_patiently() else { return false };
        let mut table = TABLE.lock();
        let (blocks, sites) = table.blocks_and_sites();
        sites.iter_mut().for_each(|site| site.lost = Sum::default());
        for block in blocks.iter().filter(|block| block.addr != 0 && !self.is_reached(block.addr)) {
            sites[block.site as usize].lost.add(block.weight, block.size);
        }
        drop(table);
        drop(inside);
        true
    }
}

/// The block of a slab that an address lies in, if it is in use: from a start to an end.
fn block_around(span: SpanRef, addr: usize) -> Option<(usize, usize)> {
    let first = span.first_block();
    let distance = addr.checked_sub(first)?;
    let info = class_info(span.class());
    let size = info.size as usize;
    if !span.state().is_slab() || size == 0 || distance >= span.blocks() * size {
        return None;
    }
    let number = info.block_at(distance);
    let free = span.bitmap().get(number / 64)?.load(Ordering::Relaxed);
    let from = first + number * size;
    (free >> (number % 64) & 1 == 0).then_some((from, from + size))
}
