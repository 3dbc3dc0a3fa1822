//! `prctl`, wrapped: a program that puts itself under a filter of system calls is seen doing so.
//!
//! A sandbox may kill for every call that it does not know, and allocators make some that others do not. Asking the kernel whether
//! there is a filter is one of them: the server of OpenSSH, whose child cages itself before it talks to a stranger, lost it so. Without
//! privileges a filter has to be preceded by `PR_SET_NO_NEW_PRIVS`, which libraries that make filters (libseccomp) set in any case.
//!
//! # Safety
//!
//! P1: libc's `prctl` is the kernel's call and nothing else.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_ulong};

/// `prctl`, noting what leads to a filter of system calls.
///
/// # Safety
/// As the kernel's, with the same option. As libc's function it may be called with fewer arguments; the kernel looks at no others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    if matches!(option, libc::PR_SET_NO_NEW_PRIVS | libc::PR_SET_SECCOMP) {
        freestone::raw::filter_asked_for();
    }
    // SAFETY: P1, and the caller's promise.
    unsafe { freestone_sys::linux::control::prctl_with(option, [second, third, fourth, fifth]) }
}
