//! The bugs, each committed in a child process: this test program, run again with the bug's name in its environment.
//!
//! # Safety
//!
//! None: these are the misuses that the debug allocator is for. They touch no memory but its own and that of its parent.
#![allow(unsafe_code)]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "there is nothing to say for these"
)]

use freestone_kit::debug::{Debug, DebugConfig, Placement, Response, to_log};
use freestone_kit::page::Page;
use freestone_kit::{Alloc, Stats};
use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

/// The variable that names the bug.
pub(super) const VARIABLE: &str = "FREESTONE_KIT_TEST_BUG";

const SMALL: Layout = Layout::new::<[u64; 3]>();
const LARGE: Layout = Layout::new::<[u64; 4000]>();
const CONFIG: DebugConfig = DebugConfig::new();

/// Not a test of its own: what the child runs.
#[test]
fn child() {
    let Ok(name) = std::env::var(VARIABLE) else { return };
    match name.as_str() {
        "double_free" => double_free(SMALL),
        "double_free_large" => double_free(LARGE),
        "double_free_by_another_thread" => double_free_by_another_thread(),
        "double_free_aborts" => double_free_aborts(),
        "invalid_free_inside" => invalid_free_inside(),
        "invalid_free_foreign" => invalid_free_foreign(),
        "wrong_size" => wrong_size(),
        "wrong_align" => wrong_align(),
        "overrun" => overrun(),
        "underrun" => underrun(),
        "overrun_check" => overrun_check(),
        "write_after_free" => write_after_free(),
        "resize_after_free" => resize_after_free(),
        "leak" => leak(),
        "logged" => logged(),
        "freed_memory" => freed_memory(),
        "closed_pages" => closed_pages(),
        "use_after_free" => use_after_free(false),
        "use_after_free_explained" => use_after_free(true),
        "overrun_explained" => overrun_explained(),
        "underrun_explained" => underrun_explained(),
        "fault_elsewhere" => fault_elsewhere(),
        other => panic!("no bug is called {other}"),
    }
}

// Whoever is to be seen in a trace is a function of its own in an optimised build, too: not inlined, not one with another that
// does the same, and with something left to do after the call.

#[inline(never)]
fn allocates(debug: &impl Alloc, layout: Layout) -> NonNull<u8> {
    black_box(debug.allocate(layout).unwrap().cast())
}

#[inline(never)]
fn frees(debug: &impl Alloc, block: NonNull<u8>, layout: Layout) {
    unsafe { debug.deallocate(block, layout) }
    black_box("once");
}

#[inline(never)]
fn frees_again(debug: &impl Alloc, block: NonNull<u8>, layout: Layout) {
    unsafe { debug.deallocate(block, layout) }
    black_box("again");
}

fn double_free(layout: Layout) {
    let debug = Debug::new(Page);
    let block = allocates(&debug, layout);
    frees(&debug, block, layout);
    frees_again(&debug, block, layout);
}

fn double_free_by_another_thread() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    frees(&debug, block, SMALL);
    let address = block.as_ptr().expose_provenance();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
            frees_again(&debug, block, SMALL);
        });
    });
}

fn double_free_aborts() {
    let debug = Debug::with(Page, CONFIG.response(Response::Abort));
    let block = allocates(&debug, SMALL);
    frees(&debug, block, SMALL);
    frees_again(&debug, block, SMALL);
}

fn invalid_free_inside() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    frees(&debug, unsafe { block.add(8) }, SMALL);
}

fn invalid_free_foreign() {
    let debug = Debug::new(Page);
    let mut local = [0_u64; 3];
    frees(&debug, NonNull::from(&mut local).cast(), SMALL);
}

fn wrong_size() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    frees(&debug, block, Layout::new::<[u64; 4]>());
}

fn wrong_align() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    frees(&debug, block, SMALL.align_to(16).unwrap());
}

