//! glibc before 2.34, where threads and the dynamic linker are libraries of their own that a program may lack.
//!
//! The shared library asks for no version of a symbol and needs libc alone (`build.rs`), so that it can be loaded with an older
//! glibc than it was built with. What older ones keep elsewhere must then be a weak reference, null in a program without these
//! libraries. Linked statically the same references must be plain ones, or the linker would leave the functions out. So the code
//! names the plain functions, and the build script gives their names to those here, in the shared library only.
//!
//! Of `memcpy`, which has versions on x86-64, who asks for none gets the oldest: one that serves ranges that overlap as well, without the
//! processor's longer registers, in pages of libc's that no process has otherwise. `memmove` is as fast as the newest, so it takes its place.
//!
//! # Safety
//!
//! L1: libc's functions under their other names, the only ones that glibc has under the same name before and after 2.34 for what is
//! weak. They have the types of `pthread_key_create` and `pthread_setspecific`.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};

use freestone_sys::linux;

use crate::unwind::weak;

type Create = unsafe extern "C" fn(*mut u32, Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
type Set = unsafe extern "C" fn(u32, *const c_void) -> c_int;

core::arch::global_asm!(
    ".globl freestone_key_create",
    ".hidden freestone_key_create",
    ".set freestone_key_create, {create}",
    ".globl freestone_set_specific",
    ".hidden freestone_set_specific",
    ".set freestone_set_specific, {set}",
    create = sym key_create,
    set = sym set_specific,
);

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .text.freestone_memcpy, \"ax\", @progbits",
    ".globl freestone_memcpy",
    ".hidden freestone_memcpy",
    ".type freestone_memcpy, @function",
    "freestone_memcpy:",
    "jmp qword ptr [rip + memmove@GOTPCREL]",
    ".size freestone_memcpy, . - freestone_memcpy",
    ".popsection",
);

/// `pthread_key_create`. A program without threads has no need of a key: it gets one that does nothing.
///
/// # Safety
/// As libc's.
unsafe extern "C" fn key_create(
    key: *mut u32,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_int {
    match weak!("__pthread_key_create" as Create) {
        // SAFETY: L1, the caller's promise.
        Some(create) => unsafe { create(key, destructor) },
        None => {
            // SAFETY: the caller's promise: a place for the key.
            unsafe { key.write(0) };
            0
        }
    }
}

/// `pthread_setspecific`, of a key that [`key_create`] gave. A thread that began without libpthread, brought by a library that was
/// opened later, is refused: nobody would see it end. The program's first thread does not end before the program does.
///
/// # Safety
/// As libc's.
unsafe extern "C" fn set_specific(key: u32, value: *const c_void) -> c_int {
    match weak!("__pthread_setspecific" as Set) {
        // SAFETY: L1, the caller's promise.
        Some(set) => unsafe { set(key, value) },
        None if linux::thread_id() == linux::process_id() => 0,
        None => libc::EAGAIN,
    }
}
