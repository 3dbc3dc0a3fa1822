//! B5: lists of fixed-size blocks, open and closed, and the pool of them with a cookie before every block.
//!
//! # Safety
//!
//! Every block is given back once, to where it is from.
#![allow(unsafe_code)]

use core::alloc::Layout;
use freestone_kit::AllocError;
use freestone_kit::Stats;
use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::free_list::{FreeList, FreeLists};

fn main() -> Result<(), AllocError> {
    let heap = Counting::new(C);

    println!("one list, of blocks of 48 bytes");
    let mut list = FreeList::new(Layout::from_size_align(48, 16).map_err(|_| AllocError)?, &heap);
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(list.take()?);
    }
    println!("  closed: {}, open: {}", list.live(), list.blocks() - list.live());
    for session in sessions.drain(30..) {
        // SAFETY: it is out, and leaves the vector.
        unsafe { list.give(session) };
    }
    println!("  closed: {}, open: {}", list.live(), list.blocks() - list.live());
    println!(
        "  the closed list names them, the newest first: {}",
        list.out().eq(sessions.iter().rev().copied())
    );
    println!("  requests to the heap: {}", heap.stats().total_blocks);
    list.clear();
    println!("  closed after a clear: {}", list.live());
    drop(list);
    println!("  blocks of the heap after the list is gone: {}", heap.stats().live_blocks);

    println!("fourteen lists, and C's heap above");
    let large = Counting::new(C);
    let lists = FreeLists::with_large(&heap, &large);
    let mut blocks = Vec::new();
    for size in [1, 8, 9, 100, 1000, 10_000, 65_536, 65_537, 1_000_000] {
        let block = lists.malloc(size)?;
        // SAFETY: a live block.
        let served = unsafe { lists.size(block) };
        let from = if lists.list(size).is_some() { "a list" } else { "C" };
        println!("  {size:>9} B asked for, {served:>9} B served by {from}");
        blocks.push(block);
    }
    println!("  large blocks: {}", large.stats().live_blocks);
    // No size is needed: the cookie before each block knows whose it is.
    for block in blocks {
        // SAFETY: a live block, which leaves the vector.
        unsafe { lists.free(block) };
    }
    println!("  live after all were freed by address: {}", lists.stats().live_blocks);
    println!("  large blocks: {}", large.stats().live_blocks);
    Ok(())
}