fn overrun() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    unsafe { block.add(24).write(0) };
    frees(&debug, block, SMALL);
}

fn underrun() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    unsafe { block.sub(4).write(0) };
    frees(&debug, block, SMALL);
}

fn overrun_check() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    unsafe { block.add(24).write_bytes(0, 3) };
    debug.check();
}

fn write_after_free() {
    let debug = Debug::with(Page, CONFIG.never_unmap(true));
    let block = allocates(&debug, SMALL);
    frees(&debug, block, SMALL);
    unsafe { block.add(7).write(0) };
    debug.check();
}

fn resize_after_free() {
    let debug = Debug::new(Page);
    let block = allocates(&debug, SMALL);
    frees(&debug, block, SMALL);
    let _ = unsafe { debug.grow(block, SMALL, LARGE) };
}

fn leak() {
    let debug = Debug::new(Page);
    for _ in 0..black_box(3) {
        allocates(&debug, SMALL);
    }
    let freed = allocates(&debug, LARGE);
    frees(&debug, freed, LARGE);
}

#[inline(never)]
fn touches(address: *const u8) {
    let byte = unsafe { address.read_volatile() };
    println!("read {byte}, and no fault");
}

fn use_after_free(explained: bool) {
    let debug = Debug::with(Page, CONFIG.placement(Placement::GuardAfter));
    let block = allocates(&debug, SMALL);
    frees(&debug, block, SMALL);
    let address = unsafe { block.add(2) }.as_ptr();
    if explained { debug.explaining_faults(|| touches(address)) } else { touches(address) }
}

fn overrun_explained() {
    let debug = Debug::with(Page, CONFIG.placement(Placement::GuardAfter));
    let block = allocates(&debug, SMALL);
    debug.explaining_faults(|| touches(block.as_ptr().wrapping_add(24)));
}

fn underrun_explained() {
    let debug = Debug::with(Page, CONFIG.placement(Placement::GuardBefore));
    let block = allocates(&debug, SMALL);
    debug.explaining_faults(|| touches(block.as_ptr().wrapping_sub(1)));
}

fn fault_elsewhere() {
    let debug = Debug::new(Page);
    debug.explaining_faults(|| touches(std::ptr::without_provenance(8)));
}

struct ToStderr;

impl log::Log for ToStderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{} {} {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

fn logged() {
    log::set_logger(&ToStderr).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let config = CONFIG.verbose_log(true).sink(to_log).response(Response::Continue).memory_limit(1000);
    let debug = Debug::with(Page, config);
    let block = allocates(&debug, SMALL);
    assert!(debug.allocate(LARGE).is_err());
    let block = unsafe { debug.grow(block, SMALL, Layout::new::<[u64; 4]>()) }.unwrap().cast();
    frees(&debug, block, SMALL);
}

/// Not a bug: the whole process is looked at, so that it has to be one of its own.
fn freed_memory() {
    let debug = Debug::with(Page, CONFIG);
    let large = Layout::new::<[u8; 4 << 20]>();
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * Page::page_size()
    };
    let before = resident();
    for _ in 0..16 {
        let block = allocates(&debug, large);
        unsafe { block.write_bytes(1, 4 << 20) };
        frees(&debug, block, large);
    }
    assert!(resident() < before + (8 << 20), "64 MiB were freed");
    assert!(debug.stats().held_bytes >= 64 << 20, "their addresses are kept");
}

/// Not a bug, the same.
fn closed_pages() {
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let debug = Debug::with(Page, CONFIG.placement(Placement::GuardAfter));
    let before = maps();
    let blocks: Vec<_> = (0..500).map(|_| allocates(&debug, SMALL)).collect();
    let between = maps();
    blocks.into_iter().for_each(|block| frees(&debug, block, SMALL));
    // Only a kernel with guard marks does it; an older one splits mappings from the beginning.
    assert!(between >= before + 100 || maps() < before + 100, "{before}, {between}, {}", maps());
}
