//! Stranded memory: the free bytes of slabs that cannot go back because some blocks in them live.
//!
//! A sample lies apart, in a span of watched blocks; what it would pin in an ordinary slab, its stand-in pins, a block of the same class that
//! was taken at the same moment and goes at the same moment (the proxy objects of TCMalloc's fragmentation profile). The free bytes of a slab
//! are charged in equal parts to its live blocks, so the parts of all blocks, estimated from the samples, add up to the free bytes of all slabs in use.

use freestone_base::class_info;

use super::table::{Block, Table};
use crate::slow::LEVELS;

/// Bytes that the block keeps from going back.
fn charged_to(block: &Block) -> f64 {
    let Some(span) = LEVELS.pages.page_map().span_of(block.proxy) else { return 0.0 };
    let (free, blocks) = (span.free_blocks(), span.blocks());
    // What was swept went back but for the pages of its live blocks.
    if !span.state().is_slab() || span.is_swept() || free >= blocks {
        return 0.0;
    }
    let bytes = free * class_info(span.class()).size as usize;
    bytes as f64 / (blocks - free) as f64
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
