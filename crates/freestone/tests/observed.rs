//! The observed mode: turned on and off in a running process, while threads allocate and free in every way there is.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

use freestone::{Freestone, profile};

#[global_allocator]
static GLOBAL: Freestone = Freestone;

/// Allocates and frees blocks of all sizes, by size and by address, grows and shrinks them, and checks what they hold.
fn churn(seed: usize, stop: &AtomicBool) {
    let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
    let mut state = seed as u64 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let check = |block: *mut u8, size: usize, mark: u8| {
        // SAFETY: a live block of ours, at least one byte.
        let first = unsafe { block.read() };
        let last = block.wrapping_add(size - 1);
        // SAFETY: its last byte.
        let last = unsafe { last.read() };
        assert_eq!((first, last), (mark, mark), "{size}");
    };
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..200 {
            let size = 1 + next() % [60, 300, 5000, 40_000, 600_000][next() % 5];
            let layout = Layout::from_size_align(size, 1 << (next() % 8)).unwrap();
            let block = if next() % 4 == 0 {
                // SAFETY: the layout is not empty.
                unsafe { GLOBAL.alloc_zeroed(layout) }
            } else {
                // SAFETY: as above.
                unsafe { GLOBAL.alloc(layout) }
            };
            assert!(block.addr().is_multiple_of(layout.align()));
            let mark = next() as u8;
            // SAFETY: ours, not shared.
            unsafe { block.write_bytes(mark, size) };
            live.push((block, layout, mark));
        }
        while live.len() > 300 {
            let (mut block, mut layout, mark) = live.swap_remove(next() % live.len());
            check(block, layout.size(), mark);
            if next() % 3 == 0 {
                let size = 1 + next() % (2 * layout.size());
                // SAFETY: a live block of this layout.
                block = unsafe { GLOBAL.realloc(block, layout, size) };
                assert!(!block.is_null());
                // SAFETY: live, at least one byte.
                assert_eq!(unsafe { block.read() }, mark);
                layout = Layout::from_size_align(size, layout.align()).unwrap();
            }
            if next() % 2 == 0 {
                // SAFETY: live, not used again.
                unsafe { freestone::raw::free(block) };
            } else {
                // SAFETY: as above.
                unsafe { GLOBAL.dealloc(block, layout) };
            }
        }
    }
    for (block, layout, mark) in live {
        check(block, layout.size(), mark);
        // SAFETY: live, not used again.
        unsafe { GLOBAL.dealloc(block, layout) };
    }
}

#[test]
fn sampling_is_turned_on_and_off_under_load() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let stop = &stop;
            scope.spawn(move || churn(thread + 1, stop));
        }
        for round in 0..30 {
            // From every other block to hardly one.
            profile::start([1, 100, 10_000, 500_000][round % 4]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            if round % 3 == 0 {
                freestone::verify().unwrap();
                let mut text = String::new();
                profile::write(&mut text).unwrap();
                assert!(text.lines().last().unwrap().starts_with("end "));
            }
            profile::stop();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
    });
    freestone::verify().unwrap();
    // There is one profile in a process, so these come one after the other.
    what_is_freed_by_its_size_is_heard_of();
    lost_blocks_are_searched_for_while_memory_comes_and_goes();
}

/// Samples, and those of them that live, of all call sites.
fn samples() -> [u64; 2] {
    let mut text = String::new();
    profile::write(&mut text).unwrap();
    let sites = text.lines().filter_map(|line| line.strip_prefix("site "));
    sites.fold([0; 2], |[all, live], site| {
        let mut words = site.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap());
        [all + words.next().unwrap(), live + words.next().unwrap()]
    })
}

/// Such frees are not noticed when they are made.
fn what_is_freed_by_its_size_is_heard_of() {
    let blocks = || -> Vec<Box<[u8; 200]>> { (0..5000).map(|n| Box::new([n as u8; 200])).collect() };
    profile::start(200).unwrap();
    let kept = blocks();
    let [all, live] = samples();
    // 3,170 are expected, give or take 34; no countdown of an earlier profile goes on.
    assert!(all > 2900 && live > 2900, "{all} {live}");
    drop(kept);
    let [all, live] = samples();
    assert!(all > 2900 && live < 100, "{all} {live}");
    freestone::verify().unwrap();
    // Those that live on are followed when the profile has ended.
    let kept = blocks();
    profile::stop();
    drop(kept);
    let [_, live] = samples();
    assert!(live < 100, "{live}");
    freestone::verify().unwrap();
}

/// The search for lost blocks looks at all memory, whatever other threads do with theirs meanwhile.
fn lost_blocks_are_searched_for_while_memory_comes_and_goes() {
    const PAGES: usize = 16 * 4096;
    profile::start(10_000).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (access, flags) =
                        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                    // SAFETY: a new mapping.
                    let at = unsafe { libc::mmap(std::ptr::null_mut(), PAGES, access, flags, -1, 0) };
                    assert_ne!(at, libc::MAP_FAILED);
                    // SAFETY: mapped just now.
                    unsafe { at.cast::<u8>().write_bytes(1, PAGES) };
                    // SAFETY: not used again.
                    unsafe { libc::munmap(at, PAGES) };
                }
            });
        }
        for _ in 0..20 {
            let mut text = String::new();
            profile::write_with_lost(&mut text).unwrap();
            assert!(text.contains("\nreachability "));
        }
        stop.store(true, Ordering::Relaxed);
    });
    profile::stop();
}
