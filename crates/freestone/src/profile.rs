//! The heap profile.

use crate::observe::{self, Observer};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{gate, start};

static ALLOCS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);

/// Begins to sample requests at a mean distance of so many bytes; with 0, ends it. False where the allocator may not be entered.
pub fn set_rate(mean: u64) -> bool {
    let Some(inside) = gate::enter_patiently() else { return false };
    start::ensure();
    observe::set(Observer::Profile, mean);
    drop(inside);
    true
}

/// A sampled block was handed out.
pub(crate) fn on_alloc(_addr: usize, _size: usize) {
    ALLOCS.fetch_add(1, Ordering::Relaxed);
}

/// A watched block goes; it may not be a sample.
pub(crate) fn on_free(_addr: usize) {
    FREES.fetch_add(1, Ordering::Relaxed);
}
