//! The allocator under everything here: the global one of every program that links this crate.

use freestone::Freestone;

/// The allocator.
pub const HEAP: Freestone = Freestone;

#[global_allocator]
static GLOBAL: Freestone = HEAP;

/// Walks through every span, list and cache of the allocator.
pub fn verify() -> Result<(), String> {
    freestone::verify().map_err(|fault| fault.to_string())
}
