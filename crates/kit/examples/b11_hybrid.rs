//! B11: mixed strategies from parts: small here and large there, first this and then that, and the named hybrid.
//!
//! # Safety
//!
//! Every block is freed once, with the layout that it was allocated with.
#![allow(unsafe_code)]

use core::alloc::Layout;
use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::fallback::Fallback;
use freestone_kit::memory_pool::MemoryPool;
use freestone_kit::page::Page;
use freestone_kit::segregate::{Segregate, hybrid};
use freestone_kit::{Alloc, AllocError, Stats};

fn main() -> Result<(), AllocError> {
    println!("Segregate<1000, C, Page>");
    let both = Segregate::<1000, _, _>::new(Counting::new(C), Counting::new(Page));
    let mut blocks = Vec::new();
    for size in [10, 1000, 1001, 100_000] {
        let layout = Layout::from_size_align(size, 8).map_err(|_| AllocError)?;
        blocks.push((both.allocate(layout)?, layout));
        let (small, large) = (both.small().stats().live_blocks, both.large().stats().live_blocks);
        println!("  {size:>6} B: small {small}, large {large}");
    }
    for (block, layout) in blocks {
        // SAFETY: a live block with its layout.
        unsafe { both.deallocate(block.cast(), layout) };
    }

    println!("Fallback<a pool of three, C>");
    let pool = MemoryPool::<[u8; 64], _, 1, false>::preheated(C, 3)?;
    let both = Fallback::new(pool, Counting::new(C));
    let layout = Layout::new::<[u8; 50]>();
    let mut blocks = Vec::new();
    for _ in 0..5 {
        blocks.push(both.allocate(layout)?);
    }
    println!("  of 5: pool {}, C {}", both.primary().live(), both.secondary().stats().live_blocks);
    for block in blocks {
        // SAFETY: a live block with its layout.
        unsafe { both.deallocate(block.cast(), layout) };
    }
    println!("  freed: pool {}, C {}", both.primary().live(), both.secondary().stats().live_blocks);

    println!("Hybrid<Page>");
    let pages = Counting::new(Page);
    let alloc = hybrid(&pages);
    for (size, align) in
        [(1, 1), (24, 8), (100, 16), (200, 8), (24, 64), (5000, 8), (100_000, 8), (200_000, 8)]
    {
        let layout = Layout::from_size_align(size, align).map_err(|_| AllocError)?;
        let block = alloc.allocate(layout)?;
        let from_128 = alloc.large().large().large();
        let bins = from_128.large().large().small();
        let live = |live: usize, name| (live > 0).then_some(name);
        let from = live(alloc.small().live(), "pool of 16")
            .or(live(alloc.large().small().live(), "pool of 32"))
            .or(live(alloc.large().large().small().live(), "pool of 64"))
            .or(live(from_128.small().live(), "pool of 128"))
            .or(live(from_128.large().small().live(), "pool of 256"))
            .or(live(bins.stats().live_blocks, "bins"))
            .unwrap_or("pages");
        println!("  {size:>6} B, align {align:>2}: {from}");
        // SAFETY: a live block with its layout.
        unsafe { alloc.deallocate(block.cast(), layout) };
    }
    drop(alloc);
    println!("  blocks of the parent at the end: {}", pages.stats().live_blocks);
    Ok(())
}
