//! Hardened mode and guarded blocks: what each misuse ends with, in a process of its own, and what of it is on by which option.
//!
//! # Safety
//!
//! The cases break the contracts of the functions they call; each does so in a child that is to end of it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use freestone::ledger::Line;
use freestone::{Freestone, raw};

/// Commits the fault that the variable names, if this is a child.
#[test]
fn commit() {
    let Some(case) = std::env::var_os("FREESTONE_TEST_FAULT") else { return };
    // The first request of all is served before there are options.
    let warm = raw::malloc(1);
    // SAFETY: live.
    unsafe { raw::free(warm) };
    let block = black_box(raw::malloc(100));
    let large = black_box(raw::malloc(1_000_000));
    let write = |at: *mut u8, byte: u8| {
        // SAFETY: none; see the file's head.
        unsafe { black_box(at).write_volatile(byte) }
    };
    let free = |at: *mut u8| {
        // SAFETY: as above.
        unsafe { raw::free(black_box(at)) }
    };
    match case.to_str().unwrap() {
        "nothing" => free(block),
        // So far aligned, it is a large block.
        "no bytes" => (0..100).for_each(|_| {
            free(raw::aligned(0, 1 << 20));
            // SAFETY: a live block.
            free(unsafe { raw::realloc(black_box(raw::aligned(0, 1 << 20)), 10) });
        }),
        "order" => falls_in_no_order(),
        "double free" => {
            free(block);
            free(block);
        }
        "double free of large" => {
            free(large);
            free(large);
        }
        "inside" => free(block.wrapping_add(16)),
        "overrun by a zero" => {
            write(block.wrapping_add(100), 0);
            free(block);
        }
        "write after free" => {
            free(block);
            write(block.wrapping_add(50), 1);
            (0..2_000).for_each(|_| free(raw::malloc(100)));
        }
        "large, behind" => write(large.wrapping_add(1_100_000), 1),
        // Those that were freed serve again, longer and shorter than before.
        "large, again" | "large, again, behind" => {
            let mut last = large;
            for size in (0..120).map(|n| 300_000 + n * 7_919 % 900_000) {
                free(last);
                last = black_box(raw::malloc(size));
                // SAFETY: live, and that long; hardened mode hands it out zeroed.
                let bytes = unsafe { std::slice::from_raw_parts_mut(last, size) };
                assert!(bytes.iter().all(|&byte| byte == 0), "{size}");
                bytes.fill(0xa5);
            }
            if case == "large, again, behind" {
                write(last.wrapping_add(raw::usable_size(last).next_multiple_of(4096)), 1);
            }
            free(last);
        }
        "large, after free" => {
            free(large);
            write(large, 1);
        }
        // SAFETY: as above.
        "wrong size" => unsafe { raw::free_by(block, raw::Call::Malloc, Some(99), None) },
        "wrong layout" => {
            let layout = Layout::from_size_align(100, 8).unwrap();
            // SAFETY: the layout is not empty.
            let block = unsafe { Freestone.alloc(layout) };
            // SAFETY: as above.
            unsafe { Freestone.dealloc(block, Layout::from_size_align(4000, 8).unwrap()) };
        }
        "resize after free" => {
            free(block);
            // SAFETY: as above.
            black_box(unsafe { raw::realloc(block, 101) });
        }
        "resize of aligned" => {
            for size in [5000, 38, 700_000, 1] {
                let layout = Layout::from_size_align(64, 4096).unwrap();
                // SAFETY: the layout is not empty.
                let block = unsafe { Freestone.alloc(layout) };
                // SAFETY: live, and of this layout.
                let block = unsafe { Freestone.realloc(block, layout, size) };
                assert_eq!(block.addr() % 4096, 0, "{size}");
                // SAFETY: live, and of the new layout.
                unsafe { Freestone.dealloc(block, Layout::from_size_align(size, 4096).unwrap()) };
            }
        }
        "size after free" => {
            free(block);
            black_box(raw::usable_size(block));
        }
        "every size" => every_size(),
        "waiting" => what_waits_is_not_live(),
        other if other.contains('@') => {
            // What is done, and to which byte of a block of which size.
            let mut parts = other.split('@');
            let mut next = || parts.next().unwrap();
            let (what, offset, size) = (next(), next().parse().unwrap(), next().parse().unwrap());
            let block = black_box(raw::malloc(size));
            match what {
                "overrun" => {
                    // SAFETY: none; see the file's head.
                    let was = unsafe { block.wrapping_add(offset).read_volatile() };
                    write(block.wrapping_add(offset), !was);
                    free(block);
                }
                "freed" => {
                    free(block);
                    write(block.wrapping_add(offset), 1);
                    (0..2_000).for_each(|_| free(raw::malloc(size)));
                }
                "cleared" => {
                    free(block);
                    write(block.wrapping_add(offset), 1);
                    (0..2_000).for_each(|_| free(raw::calloc(size)));
                }
                "fresh" => {
                    // Behind the last of a few lies one that nobody has had.
                    let last = (0..7).map(|_| raw::malloc(size)).max().unwrap().max(block);
                    write(last.wrapping_add(raw::good_size(size + 1, 16) + offset), 1);
                    for _ in 0..20 {
                        let block = raw::calloc(size);
                        // SAFETY: live, and so long.
                        let block = unsafe { std::slice::from_raw_parts(block, size) };
                        assert!(block.iter().all(|&byte| byte == 0));
                    }
                }
                "sized" => {
                    // SAFETY: as above.
                    unsafe { raw::free_by(block, raw::Call::Malloc, Some(size + offset), None) }
                }
                other => panic!("no such case: {other}"),
            }
        }
        other => panic!("no such case: {other}"),
    }
    // Neither destructors nor the test harness shall meet what was broken.
    std::process::exit(0);
}

