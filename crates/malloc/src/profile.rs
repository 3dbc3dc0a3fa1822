//! The heap profile by calls: `docs/profiles.md`. The header is `include/freestone.h`.
//!
//! # Safety
//!
//! The names are ours alone. A path is a terminated string, as the header demands.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int};

use freestone::profile;
use freestone_sys::linux::Errno;

/// Begins a heap profile with a mean distance of `mean` requested bytes between samples; 0: the default. 0, or -1 with `errno`.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_profile_start(mean: usize) -> c_int {
    let mean = if mean == 0 { profile::DEFAULT_MEAN } else { mean as u64 };
    let errno = match profile::start(mean) {
        Ok(()) => return 0,
        Err(profile::NotStarted::Distance) => libc::EINVAL,
        Err(profile::NotStarted::Debug) => libc::ENOTSUP,
        Err(_) => libc::EBUSY,
    };
    Errno(errno).set();
    -1
}

/// Ends it; what was gathered can still be written.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_profile_stop() {
    profile::stop();
}

/// Writes it to a file, which is created or emptied; where `lost` is not 0, after a search for what nothing leads to. 0, or
/// -1 with `errno`.
///
/// # Safety
/// `path` is a terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn freestone_profile_write(path: *const c_char, lost: c_int) -> c_int {
    if path.is_null() {
        Errno(libc::EINVAL).set();
        return -1;
    }
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    if profile::write_file(path, lost != 0) { 0 } else { -1 }
}
