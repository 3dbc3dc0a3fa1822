//! `prctl` and, where it is glibc's on x86-64 or aarch64, `syscall`, wrapped: a program that puts itself under a filter of system calls is seen doing so.
//!
//! A sandbox may kill for every call that it does not know, and allocators make some that others do not. Asking the kernel whether
//! there is a filter is one of them: the server of OpenSSH, whose child cages itself before it talks to a stranger, lost it so. The kernel has
//! two calls for filters: an option of `prctl`, and `seccomp`, which libc has no function for. A call without a program for the filter is a question what
//! the kernel knows, and changes nothing; but who asks it may count the process's threads next, and find the allocator's own.
//!
//! So does the kernel, before it gives a process other namespaces: `unshare` and `setns` are wrapped, too.
//!
//! The strict mode forbids the process to end but with its last thread: none of the allocator's may be left, neither there nor where a program ends its
//! only thread by the kernel's call.
//!
//! # Safety
//!
//! P1: libc's `prctl`, `unshare` and `setns` are the kernel's calls and nothing else.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_long, c_ulong};
use core::sync::atomic::AtomicU32;

use freestone_sys::linux::{Errno, futex_wait};

/// What a program may put itself under.
#[derive(Clone, Copy)]
enum Cage {
    Filter {
        all_threads: bool,
    },
    /// The mode in which it can only read, write and end its threads.
    Strict,
}

/// Makes the call with which the program asks for it, and has the allocator know before.
fn ask<R>(cage: Cage, call: impl FnOnce() -> R, refused: impl FnOnce(&R) -> bool) -> R {
    let noted = match cage {
        Cage::Filter { all_threads } => freestone::raw::filter_asked_for(all_threads),
        Cage::Strict => freestone::raw::strict_mode_asked_for(),
    };
    let result = call();
    if noted && refused(&result) {
        match cage {
            Cage::Filter { .. } => freestone::raw::filter_refused(),
            Cage::Strict => freestone::raw::strict_mode_refused(),
        }
    }
    result
}

/// Whether the processor's counter may be read (`linux/prctl.h`; libc's crate has them for few systems).
const PR_SET_TSC: c_int = 26;
const PR_TSC_ENABLE: c_ulong = 1;
/// From now on calls end in a signal that come from elsewhere than some range of addresses, which may be libc's code.
const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;

/// Makes a call that the kernel may refuse because of a second thread; again, if that was the allocator's own.
fn alone(call: impl Fn() -> c_long) -> c_long {
    /// The kernel forgets a thread's number a moment before it counts one less.
    const AGAIN: usize = 8;
    const PAUSE_NS: u64 = 200_000;
    static NEVER: AtomicU32 = AtomicU32::new(0);
    let is_refused = |result| result == -1 && matches!(Errno::last(), Errno(libc::EINVAL | libc::EUSERS));
    let mut result = call();
    if is_refused(result) && freestone::raw::retire_thread() {
        result = call();
        for _ in 1..AGAIN {
            if !is_refused(result) {
                break;
            }
            futex_wait(&NEVER, 0, Some(PAUSE_NS));
            result = call();
        }
    }
    result
}

/// `unshare`, as for a process of one thread if the allocator's own is the only other one.
#[unsafe(no_mangle)]
pub extern "C" fn unshare(flags: c_int) -> c_int {
    alone(|| freestone_sys::linux::control::unshare(flags).into()) as c_int
}

/// `setns`, the same.
#[unsafe(no_mangle)]
pub extern "C" fn setns(file: c_int, kind: c_int) -> c_int {
    alone(|| freestone_sys::linux::control::setns(file, kind).into()) as c_int
}