/// Blocks that are freed in no order come back in none.
fn falls_in_no_order() {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut blocks: Vec<*mut u8> = (0..8_000).map(|_| raw::malloc(200)).collect();
    for _ in 0..20 {
        for end in (1..blocks.len()).rev() {
            blocks.swap(end, random(end + 1));
        }
        let freed = blocks.split_off(4_000);
        // SAFETY: live, and each once.
        freed.iter().for_each(|&block| unsafe { raw::free(block) });
        let came: Vec<*mut u8> = freed.iter().map(|_| raw::malloc(200)).collect();
        let rising = came.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!(rising < came.len() * 3 / 4, "{rising} of {} lie above the one before", came.len());
        blocks.extend(came);
    }
}

/// Blocks of each size, long ones too, are freed: some of each are kept from being handed out again for a while.
fn what_waits_is_not_live() {
    let live = || {
        let ledger = freestone::ledger().expect("a ledger");
        ledger.line(Line::Live) + ledger.line(Line::Rounding)
    };
    let before = live();
    for size in (1..1250).cycle().take(5000).map(|size| size * 200) {
        let block = black_box(raw::malloc(size));
        // SAFETY: live, and that long.
        unsafe { block.write_bytes(1, size) };
        // SAFETY: live, and not used again.
        unsafe { raw::free(block) };
    }
    let after = live();
    assert!(after <= before + (256 << 10), "{before} before, {after} after");
}

/// Blocks of each size, written to all over, replace each other: nobody sees what another had.
fn every_size() {
    let mut kept = vec![(std::ptr::null_mut::<u8>(), 0); 300];
    for round in 0..3 {
        for size in (0..1400).chain((1400..9000).step_by(37)) {
            let slot = &mut kept[(size * 7 + round) % 300];
            let (old, bytes) = *slot;
            match (size + round) % 3 {
                // SAFETY: live, and of as many bytes.
                1 if !old.is_null() => unsafe { raw::free_by(old, raw::Call::Malloc, Some(bytes), None) },
                2 if !old.is_null() => {
                    // SAFETY: live.
                    let longer = unsafe { raw::realloc(old, bytes + 100) };
                    // SAFETY: live.
                    unsafe { raw::free(longer) };
                }
                // SAFETY: null, or live.
                _ => unsafe { raw::free(old) },
            }
            let block = if size % 2 == 0 { raw::malloc(size) } else { raw::calloc(size) };
            assert!(block.addr() % 16 == 0 && raw::usable_size(block) == size);
            // SAFETY: live, and that long; hardened mode hands it out zeroed.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{size}");
            bytes.fill(0xa5);
            *slot = (block, size);
        }
    }
}

