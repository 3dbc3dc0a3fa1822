//! Tests that need to reach inside.

mod model;
mod refusal;
mod trace_panics;

use std::cell::Cell;

thread_local! {
    /// The mutation that the property tests must catch: no barrier.
    pub(crate) static WITHOUT_BARRIER: Cell<bool> = const { Cell::new(false) };
}