/// Makes the call `prctl` with these arguments, noting what leads to a filter of system calls.
fn control(option: c_int, second: c_ulong, third: c_ulong, call: impl FnOnce() -> c_long) -> c_long {
    let filter = Some(Cage::Filter { all_threads: false });
    let cage = match option {
        libc::PR_SET_SECCOMP if second == c_ulong::from(libc::SECCOMP_MODE_STRICT) => Some(Cage::Strict),
        libc::PR_SET_SECCOMP if second == c_ulong::from(libc::SECCOMP_MODE_FILTER) && third == 0 => {
            freestone::raw::filter_is_prepared();
            None
        }
        libc::PR_SET_SECCOMP => filter,
        // Where `seccomp` is not seen, what has to come before it without privileges.
        libc::PR_SET_NO_NEW_PRIVS if !SEES_SECCOMP && second == 1 => filter,
        PR_SET_SYSCALL_USER_DISPATCH => {
            call_from_libc();
            None
        }
        PR_SET_TSC => {
            let result = call();
            if result == 0 {
                freestone::raw::counter_is_forbidden(second != PR_TSC_ENABLE);
            }
            return result;
        }
        _ => None,
    };
    match cage {
        Some(cage) => ask(cage, call, |&result| result != 0),
        None => call(),
    }
}

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
    // SAFETY: P1, and the caller's promise.
    let call =
        || unsafe { freestone_sys::linux::control::prctl_with(option, [second, third, fourth, fifth]) };
    control(option, second, third, || call().into()) as c_int
}

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_env = "gnu"))]
use wrapped::{SEES_SECCOMP, call_from_libc};
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_env = "gnu")))]
const SEES_SECCOMP: bool = false;
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_env = "gnu")))]
fn call_from_libc() {}

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_env = "gnu"))]
mod wrapped {
    //! # Safety
    //!
    //! - P2: the system call's arguments are passed on as they came: six registers and a word of the stack on x86-64, seven registers on
    //!   aarch64.
    //! - P3: `NEXT` holds the address of a function of `syscall`'s type, or zero; the weak symbol is libc's `dlsym`.

