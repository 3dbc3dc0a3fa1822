//! `vfork`, wrapped: its child runs on the parent's memory and thread-local data, but the kernel does not protect its
//! restartable sequences. So the thread gives up its cache before, and the parent has it again afterwards; on aarch64, where there are no
//! such sequences, nothing is to be given up. And the child is marked: what it asks the kernel for itself, a filter of its system calls, is not taken
//! for its parent's.
//!
//! # Safety
//!
//! V1: on x86-64, child and parent return through the same stack slot, one after the other, and what they call afterwards uses the same
//! stack below. So the return address and what is needed are kept in registers over the system call, which preserves them; each pushes
//! the address again. On aarch64 it is in a register anyway.
#![allow(unsafe_code)]

use core::ffi::c_int;

#[cfg(target_arch = "x86_64")]
use freestone::raw::before_vfork;
use freestone::raw::{BeforeVfork, after_vfork};
use freestone_sys::linux::Errno;

/// What `vfork` returns, from what the system call has: the child's number, 0 in the child, or a negative error.
extern "C" fn after(before: BeforeVfork, result: c_int) -> c_int {
    after_vfork(before, result == 0);
    if result < 0 {
        Errno(-result).set();
        return -1;
    }
    result
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
        // Nothing was done before: two words of zeros.
        "mov w2, w0",
        "mov x0, xzr",
        "mov x1, xzr",
        "b {after}",
        ".cfi_endproc",
        flags = const FLAGS,
        clone = const libc::SYS_clone,
        after = sym after,
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
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {before}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        // The second word is in its place already.
        "mov rsi, rdx",
        "mov rdx, rax",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_register rip, rdi",
        "mov eax, {vfork}",
        "syscall",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rip, -8",
        "mov rdi, rdx",
        "mov edx, eax",
        "jmp {after}",
        ".cfi_endproc",
        before = sym before_vfork,
        vfork = const libc::SYS_vfork,
        after = sym after,
    )
}
