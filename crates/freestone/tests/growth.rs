//! A heap that grows though much of it is free in slabs. In a process of its own: the figures are the process's.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::with_exposed_provenance_mut;

use freestone::{Freestone, Options};

/// No thread of the allocator's own, which would come at some time or other.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"background:0,cache:auto,harden:0");

/// The address of a block that was written to.
fn block(layout: Layout) -> usize {
    // SAFETY: the size is not zero.
    let block = unsafe { Freestone.alloc(layout) };
    assert!(!block.is_null());
    // SAFETY: a new block of so many bytes.
    unsafe { block.write_bytes(1, layout.size()) };
    block.expose_provenance()
}

fn free(block: usize, layout: Layout) {
    // SAFETY: allocated with this layout, and not used again.
    unsafe { Freestone.dealloc(with_exposed_provenance_mut(block), layout) };
}

#[test]
fn slabs_that_only_cached_blocks_hold_serve_what_grows_and_others_leave_caches_alone() {
    // Where there are threads, as in a test, caches are not emptied by a caller before they were stopped once.
    freestone::raw::trim();
    let (small, long) = (Layout::new::<[u8; 100]>(), Layout::new::<[u8; 20_000]>());
    let mut blocks: Vec<usize> = (0..100_000).map(|_| block(small)).collect();
    let mut state = 1usize;
    for last in (1..blocks.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        blocks.swap(last, (state >> 33) % last);
    }
    blocks.into_iter().for_each(|block| free(block, small));
    let mut json = String::new();
    freestone::ledger::write_json(&mut json).unwrap();
    if !json.contains("\"cache\":\"cpu\"") {
        return freestone_testkit::skipped(format_args!(
            "no caches of CPUs here, and those of threads are not emptied"
        ));
    }
    let held = freestone::stats().pages.slabs;
    assert!(held > 8 << 20, "{held}: a look came in between");
    let mapped = freestone::stats().pages.mapped;
    let long_blocks: Vec<usize> = (0..600).map(|_| block(long)).collect();
    let stats = freestone::stats();
    // 12 MB more, most of them where the 11 MB were.
    assert!(stats.pages.mapped < mapped + (6 << 20), "{:?}, before {mapped} mapped", stats.pages);
    long_blocks.into_iter().for_each(|block| free(block, long));

    // Where live blocks hold the slabs, no slab would become whole, and the caches of a loop stay what they are.
    let mut blocks: Vec<usize> = (0..200_000).map(|_| block(small)).collect();
    for last in (1..blocks.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        blocks.swap(last, (state >> 33) % last);
    }
    blocks.drain(60_000..).for_each(|block| free(block, small));
    let turn = || {
        let some: Vec<usize> = (0..500).map(|_| block(small)).collect();
        some.into_iter().for_each(|block| free(block, small));
    };
    (0..50).for_each(|_| turn());
    let cached = freestone::stats().cached_blocks;
    let huge = Layout::new::<[u8; 300_000]>();
    let long_blocks: Vec<usize> = (0..20).map(|_| block(huge)).collect();
    let kept = freestone::stats().cached_blocks;
    assert!(kept > cached / 2 && cached > 200, "{kept} of {cached}");
    long_blocks.into_iter().for_each(|block| free(block, huge));
    blocks.into_iter().for_each(|block| free(block, small));
    freestone::verify().expect("sound");
}