fn run(conf: &str, case: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "commit", "--nocapture", "--test-threads=1"])
        // What is not named is off, in whatever way the library was built.
        .env("FREESTONE_CONF", format!("harden:0,{conf}"))
        .env("FREESTONE_TEST_FAULT", case)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

#[track_caller]
fn ends(conf: &str, case: &str, signal: i32, words: &str) {
    let output = run(conf, case);
    let text = said(&output);
    assert_eq!(output.status.signal(), Some(signal), "{conf}: {case}: {text}");
    assert!(text.contains(words), "{conf}: {case}: {text}");
}

#[track_caller]
fn passes(conf: &str, case: &str) {
    let output = run(conf, case);
    assert!(output.status.success() && !said(&output).contains("freestone:"), "{conf}: {}", said(&output));
}

/// Whether the kernel makes guard pages without mappings.
fn can_guard() -> bool {
    let output = run("harden:1,verbose:1", "nothing");
    !said(&output).contains("no guard pages")
}

#[test]
fn hardened_mode_ends_each_misuse_with_its_message() {
    for conf in ["harden:1", "harden:1,cache:thread", "harden:1,cache:none", "harden:1,harden_guards:0"] {
        passes(conf, "nothing");
        passes(conf, "no bytes");
        passes(conf, "large, again");
        ends(conf, "double free", SIGABRT, "double free: the block is free already");
        ends(conf, "double free of large", SIGABRT, "double free: the block is free already");
        ends(conf, "inside", SIGABRT, "invalid free: the address is not the start of a block");
        ends(conf, "overrun by a zero", SIGABRT, "overrun: the bytes behind the block were written to");
        ends(conf, "write after free", SIGABRT, "write after free: the free block was written to");
        ends(conf, "wrong size", SIGABRT, "100 bytes, freed as 99)");
        ends(conf, "wrong layout", SIGABRT, "100 bytes, freed as 4000)");
        ends(conf, "resize after free", SIGABRT, "use after free: the block is free");
        ends(conf, "size after free", SIGABRT, "use after free: the block is free");
    }
    if can_guard() {
        // Without a word: Rust's runtime handles the signal, and is not displaced.
        ends("harden:1", "large, behind", SIGSEGV, "");
        ends("harden:1", "large, after free", SIGSEGV, "");
        ends("harden:1", "large, again, behind", SIGSEGV, "");
    }
}

#[test]
fn each_length_of_block_is_cleared_and_looked_at_as_it_should_be() {
    // Both ways in, and the one without the paths in assembly.
    for conf in ["harden:1", "harden:1,count:1"] {
        passes(conf, "every size");
        // The first byte of the slack, one amid it, and the last: up to 64 bytes are canary all through.
        for (size, slack) in
            [(1, 15), (47, 1), (100, 12), (128, 16), (200, 8), (255, 1), (288, 32), (600, 40)]
        {
            for at in [0, slack / 2, slack - 1] {
                let case = format!("overrun@{}@{size}", size + at);
                ends(conf, &case, SIGABRT, "overrun: the bytes behind the block were written to");
            }
        }
        for (size, room) in [(1, 16), (47, 48), (120, 128), (200, 208), (300, 320), (500, 512)] {
            for at in [0, room / 2, room - 1] {
                let case = format!("freed@{at}@{size}");
                ends(conf, &case, SIGABRT, "write after free: the free block was written to");
            }
            let case = format!("cleared@{}@{size}", room / 3);
            ends(conf, &case, SIGABRT, "write after free: the free block was written to");
            for more in [1, 16] {
                ends(conf, &format!("sized@{more}@{size}"), SIGABRT, "wrong size");
            }
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512vbmi2") && is_x86_feature_detected!("avx512vl") {
            for (size, at) in [(600, 530), (700, 560), (1000, 540), (1000, 900), (1200, 1000)] {
                ends(conf, &format!("freed@{at}@{size}"), SIGABRT, "write after free");
            }
        }
        for size in [1000, 1200, 3000, 20_000] {
            ends(conf, &format!("cleared@{}@{size}", size / 2), SIGABRT, "write after free");
            ends(conf, &format!("overrun@{size}@{size}"), SIGABRT, "overrun");
        }
    }
}