    use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};
    use core::sync::atomic::{AtomicUsize, Ordering};

    use freestone::raw;
    use freestone_sys::linux::{Errno, control};

    use super::Cage;
    use crate::unwind::weak;

    pub(super) const SEES_SECCOMP: bool = true;

    /// `syscall`, noting what leads to a filter of system calls.
    ///
    /// # Safety
    /// As the kernel's call with this number.
    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    pub unsafe extern "C" fn syscall() -> c_long {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "cmp rdi, {number}",
            "je {seccomp}",
            "cmp rdi, {unshare}",
            "je {alone}",
            "cmp rdi, {setns}",
            "je {alone}",
            "cmp rdi, {prctl}",
            "je {control}",
            "cmp rdi, {exit}",
            "je {end}",
            "jmp {next}",
            ".cfi_endproc",
            number = const libc::SYS_seccomp,
            seccomp = sym seccomp,
            unshare = const libc::SYS_unshare,
            setns = const libc::SYS_setns,
            alone = sym alone,
            prctl = const libc::SYS_prctl,
            control = sym control,
            exit = const libc::SYS_exit,
            end = sym end,
            next = sym next,
        )
    }

    /// `syscall`, noting what leads to a filter of system calls.
    ///
    /// # Safety
    /// As the kernel's call with this number.
    #[cfg(target_arch = "aarch64")]
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    pub unsafe extern "C" fn syscall() -> c_long {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "cmp x0, {number}",
            "b.ne 2f",
            "b {seccomp}",
            "2:",
            "cmp x0, {unshare}",
            "b.eq 3f",
            "cmp x0, {setns}",
            "b.eq 3f",
            "cmp x0, {prctl}",
            "b.eq 4f",
            "cmp x0, {exit}",
            "b.eq 5f",
            "b {next}",
            "3:",
            "b {alone}",
            "4:",
            "b {control}",
            "5:",
            "b {end}",
            ".cfi_endproc",
            number = const libc::SYS_seccomp,
            seccomp = sym seccomp,
            unshare = const libc::SYS_unshare,
            setns = const libc::SYS_setns,
            alone = sym alone,
            prctl = const libc::SYS_prctl,
            control = sym control,
            exit = const libc::SYS_exit,
            end = sym end,
            next = sym next,
        )
    }

    /// Where the call goes on; 0 before that was looked for.
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    /// What `syscall` would be without us.
    #[cfg(target_arch = "x86_64")]
    #[unsafe(naked)]
    unsafe extern "C" fn next() -> c_long {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, qword ptr [rip + {next}]",
            "test rax, rax",
            "jz 2f",
            "jmp rax",
            "2:",
            "sub rsp, 56",
            ".cfi_adjust_cfa_offset 56",
            "mov qword ptr [rsp], rdi",
            "mov qword ptr [rsp + 8], rsi",
            "mov qword ptr [rsp + 16], rdx",
            "mov qword ptr [rsp + 24], rcx",
            "mov qword ptr [rsp + 32], r8",
            "mov qword ptr [rsp + 40], r9",
            "call {find}",
            "mov rdi, qword ptr [rsp]",
            "mov rsi, qword ptr [rsp + 8]",
            "mov rdx, qword ptr [rsp + 16]",
            "mov rcx, qword ptr [rsp + 24]",
            "mov r8, qword ptr [rsp + 32]",
            "mov r9, qword ptr [rsp + 40]",
            "add rsp, 56",
            ".cfi_adjust_cfa_offset -56",
            "jmp rax",
            ".cfi_endproc",
            next = sym NEXT,
            find = sym find,
        )
    }

    /// What `syscall` would be without us.
    #[cfg(target_arch = "aarch64")]
    #[unsafe(naked)]
    unsafe extern "C" fn next() -> c_long {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "adrp x16, {next}",
            "ldr x16, [x16, :lo12:{next}]",
            "cbz x16, 2f",
            "br x16",
            "2:",
            "stp x29, x30, [sp, -80]!",
            ".cfi_def_cfa_offset 80",
            ".cfi_offset 29, -80",
            ".cfi_offset 30, -72",
            "stp x0, x1, [sp, 16]",
            "stp x2, x3, [sp, 32]",
            "stp x4, x5, [sp, 48]",
            "str x6, [sp, 64]",
            "bl {find}",
            "mov x16, x0",
            "ldp x0, x1, [sp, 16]",
            "ldp x2, x3, [sp, 32]",
            "ldp x4, x5, [sp, 48]",
            "ldr x6, [sp, 64]",
            "ldp x29, x30, [sp], 80",
            ".cfi_def_cfa_offset 0",
            ".cfi_restore 29",
            ".cfi_restore 30",
            "br x16",
            ".cfi_endproc",
            next = sym NEXT,
            find = sym find,
        )
    }

    /// Finds it. A library that is preloaded behind this one may define `syscall`, too, as torsocks does to have all connections made its way. Looked for
    /// at the first call, and only where there can be one: it takes the loader's lock, and at the start 3 % of a short process's time.
    extern "C" fn find() -> usize {
        // Not known before the first request. Looking all the same, rather than making one, leaves the allocator alone in programs with a malloc of their own.
        let found = if control::others_are_preloaded() == Some(false) { 0 } else { look_behind() };
        let next = if found == 0 { plain as *const () as usize } else { found };
        NEXT.store(next, Ordering::Relaxed);
        next
    }

    /// The next library's `syscall`, or 0.
    fn look_behind() -> usize {
        type Look = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
        match weak!("dlsym" as Look) {
            // SAFETY: P3: a terminated name; RTLD_NEXT is a handle that is always there.
            Some(dlsym) => unsafe { dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) }.addr(),
            None => 0,
        }
    }

    /// Has the calls of `syscall` come from libc's code.
    #[cold]
    #[inline(never)]
    pub(super) fn call_from_libc() {
        let found = look_behind();
        if found != 0 {
            NEXT.store(found, Ordering::Relaxed);
        }
    }

    /// The system call itself, as libc makes it.
    #[cfg(target_arch = "x86_64")]
    #[unsafe(naked)]
    unsafe extern "C" fn plain() -> c_long {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, rdi",
            "mov rdi, rsi",
            "mov rsi, rdx",
            "mov rdx, rcx",
            "mov r10, r8",
            "mov r8, r9",
            "mov r9, qword ptr [rsp + 8]",
            "syscall",
            "cmp rax, -4095",
            "jae 2f",
            "ret",
            "2:",
            "mov edi, eax",
            "jmp {failed}",
            ".cfi_endproc",
            failed = sym failed,
        )
    }

    /// The system call itself, as libc makes it.
    #[cfg(target_arch = "aarch64")]
    #[unsafe(naked)]
    unsafe extern "C" fn plain() -> c_long {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov x8, x0",
            "mov x0, x1",
            "mov x1, x2",
            "mov x2, x3",
            "mov x3, x4",
            "mov x4, x5",
            "mov x5, x6",
            "svc 0",
            "cmn x0, 4095",
            "b.hs 2f",
            "ret",
            "2:",
            "b {failed}",
            ".cfi_endproc",
            failed = sym failed,
        )
    }

    /// Sets `errno` for a call that failed with `-error`.
    extern "C" fn failed(error: c_int) -> c_long {
        Errno(-error).set();
        -1
    }

    /// `unshare` or `setns`.
    extern "C" fn alone(number: c_long, first: c_ulong, second: c_ulong) -> c_long {
        type Call = unsafe extern "C" fn(c_long, c_ulong, c_ulong) -> c_long;
        // SAFETY: P2: a function of as many words as the kernel takes of these calls, and one more for their number.
        let next: Call = unsafe { core::mem::transmute(next as unsafe extern "C" fn() -> c_long) };
        // SAFETY: numbers only.
        super::alone(|| unsafe { next(number, first, second) })
    }

    /// `prctl`.
    extern "C" fn control(
        number: c_long,
        option: c_ulong,
        second: c_ulong,
        third: c_ulong,
        fourth: c_ulong,
        fifth: c_ulong,
    ) -> c_long {
        type Call = unsafe extern "C" fn(c_long, c_ulong, c_ulong, c_ulong, c_ulong, c_ulong) -> c_long;
        // SAFETY: P2: a function of as many words as the kernel takes of this call, and one more for its number.
        let next: Call = unsafe { core::mem::transmute(next as unsafe extern "C" fn() -> c_long) };
        // SAFETY: the caller's promise.
        let call = || unsafe { next(number, option, second, third, fourth, fifth) };
        super::control(option as c_int, second, third, call)
    }

    /// `exit`, which ends the calling thread alone.
    extern "C" fn end(number: c_long, code: c_ulong) -> c_long {
        type Call = unsafe extern "C" fn(c_long, c_ulong) -> c_long;
        raw::thread_ends_itself();
        // SAFETY: P2: a function of as many words as the kernel takes of this call, and one more for its number.
        let next: Call = unsafe { core::mem::transmute(next as unsafe extern "C" fn() -> c_long) };
        // SAFETY: numbers only.
        unsafe { next(number, code) }
    }

    extern "C" fn seccomp(
        number: c_long,
        operation: c_ulong,
        flags: c_ulong,
        program: *const c_void,
    ) -> c_long {
        type Call = unsafe extern "C" fn(c_long, c_ulong, c_ulong, *const c_void) -> c_long;
        // SAFETY: P2: a function of as many words as the kernel takes of this call, and one more for its number.
        let next: Call = unsafe { core::mem::transmute(next as unsafe extern "C" fn() -> c_long) };
        // SAFETY: the caller's promise.
        let call = || unsafe { next(number, operation, flags, program) };
        if operation as u32 == libc::SECCOMP_SET_MODE_FILTER && program.is_null() {
            raw::filter_is_prepared();
        }
        let all_threads = flags & libc::SECCOMP_FILTER_FLAG_TSYNC != 0;
        let cage = match operation as u32 {
            libc::SECCOMP_SET_MODE_STRICT => Some(Cage::Strict),
            libc::SECCOMP_SET_MODE_FILTER if !program.is_null() => Some(Cage::Filter { all_threads }),
            _ => None,
        };
        // The number of a thread that cannot have the filter, unless it is that of a descriptor.
        let names_thread = all_threads && flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0;
        let refused = |&result: &c_long| result < 0 || (names_thread && result > 0);
        match cage {
            Some(cage) => super::ask(cage, call, refused),
            None => call(),
        }
    }
}
