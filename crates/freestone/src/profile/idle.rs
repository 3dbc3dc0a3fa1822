//! Which live samples nobody touches: a cache that nobody asks, a table that was built and forgotten.
//!
//! The processor notes in the page tables which pages are read or written. The kernel gives that away for each mapping, so a few
//! pages of each live sample are made mappings of their own for a while (`linux::referenced`); then all notes are dropped, and
//! whoever asks later finds what was touched since. Samples lie in slabs of their own, so what shares a page
//! with a small one is another sample, and the program pays nothing but for the page tables' notes, which the processor makes anew.
//!
//! What is found idle was not touched, not even by a read. A small block that shares its page with one that was touched is not
//! found, nor is anything where the kernel looked at the notes itself because it is short of memory and they are few.

use freestone_sys::linux;
use freestone_sys::linux::mappings::{Detail, mappings};
use freestone_sys::linux::referenced::{Apart, forget_references, set_apart};

use super::TABLE;
use super::array::{Array, Word};
use super::table::{Block, Sum};
use crate::gate;
use crate::slow::LEVELS;
use crate::sync::Lock;

/// Pages of a block that are watched, spread over it evenly.
const OF_BLOCK: usize = 8;
/// Pages that are watched at most: each is a mapping with another behind it, and a process may have 65,530.
const MOST: usize = 12_288;
/// What is noted of a page, in the bit below its address: it is resident and was not touched.
const IDLE: usize = 1;

/// The pages that are set apart, in the order of their addresses.
struct Watch {
    pages: Array<Word>,
    since_ns: u64,
}

static WATCH: Lock<Watch> = Lock::new(Watch { pages: Array::new(), since_ns: 0 });

/// The OS pages of a block that are watched, in order.
fn pages_of(block: &Block) -> impl Iterator<Item = usize> {
    let page = LEVELS.pages.os_page_size();
    let first = block.addr & !(page - 1);
    let count = (block.addr + block.size.max(1) - first).div_ceil(page);
    let watched = count.min(OF_BLOCK);
    (0..watched).map(move |n| first + n * count / watched * page)
}

/// Begins to watch which of the profile's live blocks are touched from now on; [`write_with_idle`](super::write_with_idle) tells. What was
/// watched before begins anew. Returns how many OS pages are watched, `None` where the kernel tells of none. O(samples) system
/// calls and O(page tables), some ms for a GiB.
pub fn watch() -> Option<usize> {
    end();
    let inside = gate::enter_patiently()?;
    let mut watch = WATCH.lock();
    let table = TABLE.lock();
    let all: usize = table.live_blocks().map(|block| pages_of(block).count()).sum();
    // Blocks are left out evenly where there are too many; they lie in the order of a hash.
    let every = all.div_ceil(MOST).max(1);
    for block in table.live_blocks().step_by(every) {
        for page in pages_of(block) {
            if !watch.pages.extend(&[Word(page)]) {
                break;
            }
        }
    }
    drop(table);
    watch.pages.sort_unstable_by_key(|word| word.0);
    watch.since_ns = linux::monotonic_ns();
    drop(watch);
    drop(inside);
    let size = LEVELS.pages.os_page_size();
    let (mut before, mut kind, mut count) = (0, Apart::Odd, 0);
    each_page(|page| {
        // Several blocks may lie on one.
        if page != before {
            before = page;
            kind = if kind == Apart::Odd { Apart::Even } else { Apart::Odd };
            set_apart(page, size, kind);
            count += 1;
        }
    });
    if forget_references() {
        return Some(count);
    }
    end();
    None
}

/// Sums up by site what was not touched, ends the watch, and returns how long it was, in nanoseconds; `None` if there was none.
pub(super) fn find() -> Option<u64> {
    let size = LEVELS.pages.os_page_size();
    let mut buffer = [0; 4096];
    mappings(&mut buffer, Detail::Sizes, |mapping| {
        if mapping.end - mapping.start == size && mapping.resident > 0 && mapping.referenced == 0 {
            note_idle(mapping.start);
        }
    });
    let inside = gate::enter_patiently()?;
    let watch = WATCH.lock();
    if watch.pages.is_empty() {
        return None;
    }
    let ns = linux::monotonic_ns().saturating_sub(watch.since_ns);
    let mut table = TABLE.lock();
    let (blocks, sites) = table.blocks_and_sites();
    sites.iter_mut().for_each(|site| site.idle = Sum::default());
    // Those that were left out are stood for by those that were not.
    let (mut live, mut watched) = (0usize, 0usize);
    for block in blocks.iter().filter(|block| block.addr != 0) {
        live += 1;
        let found = |page: &usize| watch.pages.binary_search_by_key(page, |word| word.0 & !IDLE);
        let pages = pages_of(block).count();
        let told = pages_of(block).filter_map(|page| found(&page).ok()).map(|at| watch.pages[at].0 & IDLE);
        let (seen, idle) = told.fold((0, 0), |(seen, idle), is_idle| (seen + 1, idle + is_idle));
        if seen == pages {
            watched += 1;
            let part = idle as f64 / pages as f64;
            sites[block.site as usize].idle.add(block.weight * part, block.size);
        }
    }
    let scale = live as f64 / watched.max(1) as f64;
    for site in sites.iter_mut() {
        site.idle = Sum { objects: site.idle.objects * scale, bytes: site.idle.bytes * scale };
    }
    drop(table);
    drop(watch);
    drop(inside);
    end();
    Some(ns)
}

/// A page that is a mapping of its own, as those are that are watched, was not touched.
fn note_idle(page: usize) {
    let Some(inside) = gate::enter_patiently() else { return };
    let mut watch = WATCH.lock();
    let from = watch.pages.partition_point(|word| word.0 & !IDLE < page);
    for word in watch.pages.iter_mut().skip(from).take_while(|word| word.0 & !IDLE == page) {
        word.0 |= IDLE;
    }
    drop(watch);
    drop(inside);
}

/// Calls `visit` for each page that is watched, outside the gate: a fork does not wait for so many system calls.
fn each_page(mut visit: impl FnMut(usize)) {
    const STEP: usize = 64;
    let mut next = 0;
    loop {
        let mut pages = [0; STEP];
        let Some(inside) = gate::enter_patiently() else { return };
        let watch = WATCH.lock();
        let some = watch.pages.iter().skip(next).take(STEP);
        let count = some.zip(&mut pages).map(|(word, page)| *page = word.0 & !IDLE).count();
        drop(watch);
        drop(inside);
        if count == 0 {
            return;
        }
        pages[..count].iter().copied().for_each(&mut visit);
        next += count;
    }
}

/// The pages are as all others again.
fn end() {
    let size = LEVELS.pages.os_page_size();
    each_page(|page| set_apart(page, size, Apart::Not));
    if let Some(inside) = gate::enter_patiently() {
        WATCH.lock().pages.clear();
        drop(inside);
    }
}
