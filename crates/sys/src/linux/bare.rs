//! A thread that libc does not know: no `pthread_create`, which takes libc's locks and allocates, and which nobody may call
//! from wherever a program happens to allocate.
//!
//! The thread has a stack and thread-local storage of its own in memory that the caller gives, receives no signals, and
//! is not counted by libc: a program whose other threads all end ends. It must call nothing but thin wrappers of system
//! calls, which find in its zeroed storage what they look for: `errno`, and a thread that is not cancelled.
//!
//! # Safety
//!
//! - B1: the memory handed to [`start`] is the thread's alone from then on until `alive` is 0 again.
//! - B2: x86-64's ABI: the thread pointer points at itself, libc's record of the thread begins there, static thread-local storage lies
//!   below it. aarch64's: libc's record ends at the thread pointer, two words for libc begin there, and the storage follows them.
#![allow(unsafe_code)]

use core::sync::atomic::AtomicU32;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", test))]
use core::sync::atomic::Ordering;

/// Bytes in which libc's own record of a thread has room: 2.3 KiB in glibc.
const RECORD: usize = 4096;
/// Bytes of libc's below the thread pointer.
pub const BELOW: usize = if cfg!(target_arch = "x86_64") { 0 } else { RECORD };
/// Bytes of libc's above the thread pointer.
pub const ABOVE: usize = if cfg!(target_arch = "x86_64") { RECORD } else { 64 };

/// Where a new thread lives.
#[derive(Clone, Copy, Debug)]
pub struct BareMemory {
    /// The lowest address of the stack, a multiple of 64.
    pub base: usize,
    /// Bytes in all, a multiple of 64: the stack, and what is below and above the thread pointer.
    pub len: usize,
    /// Bytes below the thread pointer that are no stack, a multiple of 64: [`BELOW`], and the thread-local storage there. They are zero, but
    /// for what the caller wrote.
    pub below: usize,
    /// The same above it, at least [`ABOVE`].
    pub above: usize,
}

impl BareMemory {
    /// The new thread's thread pointer.
    pub fn thread_pointer(&self) -> usize {
        self.base + self.len - self.above
    }
}