#[test]
fn the_ledger_does_not_take_for_live_what_waits() {
    ["harden:1", "harden:1,cache:thread", "harden:1,cache:none"]
        .iter()
        .for_each(|conf| passes(conf, "waiting"));
}

#[test]
fn what_is_put_in_order_otherwise_stays_as_it_falls() {
    passes("harden_shuffle:1", "order");
    passes("harden:1", "order");
}

#[test]
fn calloc_gives_zeros_of_what_was_never_handed_out() {
    for conf in ["harden:1", "harden:1,harden_check:256K", "harden:1,harden_check:0", "harden:1,count:1"] {
        for size in [600, 2000, 5000] {
            passes(conf, &format!("fresh@100@{size}"));
        }
    }
}

#[test]
fn each_part_finds_what_is_its_own_and_no_more() {
    passes("harden_sized:1", "overrun by a zero");
    passes("harden_canary:1", "wrong size");
    passes("harden_canary:1", "write after free");
    passes("harden:1,harden_canary:0", "overrun by a zero");
    passes("harden:1,harden_canary:0", "no bytes");
    ["sample:1", "sample:1,harden:1", "guard:1,harden:1"].iter().for_each(|conf| passes(conf, "no bytes"));
    passes("harden:1,harden_check:0", "write after free");
    passes("harden:1,harden_sized:0", "wrong size");
    ends("harden_canary:1", "overrun by a zero", SIGABRT, "overrun");
    ends("harden_sized:1", "wrong size", SIGABRT, "wrong size");
    ends("harden_zero:1K,harden_check:1", "write after free", SIGABRT, "write after free");
    // These are the mode's own, whatever part turned it on.
    ends("harden_shuffle:1", "double free", SIGABRT, "double free");
    ends("harden_wait:4K", "inside", SIGABRT, "invalid free");
}

#[test]
fn guarded_blocks_tell_who_had_them() {
    for (case, signal, words) in [
        ("double free", SIGABRT, "double free: the block is free already"),
        ("double free of large", SIGABRT, "double free: the block is free already"),
        ("inside", SIGABRT, "16 bytes into a block of 100 bytes"),
        ("overrun by a zero", SIGABRT, "0 bytes behind the end of a block of 100 bytes"),
        ("write after free", SIGSEGV, "use after free: the block is free (write at"),
        ("large, behind", SIGSEGV, ""),
        ("large, after free", SIGSEGV, "use after free: the block is free (write at"),
        ("resize after free", SIGABRT, "use after free"),
        ("size after free", SIGABRT, "use after free"),
    ] {
        for conf in ["guard:1", "guard:1,harden:1", "guard:1,cache:thread"] {
            if case != "large, behind" {
                ends(conf, case, signal, words);
                let text = said(&run(conf, case));
                assert!(
                    text.contains("\n  allocated by thread") && text.contains("\n  here by thread"),
                    "{text}"
                );
            }
        }
    }
    passes("guard:1", "nothing");
    passes("guard:1", "resize of aligned");
    passes("guard:1,harden:1", "resize of aligned");
    let text = said(&run("guard:1", "double free"));
    assert!(text.contains("\n  freed by thread") && text.matches("    0x").count() > 5, "{text}");
}
