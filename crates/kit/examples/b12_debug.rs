//! B12: the debug allocator finds a bug of each class, says what it is, and in which function each step was taken.
//!
//! # Safety
//!
//! None: the bugs are the purpose. They touch no memory but the debug allocator's own.
#![allow(unsafe_code)]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "there is nothing to say for these"
)]

use core::alloc::Layout;
use core::hint::black_box;
use core::ptr::NonNull;
use freestone_kit::debug::{Debug, DebugConfig, Report, Response, Trace};
use freestone_kit::page::Page;
use freestone_kit::{Alloc, AllocError, Stats};

/// Prints what is the same in every run: no addresses, no paths.
fn print(report: &Report) {
    println!("{}", report.summary());
    let function = |trace: &Trace| trace.functions().first().cloned().unwrap_or_default();
    println!("  allocated in {}", function(report.allocated()));
    if let Some(freed) = report.freed() {
        println!("  freed in {}", function(freed));
    }
    if !report.found().is_empty() {
        println!("  found in {}", function(report.found()));
    }
}

const CONFIG: DebugConfig = DebugConfig::new().sink(print).response(Response::Continue);
const MESSAGE: Layout = Layout::new::<[u8; 100]>();

#[inline(never)]
fn open(debug: &Debug<Page>) -> Result<NonNull<u8>, AllocError> {
    // So that this function is on the stack while it calls, also in an optimised build.
    black_box(debug.allocate(MESSAGE).map(NonNull::cast))
}

#[inline(never)]
fn close(debug: &Debug<Page>, message: NonNull<u8>) {
    unsafe { debug.deallocate(message, MESSAGE) };
    black_box(());
}

#[inline(never)]
fn close_all(debug: &Debug<Page>, messages: &[NonNull<u8>]) {
    messages.iter().for_each(|&message| close(debug, message));
}

#[inline(never)]
fn close_as(debug: &Debug<Page>, message: NonNull<u8>, layout: Layout) {
    unsafe { debug.deallocate(message, layout) };
    black_box(());
}

fn main() -> Result<(), AllocError> {
    let debug = Debug::with(Page, CONFIG);

    let twice = open(&debug)?;
    close(&debug, twice);
    close_all(&debug, &[twice]);

    let inside = open(&debug)?;
    close(&debug, unsafe { inside.add(10) });
    close_as(&debug, inside, Layout::new::<[u8; 99]>());
    close_as(&debug, open(&debug)?, Layout::new::<[u32; 25]>());

    let overrun = open(&debug)?;
    unsafe { overrun.add(100).write(b'!') };
    close(&debug, overrun);
    let underrun = open(&debug)?;
    unsafe { underrun.sub(1).write(b'!') };
    debug.check();
    close(&debug, underrun);

    // Its page has live blocks yet, so that the write does not fault.
    let stale = open(&debug)?;
    let neighbour = open(&debug)?;
    close(&debug, stale);
    unsafe { stale.add(42).write(b'!') };
    debug.check();
    close(&debug, neighbour);

    let gone = open(&debug)?;
    close(&debug, gone);
    let _ = unsafe { debug.grow(gone, MESSAGE, Layout::new::<[u8; 200]>()) };

    debug.set_memory_limit(1000);
    let refused = debug.allocate(Layout::new::<[u8; 1001]>()).is_err();
    println!("more than the limit is refused: {refused}");

    for _ in 0..black_box(3) {
        open(&debug)?;
    }
    println!("live at the end: {}", debug.stats().live_blocks);
    let leaks = debug.finish();
    println!("{leaks:?}");
    Ok(())
}
