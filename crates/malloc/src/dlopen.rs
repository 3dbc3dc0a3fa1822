//! `dlopen`, wrapped: without `RTLD_DEEPBIND`.
//!
//! A library that is opened with this flag looks for `malloc` and `free` in the libraries that it was linked with first, and
//! finds libc's. What it frees is ours, what it allocates others free with us: such programs (PHP opens its extensions so)
//! crash under every preloaded allocator. Without the flag the library finds the same functions as all others.
//!
//! libc's `dlopen` looks at its return address: where to search depends on who calls. So the wrapper does not call it but jumps there.
//!
//! Before glibc 2.34 it lies in a library of its own, libdl. A program without that can still call `dlopen`, from a library that libc
//! itself loaded, as for `getpwnam`: libdl is there by then, and found as libc finds what it loads.
//!
//! # Safety
//!
//! D1: `REAL` holds the address of the next definition of `dlopen`, or zero.
//! D2: weak symbols of libc's: `dlsym`, and, before 2.34, two functions that are `dlopen` and `dlsym` for its own use.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::unwind::weak;

/// Where libc's function is; 0 before the first call.
static REAL: AtomicUsize = AtomicUsize::new(0);

type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
type Look = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

const NAME: &CStr = c"dlopen";

/// The function in libdl, as libc's own functions find it; 0 where there are none.
fn find_in_libdl() -> usize {
    /// What marks a call from outside the dynamic linker.
    const FROM_OUTSIDE: c_int = c_int::MIN;
    let open = weak!("__libc_dlopen_mode" as Open);
    let look = weak!("__libc_dlsym" as Look);
    let (Some(open), Some(look)) = (open, look) else { return 0 };
    // SAFETY: D2: a terminated name, and flags.
    let library = unsafe { open(c"libdl.so.2".as_ptr(), libc::RTLD_NOW | FROM_OUTSIDE) };
    if library.is_null() {
        return 0;
    }
    // SAFETY: D2: a library that was opened, and a terminated name.
    unsafe { look(library, NAME.as_ptr()) }.addr()
}

/// Finds libc's function. The address of one that refuses where there is none, as in a static program.
extern "C" fn find() -> usize {
    let found = match weak!("dlsym" as Look) {
        // SAFETY: D2: a terminated name; RTLD_NEXT is a handle that is always there.
        Some(dlsym) => unsafe { dlsym(libc::RTLD_NEXT, NAME.as_ptr()) }.addr(),
        None => 0,
    };
    let found = if found == 0 { find_in_libdl() } else { found };
    let real = if found == 0 { refuse as *const () as usize } else { found };
    REAL.store(real, Ordering::Relaxed);
    real
}

extern "C" fn refuse(_: *const c_char, _: c_int) -> *mut c_void {
    core::ptr::null_mut()
}

/// `dlopen`, with the flag `RTLD_DEEPBIND` ignored.
///
/// # Safety
/// As libc's: `name` is null or a terminated string, and the library's own start may do anything.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "and esi, {others}",
        "mov rax, qword ptr [rip + {real}]",
        "test rax, rax",
        "jz 2f",
        "jmp rax",
        "2:",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {find}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        others = const !libc::RTLD_DEEPBIND,
        real = sym REAL,
        find = sym find,
    )
}
