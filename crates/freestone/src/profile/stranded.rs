//! Stranded memory: the free bytes of slabs that cannot go back because some blocks in them live.
//!
//! A sample lies apart, in a span of watched blocks; what it would pin in an ordinary slab, its stand-in pins, a block of the same class that
//! was taken at the same moment and goes at the same moment (the proxy objects of TCMalloc's fragmentation profile). The free bytes of a slab
//! are charged in equal parts to its live blocks, so the parts of all blocks, estimated from the samples, add up to the free bytes of all slabs in use.
//! Of a swept slab the OS pages without live blocks went back; those of the others are charged page by page.

use freestone_base::class_info;

use super::table::{Block, Table};
use crate::central::slab;
use crate::pageheap::SpanRef;
use crate::slow::LEVELS;

/// Bytes that the block keeps from going back.
fn charged_to(block: &Block) -> f64 {
    let Some(span) = LEVELS.pages.page_map().span_of(block.proxy) else { return 0.0 };
    let (free, blocks) = (span.free_blocks(), span.blocks());
    if !span.state().is_slab() || free >= blocks {
        return 0.0;
    }
    if span.is_swept() {
        return on_its_pages(span, block.proxy);
    }
    let bytes = free * class_info(span.class()).size as usize;
    bytes as f64 / (blocks - free) as f64
}

/// The free bytes of the OS pages on which the block at `addr` lies, shared with the other live blocks there: what a swept slab still has.
fn on_its_pages(span: SpanRef, addr: usize) -> f64 {
    let (info, os_page) = (class_info(span.class()), LEVELS.pages.os_page_size());
    let (size, begin) = (info.size as usize, span.first_block());
    let end = begin + span.blocks() * size;
    let share_of = |page: usize| {
        let (from, to) = (page.max(begin), (page + os_page).min(end));
        let blocks = (from - begin) / size..=(to - 1 - begin) / size;
        let live =
            blocks.map(|block| begin + block * size).filter(|&block| !slab::is_free(span, info, block));
        let (count, bytes) = live.fold((0, 0), |(count, bytes), block| {
            (count + 1, bytes + (block + size).min(to) - block.max(from))
        });
        (to - from - bytes) as f64 / f64::from(count.max(1))
    };
    (addr & !(os_page - 1)..addr + size).step_by(os_page).map(share_of).sum()
}

impl Table {
    /// Charges free bytes to the sites of the live samples. The gate has been entered. O(samples).
    pub(super) fn charge_stranded(&mut self) {
        for site in self.sites.iter_mut() {
            site.stranded = 0.0;
        }
        let (blocks, sites) = self.blocks_and_sites();
        for block in blocks.iter().filter(|block| block.proxy != 0) {
            sites[block.site as usize].stranded += block.weight * charged_to(block);
        }
    }
}
