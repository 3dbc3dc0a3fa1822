//! Locking without locked instructions while the process has one thread.
//!
//! A locked instruction waits until all earlier stores of the program have reached the cache: some 20 ns each where they
//! missed it, and a slow path has four. libc knows whether there is one thread: glibc's `__libc_single_threaded` (2.32
//! and later) is true until the first thread is about to be made. As with glibc's own malloc, a program that makes
//! threads behind libc's back must not let two of them allocate.
//!
//! While a thread is alone it enters the gate *plainly*: it counts itself, locks and unlocks by plain stores. What libc
//! does not know is the allocator's own thread, which announces itself before it enters (`company.rs`). A signal handler
//! that interrupts the only thread inside is kept out by the gate. The first thread of the program is made by the
//! only one there is, which is not inside then.
//!
//! # Safety
//!
//! The symbol is weak: its address is null where libc has none, else that of a byte that lives for ever.
#![allow(unsafe_code)]

use core::sync::atomic::compiler_fence;

use freestone_sys::linux;

use super::atomic::{AtomicBool, AtomicU32, Ordering};
use super::company::Company;

static COMPANY: Company = Company::new();

/// Whether whoever is inside the gate is alone there, by [`enter_plainly`].
#[inline(always)]
pub(crate) fn plain() -> bool {
    COMPANY.is_plain()
}

/// Enters plainly if the thread is alone, until [`leave_plainly`].
#[inline(always)]
pub(crate) fn enter_plainly() -> bool {
    COMPANY.enter_plainly(one_thread, || compiler_fence(Ordering::SeqCst))
}

/// Ends what [`enter_plainly`] began.
#[inline(always)]
pub(crate) fn leave_plainly() {
    COMPANY.leave_plainly();
}

/// Called by the thread that is about to start the allocator's own: nobody is alone any more.
pub(crate) fn expect_company() {
    COMPANY.expect();
}

/// Called by the allocator's own thread before it enters: waits until nobody is plainly inside or will be. False when the
/// kernel gave no barrier (a filter that came later): then it has waited for longer than any store takes to be seen, and
/// must not [`leave_alone`] any more while it lives.
pub(crate) fn accompany() -> bool {
    static NEVER: AtomicU32 = AtomicU32::new(0);
    // Inside is where a page fault may take its time.
    let mut pause_ns = 20_000;
    let wait = || {
        linux::futex_wait(&NEVER, 0, Some(pause_ns));
        pause_ns = (2 * pause_ns).min(10_000_000);
    };
    if COMPANY.accompany(linux::membarrier_private, wait) {
        return true;
    }
    let pause = || {
        linux::futex_wait(&NEVER, 0, Some(5_000_000));
    };
    pause();
    COMPANY.wait(pause);
    false
}

/// Called by the allocator's own thread outside all locks, and by whoever finds that there is none: it enters no more before it
/// accompanies again.
pub(crate) fn leave_alone() {
    COMPANY.leave_alone();
}

/// Whether libc knows of one thread only.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn one_thread() -> bool {
    let flag: *const AtomicBool;
    // SAFETY: reads a weak symbol's address.
    unsafe {
        core::arch::asm!(
            ".weak __libc_single_threaded",
            #[cfg(target_arch = "x86_64")]
            "mov {0}, qword ptr [rip + __libc_single_threaded@GOTPCREL]",
            #[cfg(target_arch = "aarch64")]
            "adrp {0}, :got:__libc_single_threaded",
            #[cfg(target_arch = "aarch64")]
            "ldr {0}, [{0}, :got_lo12:__libc_single_threaded]",
            out(reg) flag, options(pure, nomem, nostack, preserves_flags)
        );
    }
    // SAFETY: null or libc's own flag, a byte of 0 or 1.
    unsafe { flag.as_ref() }.is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Whether libc knows of one thread only.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
pub(crate) fn one_thread() -> bool {
    false
}
