//! B13: allocators for tests: failing, its harness, testing, logging, counting, limiting.

use allocator_api2_04::collections::TryReserveError;
use allocator_api2_04::vec::Vec as VecIn;
use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::failing::{Failing, FailingConfig, check_every_failure};
use freestone_kit::limiting::Limiting;
use freestone_kit::logging::{Event, Logging};
use freestone_kit::testing::Testing;
use freestone_kit::{Alloc, Capacity, Stats};
use std::alloc::Layout;

/// The work that is tested: the squares of the even numbers, by way of a list that is given up.
fn even_squares<A: allocator_api2_04::alloc::Allocator + Copy>(
    alloc: A,
    count: u64,
) -> Result<VecIn<u64, A>, TryReserveError> {
    let mut even = VecIn::new_in(alloc);
    even.try_reserve_exact(count as usize)?;
    even.extend((0..count).map(|n| 2 * n));
    let mut squares = VecIn::new_in(alloc);
    squares.try_reserve_exact(even.len())?;
    squares.extend(even.iter().map(|n| n * n));
    Ok(squares)
}

fn failing() {
    let failing = Failing::new(C, FailingConfig::NEVER.fail_index(1));
    let done = even_squares(&failing, 10).map(|squares| squares.len());
    println!(
        "failing: the second allocation refused: {}",
        if done.is_err() { "an error" } else { "no error" }
    );
    println!("failing: {} granted, {} freed", failing.allocations(), failing.deallocations());
    let trace = failing.failure_trace().unwrap().to_string();
    println!("failing: the trace names the work: {}", trace.contains("even_squares"));
}

fn harness() {
    let sound = check_every_failure(&C, |failing| even_squares(failing, 10).map(drop));
    println!("harness: {:?}", sound.map(|checked| (checked.allocations, checked.runs)));
    let hasty = check_every_failure(&C, |failing| {
        let squares = even_squares(failing, 10)?;
        // Forgets the first list when the second cannot be had.
        even_squares(failing, 5).map(drop).inspect_err(|_| std::mem::forget(squares))
    });
    println!("harness: {}", hasty.unwrap_err());
}

fn testing() {
    let testing = Testing::new(C);
    even_squares(&testing, 10).unwrap();
    println!("testing: the work leaks nothing: {}", testing.report().is_none());
    let layout = Layout::new::<[u64; 3]>();
    let forgotten = testing.allocate(layout).unwrap();
    // Dropped now, it would panic with this.
    let report = testing.report().unwrap();
    println!("testing: {}", report.lines().next().unwrap());
    println!("testing: the trace names the place: {}", report.contains("b13_testing::testing"));
    // SAFETY: a live block of that layout.
    #[allow(unsafe_code)]
    unsafe {
        testing.deallocate(forgotten.cast(), layout);
    };
}

fn logging() {
    let logging = Logging::new(C, |event: &Event| println!("logging: {event}"));
    even_squares(&logging, 3).unwrap();
}

fn counting_and_limiting() {
    let counting = Counting::new(C);
    let limiting = Limiting::new(&counting, 1000);
    let squares = even_squares(&limiting, 50).unwrap();
    let stats = counting.stats();
    println!(
        "counting: {} live, {} at the peak, {} in all",
        stats.live_bytes, stats.peak_bytes, stats.total_bytes
    );
    println!("limiting: {} of {} bytes left", limiting.remaining(), limiting.capacity());
    println!(
        "limiting: 50 more: {}",
        if even_squares(&limiting, 50).is_err() { "refused" } else { "served" }
    );
    drop(squares);
    println!("counting: {} blocks live", counting.stats().live_blocks);
}

fn main() {
    failing();
    harness();
    testing();
    logging();
    counting_and_limiting();
}
