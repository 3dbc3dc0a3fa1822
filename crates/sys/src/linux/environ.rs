//! The environment, read without allocating.
//!
//! # Safety
//!
//! libc's `environ` is null or an array of C strings that ends with a null; it is read under the
//! caller's promise that nobody changes it meanwhile. Before libc has set it, the kernel's copy is
//! read into a static buffer, which is written once, by whoever moves `FILL` from `EMPTY` to
//! `FILLING`, and read only after `FILL` is `FULL`.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};

use super::read_file::beginning;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The value of the variable `name`, or `None` when it is not set.
///
/// # Safety
/// No other thread changes the environment during the call; the value is good until the variable
/// is changed.
#[inline(always)]
pub unsafe fn environment(name: &[u8]) -> Option<&'static [u8]> {
    // SAFETY: a pointer-sized static of libc's; the caller promises that nobody writes it now.
    let mut entry = unsafe { environ };
    if entry.is_null() {
        return early_environment()?.split(|&byte| byte == 0).find_map(|text| value_of(text, name));
    }
    loop {
        // SAFETY: within the array: the terminating null was not passed yet.
        let text = unsafe { entry.read() };
        if text.is_null() {
            return None;
        }
        // SAFETY: entries are terminated strings.
        let text = unsafe { CStr::from_ptr::<'static>(text) };
        if let Some(value) = value_of(text.to_bytes(), name) {
            return Some(value);
        }
        // SAFETY: the entry read was not the terminating null, so another follows.
        entry = unsafe { entry.add(1) };
    }
}

fn value_of<'a>(entry: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    entry.strip_prefix(name)?.strip_prefix(b"=")
}

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

struct Early(UnsafeCell<[u8; 8192]>);

// SAFETY: `FILL` decides who writes and who reads, see the head of this file.
unsafe impl Sync for Early {}

static EARLY: Early = Early(UnsafeCell::new([0; 8192]));
static FILL: AtomicU8 = AtomicU8::new(EMPTY);

/// The beginning of the environment that the process was started with.
fn early_environment() -> Option<&'static [u8]> {
    if FILL.compare_exchange(EMPTY, FILLING, Relaxed, Relaxed).is_ok() {
        // SAFETY: only the winner of the exchange gets here, and nobody reads before FULL.
        let buffer = unsafe { &mut *EARLY.0.get() };
        let _ = beginning(c"/proc/self/environ", buffer);
        // Pairs with the load below: who sees FULL sees the bytes.
        FILL.store(FULL, Release);
    }
    if FILL.load(Acquire) != FULL {
        return None;
    }
    // SAFETY: FULL: nobody writes any more.
    Some(unsafe { &*EARLY.0.get() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_by_their_whole_name() {
        assert_eq!(value_of(b"NAME=value", b"NAME"), Some(&b"value"[..]));
        assert_eq!(value_of(b"NAMES=value", b"NAME"), None);
        assert_eq!(value_of(b"NAME", b"NAME"), None);
        let path = std::env::var("PATH").unwrap();
        // SAFETY: no test changes the environment.
        assert_eq!(unsafe { environment(b"PATH") }, Some(path.as_bytes()));
        // SAFETY: as above.
        assert_eq!(unsafe { environment(b"no such variable") }, None);
    }

    #[test]
    fn the_kernels_copy_has_the_same_variables() {
        let path = std::env::var("PATH").unwrap();
        let early = early_environment().unwrap();
        let found = early.split(|&byte| byte == 0).find_map(|text| value_of(text, b"PATH"));
        assert_eq!(found, Some(path.as_bytes()));
    }
}
