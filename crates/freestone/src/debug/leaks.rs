//! At the end: live blocks that nothing leads to any more.
//!
//! A conservative search: every word of the program's writable memory that could be an address within a live block is taken for
//! one, and what such a block holds is searched in turn (Boehm and Weiser, 1988). So an unlucky number can hide a leak, but what
//! is told of is lost. Memory is read through the kernel: what other threads unmap meanwhile does no harm.

use core::fmt::Write;

use freestone_sys::linux::debugging::read_memory;
use freestone_sys::linux::mappings::{Detail, Mapping, MappingKind, mappings};
use freestone_sys::linux::residency::Residency;
use freestone_sys::linux::scratch::Scratch;
use freestone_sys::{Linux, System};

use super::report::Out;
use super::space::{self, Record, State};
use super::trace::{self, Stack};
use crate::slow::LEVELS;
use crate::sync::atomic::Ordering;

/// Stacks that are told apart; blocks of further ones are only counted.
const SITES: usize = 512;
/// Of a longer range only the pages are searched that were ever touched: programs reserve gigabytes.
const LONG: usize = 1 << 20;
/// Stacks that are told.
const TOLD: usize = 20;

/// Blocks that were lost from one place.
#[derive(Clone, Copy)]
struct Site {
    trace: u32,
    blocks: usize,
    bytes: usize,
}

/// Tells of all that was lost, the most bytes first.
pub(super) fn tell() {
    if !mark_what_is_reached() {
        return;
    }
    let mut sites = [Site { trace: 0, blocks: 0, bytes: 0 }; SITES];
    let (mut used, mut blocks, mut bytes) = (0, 0, 0);
    space::each_live(|_, record| {
        if record.mark.swap(0, Ordering::Relaxed) != 0 {
            return;
        }
        (blocks, bytes) = (blocks + 1, bytes + record.size());
        let (_, trace) = record.made();
        let known = sites[..used].iter().position(|site| site.trace == trace);
        let at = known.unwrap_or(used);
        if let Some(site) = sites.get_mut(at) {
            used = used.max(at + 1);
            *site = Site { trace, blocks: site.blocks + 1, bytes: site.bytes + record.size() };
        }
    });
    if blocks == 0 {
        return;
    }
    let sites = &mut sites[..used];
    sites.sort_unstable_by_key(|site| core::cmp::Reverse(site.bytes));
    let mut out = Out::new();
    let _ = writeln!(out, "freestone: leak: {bytes} bytes in {blocks} blocks that nothing leads to any more");
    for site in sites.iter().take(TOLD) {
        let _ = writeln!(out, "    {} bytes in {} blocks, allocated:", site.bytes, site.blocks);
        out.stack(&Stack::kept(site.trace));
    }
    if used > TOLD {
        let _ = writeln!(out, "    and from {} places more", used - TOLD);
    }
    out.flush();
}

/// Blocks that were reached and not searched yet, by their first pages: a stack in memory of its own.
struct Open {
    at: usize,
    len: usize,
    room: usize,
}

impl Open {
    const WORD: usize = size_of::<usize>();

    fn new(system: &Linux, room: usize) -> Option<Open> {
        let bytes = ((room + 1) * Open::WORD).next_multiple_of(space::page_bytes());
        let at = system.map(bytes).ok()?;
        Some(Open { at, len: 0, room: bytes / Open::WORD })
    }

    fn push(&mut self, page: usize) {
        if self.len < self.room {
            store(self.at + self.len * Open::WORD, page);
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<usize> {
        self.len = self.len.checked_sub(1)?;
        Some(load(self.at + self.len * Open::WORD))
    }

    fn range(&self) -> (usize, usize) {
        (self.at, self.at + self.room * Open::WORD)
    }
}

/// Marks every block that something leads to; false when the system does not let us look.
fn mark_what_is_reached() -> bool {
    let system = LEVELS.pages.system();
    let Some(mut open) = Open::new(system, space::live_pages()) else { return false };
    let [space, records, dead] = space::own_ranges();
    let [words, table] = trace::own_ranges();
    let Some(mut touched) = Scratch::<Residency>::map() else { return false };
    touched.begin_touched();
    let own = [space, records, dead, words, table, open.range(), touched.range()];
    // The stack below this frame is what earlier calls have left.
    let here = (&raw const open).addr();
    let mut line = [0; 1024];
    let read = mappings(&mut line, Detail::Ranges, |mapping| {
        if !holds_program_data(mapping) {
            return;
        }
        let start = if (mapping.start..mapping.end).contains(&here) { here } else { mapping.start };
        each_part(start, mapping.end, &own, |start, end| {
            search_touched(start, end, &mut touched, &mut open);
        });
        while let Some(page) = open.pop() {
            let record = space::record(page);
            search_touched(record.addr(), record.addr() + record.size(), &mut touched, &mut open);
        }
    });
    touched.end();
    let (start, end) = open.range();
    release(system, start, end - start);
    read
}

/// Calls `visit` with each part of a range that is none of ours. The kernel makes one mapping of neighbours that are alike, so what is the
/// program's may lie beside what is ours.
fn each_part(start: usize, end: usize, own: &[(usize, usize)], mut visit: impl FnMut(usize, usize)) {
    let mut at = start;
    while at < end {
        let next = own.iter().filter(|&&(from, to)| from < end && to > at).min();
        let (from, to) = next.copied().unwrap_or((end, end));
        if at < from {
            visit(at, from);
        }
        at = to;
    }
}

/// Readable, writable, private: data, heaps and stacks.
fn holds_program_data(mapping: &Mapping) -> bool {
    let [read, write, _, shared] = mapping.permissions;
    let kind = matches!(mapping.kind, MappingKind::Anonymous | MappingKind::Stack | MappingKind::File);
    read && write && !shared && kind
}

/// As [`search`], in what was touched where the range is long and the system tells.
fn search_touched(start: usize, end: usize, touched: &mut Residency, open: &mut Open) {
    if end - start < LONG || !touched.scans() {
        return search(start, end, open);
    }
    touched.each(start, end, |from, to| search(from, to, open));
}

/// Marks the blocks that words in a range lead to, and puts the new ones with those to be searched.
fn search(start: usize, end: usize, open: &mut Open) {
    let mut at = start.next_multiple_of(Open::WORD);
    let mut buffer = [0u8; 8192];
    while at < end {
        let want = (end - at).min(buffer.len());
        let got = read_memory(at, &mut buffer[..want]);
        for bytes in buffer[..got].chunks_exact(Open::WORD) {
            let word = usize::from_ne_bytes(bytes.try_into().unwrap_or_default());
            if space::owns(word)
                && let Some((page, record)) = reached(word)
                && record.mark.swap(1, Ordering::Relaxed) == 0
            {
                open.push(page);
            }
        }
        // What cannot be read is skipped, a page at a time.
        at = if got == want { at + want } else { (at + got + 1).next_multiple_of(space::page_bytes()) };
    }
}

/// The live block that an address leads to: its start, its inside or its end.
fn reached(addr: usize) -> Option<(usize, &'static Record)> {
    let (page, record) = space::block_at(addr)?;
    let within = (record.addr()..=record.addr() + record.size()).contains(&addr);
    (within && record.state() == State::Live).then_some((page, record))
}

fn store(at: usize, value: usize) {
    super::cell(at).store(value, Ordering::Relaxed);
}

fn load(at: usize) -> usize {
    super::cell(at).load(Ordering::Relaxed)
}

fn release(system: &Linux, at: usize, len: usize) {
    super::unmap(system, at, len);
}