/// Whether [`start`] can work on this machine.
pub const SUPPORTED: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Starts a thread that runs `body` once and ends. `alive` becomes its number (the kernel's), and 0 when it has ended and left
/// its memory. False, with nothing changed, when the kernel refuses or the machine is not [`SUPPORTED`].
///
/// # Safety
/// B1. `body` calls nothing of libc but thin wrappers of system calls, and does not unwind.
pub unsafe fn start(memory: BareMemory, alive: &'static AtomicU32, body: extern "C" fn()) -> bool {
    // SAFETY: the caller's promise.
    unsafe { imp::start(memory, alive, body) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod imp {
    use super::*;

    pub(super) unsafe fn start(_: BareMemory, _: &'static AtomicU32, _: extern "C" fn()) -> bool {
        false
    }
}

/// What `pthread_create` asks for: debuggers and emulators know no other combination.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const FLAGS: usize = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as usize;

#[cfg(target_arch = "aarch64")]
mod imp {
    use core::arch::asm;

    use super::*;

    pub(super) unsafe fn start(memory: BareMemory, alive: &'static AtomicU32, body: extern "C" fn()) -> bool {
        let pointer = memory.thread_pointer();
        let stack = pointer - memory.below;
        let all_signals = u64::MAX;
        let mut signals = 0u64;
        let result: usize;
        // SAFETY: blocks all signals of this thread, so that the new one begins with none, clones, and unblocks. The new
        // thread finds its function in a register, which system calls preserve, has a stack of its own (B1), and never returns. What
        // lies at its thread pointer may all be zero (B2).
        unsafe {
            asm!(
                "mov x8, {sigprocmask}",
                "mov x0, {set}",
                "mov x1, {all}",
                "mov x2, {old}",
                "mov x3, 8",
                "svc 0",
                "mov x8, {clone}",
                "mov x0, {flags}",
                "mov x1, {stack}",
                "mov x2, {alive}",
                "mov x3, {pointer}",
                "mov x4, {alive}",
                "svc 0",
                "cbnz x0, 2f",
                "mov x29, xzr",
                "blr {body}",
                "3:",
                "mov x8, {exit}",
                "mov x0, xzr",
                "svc 0",
                "b 3b",
                "2:",
                "mov {flags}, x0",
                "mov x8, {sigprocmask}",
                "mov x0, {set}",
                "mov x1, {old}",
                "mov x2, xzr",
                "mov x3, 8",
                "svc 0",
                sigprocmask = const libc::SYS_rt_sigprocmask,
                set = const libc::SIG_SETMASK,
                clone = const libc::SYS_clone,
                exit = const libc::SYS_exit,
                // Takes the result, too.
                flags = inout(reg) FLAGS => result,
                all = in(reg) &raw const all_signals,
                stack = in(reg) stack,
                alive = in(reg) alive.as_ptr(),
                pointer = in(reg) pointer,
                body = in(reg) body,
                old = in(reg) &raw mut signals,
                out("x0") _, out("x1") _, out("x2") _, out("x3") _, out("x4") _, out("x8") _, out("x30") _,
            );
        }
        // An error is a small negative number.
        let started = (result as isize) > 0;
        if !started {
            alive.store(0, Ordering::Relaxed);
        }
        started
    }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use core::arch::asm;
    use core::ptr::with_exposed_provenance_mut;

    use super::*;

    /// Reads a word of the calling thread's own record: the stack guard and the pointer guard lie there.
    macro_rules! own_word {
        ($offset:literal) => {{
            let word: usize;
            // SAFETY: B2, libc keeps these words at fixed places behind the thread pointer.
            unsafe {
                asm!(concat!("mov {0}, qword ptr fs:[", $offset, "]"), out(reg) word,
                     options(nostack, preserves_flags, readonly))
            };
            word
        }};
    }

    pub(super) unsafe fn start(memory: BareMemory, alive: &'static AtomicU32, body: extern "C" fn()) -> bool {
        let pointer = memory.thread_pointer();
        for (offset, word) in [(0, pointer), (16, pointer), (0x28, own_word!(0x28)), (0x30, own_word!(0x30))]
        {
            let at = with_exposed_provenance_mut::<usize>(pointer + offset);
            // SAFETY: B1, within the bytes above the thread pointer.
            unsafe { at.write(word) };
        }
        let stack = pointer - memory.below;
        let all_signals = u64::MAX;
        let mut signals = 0u64;
        let result: usize;
        // SAFETY: blocks all signals of this thread, so that the new one begins with none, clones, and unblocks. The new
        // thread finds its function in a register, has a stack of its own (B1), and never returns.
        unsafe {
            asm!(
                "mov eax, {sigprocmask}",
                "mov edi, {set}",
                "mov r10d, 8",
                "syscall",
                "mov eax, {clone}",
                "mov rdi, {flags}",
                "mov rsi, {stack}",
                "mov rdx, {alive}",
                "mov r10, {alive}",
                "mov r8, {pointer}",
                "syscall",
                "test rax, rax",
                "jnz 2f",
                // Before the frame pointer is cleared, which may be the register that holds it.
                "mov rax, {body}",
                "xor ebp, ebp",
                "call rax",
                "3:",
                "mov eax, {exit}",
                "xor edi, edi",
                "syscall",
                "jmp 3b",
                "2:",
                "mov {flags}, rax",
                "mov eax, {sigprocmask}",
                "mov edi, {set}",
                "mov rsi, {old}",
                "xor edx, edx",
                "mov r10d, 8",
                "syscall",
                sigprocmask = const libc::SYS_rt_sigprocmask,
                set = const libc::SIG_SETMASK,
                clone = const libc::SYS_clone,
                exit = const libc::SYS_exit,
                // Takes the result, too: a register of its own might be that of `old`, which is still needed.
                flags = inout(reg) FLAGS => result,
                stack = in(reg) stack,
                alive = in(reg) alive.as_ptr(),
                pointer = in(reg) pointer,
                body = in(reg) body,
                old = in(reg) &raw mut signals,
                inout("rsi") &raw const all_signals => _,
                inout("rdx") &raw mut signals => _,
                out("rax") _, out("rcx") _, out("rdi") _, out("r8") _, out("r10") _, out("r11") _,
            );
        }
        // An error is a small negative number.
        let started = (result as isize) > 0;
        if !started {
            alive.store(0, Ordering::Relaxed);
        }
        started
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::System;
    use crate::linux::{self, futex_wait};

    static ALIVE: AtomicU32 = AtomicU32::new(0);
    static RAN: AtomicU32 = AtomicU32::new(0);

    extern "C" fn body() {
        linux::Errno(7).set();
        assert!(!linux::write_all(-1, b"x"));
        RAN.store(linux::thread_id() as u32 + linux::Errno::last().0 as u32, Ordering::Relaxed);
    }

    #[test]
    fn a_bare_thread_runs_with_an_errno_of_its_own_and_ends() {
        if !SUPPORTED {
            return;
        }
        // As much storage as this program has at most.
        let (below, above, len) = (64 << 10, 64 << 10, 512 << 10);
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            status.lines().find(|line| line.starts_with("SigBlk")).unwrap().to_string()
        };
        let blocked_before = blocked();
        let base = linux::Linux::new().map(len).unwrap();
        linux::Errno(3).set();
        // SAFETY: fresh memory for each thread in turn, and a body of thin wrappers.
        assert!(unsafe { start(BareMemory { base, len, below, above }, &ALIVE, body) });
        loop {
            match ALIVE.load(Ordering::Acquire) {
                0 => break,
                number => {
                    futex_wait(&ALIVE, number, Some(1_000_000));
                }
            }
        }
        assert!(RAN.load(Ordering::Relaxed) > 7);
        assert_eq!(linux::Errno::last(), linux::Errno(3));
        assert_eq!(blocked(), blocked_before);
    }
}
