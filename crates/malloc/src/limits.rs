//! Limits on what the allocator hands out or keeps, set by calls: `docs/tuning.md`. The header is `include/freestone.h`.
//!
//! # Safety
//!
//! The names are ours alone. A callback is null or a function of the type that the header declares; no pointer is read.
#![allow(unsafe_code)]

use core::ffi::c_int;

use freestone::limit::{self, Amount, Callback};
use freestone_sys::linux::Errno;

/// Above this, a limit is per cent: what the header's `FREESTONE_PERCENT` makes of 1 to 100.
const PERCENT: usize = usize::MAX - 128;

/// A limit as C has it: bytes, per cent, or 0 for none. `Err` where it is neither.
fn amount(limit: usize) -> Result<Option<Amount>, ()> {
    match limit.checked_sub(PERCENT) {
        _ if limit == 0 => Ok(None),
        None => Ok(Some(Amount::Bytes(limit))),
        Some(part @ 1..=100) => Ok(Some(Amount::Percent(part as u8))),
        Some(_) => Err(()),
    }
}

/// Sets the soft and the hard limit: bytes, `FREESTONE_PERCENT`, or 0 for no limit. 0, or -1 with EINVAL and both as they were.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_set_limits(soft: usize, hard: usize) -> c_int {
    let (Ok(soft), Ok(hard)) = (amount(soft), amount(hard)) else {
        Errno(libc::EINVAL).set();
        return -1;
    };
    limit::set_soft(soft);
    limit::set_hard(hard);
    0
}

/// Has `callback` called whenever the footprint crosses the soft limit from below, on the thread that allocates. Null: nobody.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_on_soft_limit(callback: Option<Callback>) {
    limit::on_soft(callback);
}

/// Bytes in use or waiting for reuse: what is limited.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_footprint() -> usize {
    limit::footprint()
}
