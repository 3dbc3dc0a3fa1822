//! What stays for the sake of huge pages while a program computes, and what goes. In a process of its own: the figures are the process's.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size. The clock gets a place for the time.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use freestone::{Options, raw};
use freestone_testkit::soon;

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"harden:0");

/// Less than a quarter of a huge page, and no block of a size class.
const BLOCK: usize = 320 << 10;
const BLOCKS: usize = 400;

/// Bytes of the process that lie in huge pages.
fn in_huge_pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("readable");
    let line = text.lines().find(|line| line.starts_with("AnonHugePages:")).expect("there");
    line.split_whitespace().nth(1).expect("a number").parse::<usize>().expect("a number") << 10
}

/// For how long the process has run.
fn ran() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Computes for so long, without a call.
fn compute(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

#[test]
fn up_to_a_sixteenth_stays_in_huge_pages_while_a_program_computes_and_goes_when_it_rests() {
    let mut blocks: Vec<*mut u8> = Vec::with_capacity(BLOCKS);
    for _ in 0..BLOCKS {
        let began = Instant::now();
        let block = raw::malloc(BLOCK);
        // Where the system takes long to find a huge page, the next ones are asked for only after work that is worth it.
        let took = began.elapsed();
        if took > Duration::from_micros(300) {
            compute((took * 20).min(Duration::from_millis(200)));
        }
        // SAFETY: a new block of so many bytes.
        unsafe { block.write_bytes(1, BLOCK) };
        blocks.push(block);
    }
    let huge = in_huge_pages();
    if huge < BLOCK * BLOCKS / 4 * 3 {
        return freestone_testkit::skipped(format_args!("only {huge} bytes lie in huge pages here"));
    }
    let dirty = || freestone::stats().pages.free_dirty;
    let mut free_every = |part: usize| {
        let numbers = (0..blocks.len()).rev().filter(|number| number % part == part / 2);
        for number in numbers.collect::<Vec<_>>() {
            // SAFETY: live, freed once.
            unsafe { raw::free(blocks.swap_remove(number)) };
        }
        blocks.len() * BLOCK
    };

    // A little in all, in parts that are not worth breaking a huge page: it stays as long as the program has the processor.
    let used = free_every(40);
    let freed = BLOCK * BLOCKS - used;
    let (began, run) = (Instant::now(), ran());
    compute(Duration::from_millis(600));
    let (kept, ran, passed) = (dirty(), ran() - run, began.elapsed());
    if ran * 20 > passed * 19 {
        assert!(kept > freed / 2 && kept <= used / 16, "{kept} of {freed} are kept");
    }

    // A seventh more, in such parts as well: too much in all.
    let used = free_every(7);
    assert!(dirty() > used / 8, "{} free", dirty());
    let gone = soon(|| {
        compute(Duration::from_millis(50));
        dirty() <= used / 16
    });
    assert!(gone, "{} of {used} are kept", dirty());

    assert!(soon(|| dirty() < BLOCK), "{} are kept of a program at rest", dirty());
}
