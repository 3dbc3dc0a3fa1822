//! Freestone as a C library: `libfreestone_malloc.so` for `LD_PRELOAD` or linking, and a static library.
//!
//! Here are the symbols and the rules of C, POSIX, glibc and C++ about them, nothing else; the allocator is the crate
//! `freestone`. One file a family: `c.rs` the C standard and POSIX, `glibc.rs` glibc's extensions, `sized.rs` the sized calls of
//! C23, `jemalloc.rs` jemalloc's, `cxx.rs`, `base.rs` and `unwind.rs` the operators of C++, `exit.rs` the report at the end,
//! `control.rs` what lets others attach, `limits.rs` the limits on memory, `dlopen.rs` libraries that look past us,
//! `sigaction.rs` programs that handle SIGSEGV, `prctl.rs` programs that cage themselves, `older.rs` older versions of glibc.
//!
//! No `std`: the library starts nothing, needs no constructor, and maps little. A panic would be a bug; it ends
//! the process without unwinding into C.
#![no_std]

mod base;
mod c;
mod control;
mod cxx;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod dlopen;
mod exit;
mod glibc;
mod jemalloc;
mod limits;
#[cfg(target_env = "gnu")]
mod older;
#[cfg(not(test))]
mod panic;
mod prctl;
mod profile;
#[cfg(target_env = "gnu")]
mod sigaction;
mod sized;
mod unwind;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vfork;

use freestone_sys::linux::Errno;

/// Sets `errno` to ENOMEM and returns null.
#[cold]
fn no_memory() -> *mut u8 {
    Errno(libc::ENOMEM).set();
    core::ptr::null_mut()
}

/// Sets `errno` to EINVAL and returns null.
#[cold]
fn invalid() -> *mut u8 {
    Errno(libc::EINVAL).set();
    core::ptr::null_mut()
}
