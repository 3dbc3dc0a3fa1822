//! What an idle program keeps, and what a busy CPU takes from idle ones. In a process of its own: the figures are the process's.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size; the calls about CPUs get a set and its size.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use freestone::{Freestone, Options};
use freestone_testkit::soon;

/// What caches give up, yards of hardened mode keep.
const BUDGET: usize = 1 << 20;

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"cache_bytes:1M,transfer:0,harden:0");

/// Allocates a block and writes to it.
fn block(layout: Layout) -> *mut u8 {
    // SAFETY: the size is not zero.
    let block = unsafe { Freestone.alloc(layout) };
    assert!(!block.is_null());
    // SAFETY: a new block of so many bytes.
    unsafe { block.write_bytes(1, layout.size()) };
    block
}

fn free(block: *mut u8, layout: Layout) {
    // SAFETY: allocated with this layout, and not used again.
    unsafe { Freestone.dealloc(block, layout) };
}

/// Runs `work` on the CPU that the thread is on now. One that is moved to another finds that one's budget there, though the first cache
/// has taken it for itself and gives it back only later.
fn on_one_cpu(work: impl FnOnce()) {
    let allow = |cpus: &libc::cpu_set_t| {
        // SAFETY: a set of CPUs, and its size.
        assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(cpus), cpus) }, 0);
    };
    // SAFETY: a set of CPUs is plain data.
    let (mut before, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
    // SAFETY: a set of CPUs, and its size.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size_of_val(&before), &mut before) }, 0);
    // SAFETY: no arguments.
    let cpu = unsafe { libc::sched_getcpu() };
    // SAFETY: the number of a CPU, which is in the set's bounds where the calls above are enough.
    unsafe { libc::CPU_SET(usize::try_from(cpu).expect("a number"), &mut one) };
    allow(&one);
    work();
    allow(&before);
}

/// Bytes resident, by the kernel's exact count.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("readable");
    let line = text.lines().find(|line| line.starts_with("Rss:")).expect("there");
    line.split_whitespace().nth(1).expect("a number").parse::<usize>().expect("a number") << 10
}

/// Ways of running in which a program without a call comes to rest as well.
const MODES: [&str; 6] =
    ["cache:thread", "cache:none", "huge_pages:on", "harden:1", "sample:512K,guard:8M", "count:1"];
/// By this a program knows that it is one of those.
const RESTS: &str = "FREESTONE_TEST_RESTS";
const PEAK: usize = 64 << 20;

/// In a process of its own: a peak, and no call any more.
#[test]
fn peak_and_rest() {
    if std::env::var_os(RESTS).is_some() {
        let layout = Layout::from_size_align(1000, 8).unwrap();
        let blocks: Vec<_> = (0..PEAK / 1000).map(|_| block(layout)).collect();
        blocks.into_iter().for_each(|block| free(block, layout));
        loop {
            std::thread::park();
        }
    }
}

/// A program in each mode that rests.
struct AtRest(Vec<(&'static str, Child)>);

impl AtRest {
    fn start() -> AtRest {
        AtRest(MODES.map(|mode| (mode, AtRest::program(mode))).into())
    }

    fn program(mode: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "peak_and_rest", "--nocapture", "--test-threads=1"]);
        command.env("FREESTONE_CONF", mode).env(RESTS, "1").stdout(Stdio::null()).spawn().unwrap()
    }

    /// Each has given its memory back, and the allocator's own thread is gone: nothing wakes it up.
    fn verify(&self) {
        for (mode, program) in &self.0 {
            let of = |path: &str| format!("/proc/{}/{path}", program.id());
            let bytes = |field: &str| {
                let text = std::fs::read_to_string(of("status")).expect("it runs");
                let line = text.lines().find(|line| line.starts_with(field)).expect("there");
                line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
            };
            let resident = || bytes("VmRSS:");
            assert!(soon(|| bytes("VmHWM:") >= PEAK), "{mode}: the peak was not reached");
            let names = || {
                let tasks = std::fs::read_dir(of("task")).expect("it runs").flatten();
                tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            };
            let rests = soon(|| resident() < PEAK / 2 && !names().any(|name| name.trim_end() == "freestone"));
            assert!(rests, "{mode}: {} bytes, {:?}", resident(), names().collect::<Vec<_>>());
        }
    }
}

impl Drop for AtRest {
    fn drop(&mut self) {
        for (_, program) in &mut self.0 {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

#[test]
fn idle_programs_and_classes_give_all_back_and_a_busy_cpu_takes_from_idle_ones() {
    let others = AtRest::start();
    // One thread has one cache, whose capacity grows by use: blocks of many sizes, round and round.
    let layouts: Vec<_> = (1..60).map(|n| Layout::from_size_align(n * 512, 8).unwrap()).collect();
    let has_others = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    on_one_cpu(|| {
        for _ in 0..40 {
            for &layout in &layouts {
                let blocks: Vec<_> = (0..64).map(|_| block(layout)).collect();
                blocks.into_iter().for_each(|block| free(block, layout));
            }
        }
    });
    let cached = freestone::stats().cached_bytes;
    assert!(cached <= 2 * BUDGET + (64 << 10), "{cached}");
    // Only where there are other CPUs is there anything to take.
    if has_others && cfg!(target_arch = "x86_64") {
        assert!(cached > BUDGET + BUDGET / 4, "{cached}");
    }

    // 200 MB in small blocks.
    let before = resident();
    let layout = Layout::from_size_align(100, 8).unwrap();
    let mut blocks: Vec<usize> = Vec::with_capacity(2_000_000);
    blocks.extend((0..2_000_000).map(|_| block(layout).expose_provenance()));
    assert!(resident() > before + (200 << 20));
    for address in blocks {
        free(std::ptr::with_exposed_provenance_mut(address), layout);
    }
    assert!(soon(|| resident() < before + (3 << 20)), "{} more than before", resident() - before);
    assert!(soon(|| freestone::stats().cached_bytes == 0));
    // Nothing left to do, the allocator's own thread ends.
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let most = threads();
    std::thread::sleep(Duration::from_secs(6));
    assert!(threads() < most || most == 2, "{} threads", threads());
    others.verify();
    drop(others);
    freestone::verify().expect("sound");

    // Blocks of one size, all freed, but for those that the cache kept: one in each slab is enough to hold it. The program goes on
    // with others, so the cache is not idle.
    let mut blocks: Vec<usize> = (0..200_000).map(|_| block(layout).expose_provenance()).collect();
    let (mut state, held) = (1usize, freestone::stats().pages.slabs);
    for last in (1..blocks.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        blocks.swap(last, (state >> 33) % last);
    }
    for address in blocks.drain(..) {
        free(std::ptr::with_exposed_provenance_mut(address), layout);
    }
    let busy = Layout::from_size_align(3000, 8).unwrap();
    let gone = soon(|| {
        for _ in 0..50 {
            let blocks: Vec<_> = (0..200).map(|_| block(busy)).collect();
            blocks.into_iter().for_each(|block| free(block, busy));
        }
        freestone::stats().pages.slabs < held - (16 << 20)
    });
    assert!(gone, "{:?}", freestone::stats().pages);
    freestone::verify().expect("sound");
}
