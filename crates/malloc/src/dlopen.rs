//! `dlopen`, wrapped: without `RTLD_DEEPBIND`.
//!
//! A library that is opened with this flag looks for `malloc` and `free` in the libraries that it was linked with first, and
//! finds libc's. What it frees is ours, what it allocates others free with us: such programs (PHP opens its extensions so)
//! crash under every preloaded allocator. Without the flag the library finds the same functions as all others.
//!
//! libc's `dlopen` looks at its return address: where to search depends on who calls. So the wrapper does not call it but jumps there.
//!
//! # Safety
//!
//! D1: `REAL` holds the address of the next definition of `dlopen`, or zero.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Where libc's function is; 0 before the first call.
static REAL: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Finds libc's function. The address of one that refuses where there is none, as in a static program.
extern "C" fn find() -> usize {
    const NAME: &CStr = c"dlopen";
    // SAFETY: a terminated name; RTLD_NEXT is a handle that is always there.
    let found = unsafe { dlsym(libc::RTLD_NEXT, NAME.as_ptr()) }.addr();
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
