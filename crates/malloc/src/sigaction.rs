//! `sigaction`, wrapped: who handles SIGSEGV shares it with the report of faults at guard pages.
//!
//! That report is made by a handler, installed when the allocator starts: before the program's own. A program that looks whether
//! anybody handles the signal, as Rust's runtime does, would leave it alone, and a stack overflow end without a word. So it is told
//! what it would be without us, and what it sets is called after us. Where no handler of ours is installed, nothing changes.
//!
//! # Safety
//!
//! Z1: `__sigaction` is glibc's own `sigaction`, with its contract.
#![allow(unsafe_code)]

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::null_mut;

use freestone_sys::linux::fault::{self, Wanted};

unsafe extern "C" {
    fn __sigaction(signal: c_int, action: *const libc::sigaction, old: *mut libc::sigaction) -> c_int;
}

/// `sigaction`, as if no handler of ours were there.
///
/// # Safety
/// As libc's: each pointer is null or leads to an action.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(
    signal: c_int,
    action: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    let mut told = MaybeUninit::<libc::sigaction>::uninit();
    if signal != libc::SIGSEGV {
        // SAFETY: Z1, the caller's promise.
        return unsafe { __sigaction(signal, action, old) };
    }
    // SAFETY: Z1: asks only.
    let asked = unsafe { __sigaction(signal, core::ptr::null(), told.as_mut_ptr()) };
    if asked != 0 {
        return asked;
    }
    // SAFETY: it was filled in just now.
    let told = unsafe { told.assume_init() };
    // What it would be is read before it is changed.
    let before = fault::without_us(told);
    // SAFETY: the caller's promise.
    if let Some(wanted) = unsafe { action.as_ref() } {
        let instead = if fault::is_ours(&told) { fault::pass_on_to(wanted) } else { Wanted::Itself };
        let set = match &instead {
            Wanted::Itself => action,
            Wanted::Instead(ours) => core::ptr::from_ref(ours),
        };
        // SAFETY: Z1: a valid action.
        let set = unsafe { __sigaction(signal, set, null_mut()) };
        if set != 0 {
            return set;
        }
    }
    // SAFETY: the caller's promise.
    if let Some(old) = unsafe { old.as_mut() } {
        *old = before;
    }
    0
}
