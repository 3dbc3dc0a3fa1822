//! B9: Doug Lea's bins in one thread, and in several through arenas.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation.
#![allow(unsafe_code)]

use freestone_kit::arenas::Arenas;
use freestone_kit::bins::Bins;
use freestone_kit::page::Page;
use freestone_kit::{Alloc, AllocError, Stats};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::mpsc;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("small")
}

fn bins() -> Result<(), AllocError> {
    let bins = Bins::new(Page);
    let take = |size| bins.allocate(bytes(size)).map(NonNull::cast::<u8>);
    // SAFETY: freed once.
    let free = |block, size| unsafe { bins.deallocate(block, bytes(size)) };

    let (a, b, c) = (take(100)?, take(300)?, take(100)?);
    let from_a = |block: NonNull<u8>| block.addr().get() - a.addr().get();
    println!("three blocks at 0, {}, {}; taken {}", from_a(b), from_a(c), bins.taken_bytes());
    free(b, 300);
    println!("300 freed: it waited, and is back at {}", from_a(take(300)?));
    free(b, 300);
    println!("freed again, and none waits: trimmed {}", bins.trim());
    let (d, e) = (take(40)?, take(40)?);
    println!("two of 40 beside each other in it, at {} and {}", from_a(d), from_a(e));

    let large = take(128 << 10)?;
    println!("128 KiB go to the parent: held {} KiB", bins.stats().held_bytes >> 10);
    free(large, 128 << 10);
    for (block, size) in [(a, 100), (d, 40), (e, 40), (c, 100)] {
        free(block, size);
    }
    println!("all freed; trimmed {} KiB, held {}", bins.trim() >> 10, bins.stats().held_bytes);
    Ok(())
}

fn arenas() {
    let arenas: Arenas<_, 2> = Arenas::from_fn(|_| Bins::new(Page));
    let live = || [0, 1].map(|n| arenas.with(n, |bins| bins.stats().live_blocks).unwrap_or(0));
    let take = || arenas.allocate(bytes(64)).ok().map(|block| block.cast::<u8>());

    let mut blocks = vec![take()];
    println!("one thread, one arena: {:?} blocks", live());
    // Another thread holds arena 0, so this one moves to arena 1, and stays there.
    let (holding, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let arenas = &arenas;
        scope.spawn(move || {
            arenas.with(0, |_| {
                let _ = holding.send(());
                let _ = released.recv();
            })
        });
        let _ = is_held.recv();
        blocks.push(take());
        drop(release);
    });
    blocks.push(take());
    println!("arena 0 was taken for a while: {:?} blocks, {:?}", live(), arenas.arenas_stats());
    for block in blocks.into_iter().flatten() {
        // SAFETY: freed once; each goes back to its own arena.
        unsafe { arenas.deallocate(block, bytes(64)) };
    }
    println!("freed, each to its own: {:?} blocks", live());
}

fn main() -> Result<(), AllocError> {
    bins()?;
    arenas();
    Ok(())
}
