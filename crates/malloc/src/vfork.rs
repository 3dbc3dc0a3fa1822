//! `vfork`, wrapped: its child runs on the parent's memory and thread-local data, but the kernel does not protect its
//! restartable sequences. So the child gives up the cache number before it can allocate. And it is marked: what it asks the kernel
//! for itself, a filter of its system calls, is not taken for its parent's.
//!
//! # Safety
//!
//! V1: on x86-64, child and parent return through the same stack slot, one after the other. So the return address is kept in a
//! register over the system call, which preserves it, and pushed again by each. On aarch64 it is in a register anyway; the child
//! keeps it below the stack pointer that the parent goes on with, while it calls.
#![allow(unsafe_code)]

use core::ffi::c_int;

use freestone_sys::linux::Errno;

extern "C" fn in_child() {
    freestone::raw::in_vfork_child();
}

/// Sets `errno` for a `vfork` that failed with `-error`.
extern "C" fn failed(error: c_int) -> c_int {
    Errno(-error).set();
    -1
}

/// `vfork`: the parent waits until the child has called exec or `_exit`.
///
/// # Safety
/// The child does only what POSIX allows it: `_exit`, or one of the exec functions.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn vfork() -> c_int {
    const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    core::arch::naked_asm!(
        ".cfi_startproc",
        // Where a branch may lead: `bti c`.
        "hint 34",
        "mov x0, {flags}",
        "mov x1, xzr",
        "mov x8, {clone}",
        "svc 0",
        "cbz w0, 3f",
        "tbnz w0, 31, 2f",
        "ret",
        "2:",
        "b {failed}",
        "3:",
        "stp x29, x30, [sp, -16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset 29, -16",
        ".cfi_offset 30, -8",
        "bl {in_child}",
        "ldp x29, x30, [sp], 16",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore 29",
        ".cfi_restore 30",
        "mov w0, wzr",
        "ret",
        ".cfi_endproc",
        flags = const FLAGS,
        clone = const libc::SYS_clone,
        in_child = sym in_child,
        failed = sym failed,
    )
}

/// `vfork`: the parent waits until the child has called exec or `_exit`.
///
/// # Safety
/// The child does only what POSIX allows it: `_exit`, or one of the exec functions.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn vfork() -> c_int {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_register rip, rdi",
        "mov eax, {vfork}",
        "syscall",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rip, -8",
        "test eax, eax",
        "js 2f",
        "jnz 3f",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {in_child}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "xor eax, eax",
        "3:",
        "ret",
        "2:",
        "mov edi, eax",
        "jmp {failed}",
        ".cfi_endproc",
        vfork = const libc::SYS_vfork,
        in_child = sym in_child,
        failed = sym failed,
    )
}
