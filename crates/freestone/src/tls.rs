//! What the allocator keeps for each thread: 64 bytes of static TLS, no destructor, nothing allocated.
//!
//! The symbol is defined and read in assembly because `thread_local!` in a shared library calls
//! `__tls_get_addr` at each use (5.9 ns against 2.8) and the first use by a thread may allocate. With the
//! initial-exec model it is one load. 64 bytes fit the surplus that libc keeps for `dlopen`.
//!
//! # Safety
//!
//! Invariant T1: [`current`] points at the calling thread's own [`ThreadState`], valid until the thread ends.
//! Other threads never touch it, signal handlers of the same thread may: hence the atomics.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};
use core::mem::offset_of;

use crate::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// The thread's own state. The first 32 bytes have the layout of the kernel's `struct rseq`.
#[repr(C, align(64))]
pub(crate) struct ThreadState {
    pub(crate) rseq_cpu_start: AtomicU32,
    pub(crate) rseq_cpu: AtomicU32,
    pub(crate) rseq_cs: AtomicU64,
    pub(crate) rseq_flags: AtomicU32,
    pub(crate) rseq_node: AtomicU32,
    pub(crate) rseq_mm_cid: AtomicU32,
    rseq_padding: u32,
    /// Per-thread mode: the thread's region, null until it has one.
    pub(crate) region: AtomicPtr<u8>,
    /// Nonzero while the thread is inside the allocator.
    pub(crate) busy: AtomicU8,
    /// Stage of the thread's life, see `cache::cpu` and `cache::thread`.
    pub(crate) stage: AtomicU8,
    /// Nonzero while the thread forks.
    pub(crate) forking: AtomicU8,
    /// Nonzero once the recorder knows the thread.
    pub(crate) recorded: AtomicU8,
    /// Always -1: the cache number of a thread that shall use no per-CPU cache.
    pub(crate) no_cache: AtomicU32,
    /// Bytes left to the thread's next sample, in turns: see `observe.rs`.
    pub(crate) countdown: [AtomicI32; 2],
    /// What chance is drawn from; 0 before the first draw.
    pub(crate) chance: AtomicU64,
}

impl ThreadState {
    /// Turns zeros into the state of a thread that uses no cache.
    pub(crate) fn become_cacheless(&self) {
        for number in [&self.rseq_cpu, &self.rseq_mm_cid, &self.no_cache] {
            number.store(u32::MAX, Ordering::Relaxed);
        }
        self.stage.store(STAGE_ENDED, Ordering::Relaxed);
    }

    /// Whether it is that of a thread that uses no cache, as the allocator's own does not.
    pub(crate) fn is_cacheless(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == STAGE_ENDED
    }
}

/// `ThreadState::stage` of a thread that registers nothing any more.
pub(crate) const STAGE_ENDED: u8 = 2;

const _: () = assert!(size_of::<ThreadState>() == 64 && offset_of!(ThreadState, no_cache) == 44);

// cpu_id and mm_cid start at -1 ("not registered"), no_cache is -1, all else zero.
global_asm!(
    ".pushsection .tdata.freestone_thread_state, \"awT\", @progbits",
    ".p2align 6",
    ".globl freestone_thread_state",
    ".hidden freestone_thread_state",
    ".type freestone_thread_state, @object",
    ".size freestone_thread_state, 64",
    "freestone_thread_state:",
    ".long 0, -1, 0, 0, 0, 0, -1, 0",
    ".long 0, 0, 0, -1, 0, 0, 0, 0",
    ".popsection",
);

/// The thread's state, relative to the thread pointer; the same for all threads.
#[cfg(target_arch = "x86_64")]
pub(crate) fn offset() -> usize {
    let offset: usize;
    // SAFETY: reads the linker-made offset of the symbol above; no other effect.
    unsafe {
        asm!("mov {0}, qword ptr [rip + freestone_thread_state@GOTTPOFF]", out(reg) offset,
             options(pure, nomem, nostack, preserves_flags));
    }
    offset
}

#[cfg(target_arch = "aarch64")]
pub(crate) fn offset() -> usize {
    let offset: usize;
    // SAFETY: reads the linker-made offset of the symbol above; no other effect.
    unsafe {
        asm!("adrp {0}, :gottprel:freestone_thread_state",
             "ldr {0}, [{0}, :gottprel_lo12:freestone_thread_state]", out(reg) offset,
             options(pure, nomem, nostack, preserves_flags));
    }
    offset
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the x86-64 ABI keeps the thread pointer itself at fs:0.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly))
    };
    pointer
}

#[cfg(target_arch = "aarch64")]
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {0}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// The calling thread's state.
#[inline]
pub(crate) fn current() -> &'static ThreadState {
    let address = thread_pointer().wrapping_add(offset());
    // SAFETY: T1. The lifetime is that of the thread; no reference is handed to another thread.
    unsafe { &*core::ptr::with_exposed_provenance::<ThreadState>(address) }
}
