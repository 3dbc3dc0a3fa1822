//! The system as one small contract: what Freestone asks of the kernel, and nothing else.
//!
//! [`System`] is the contract for memory. [`Linux`] keeps it with system calls; `sim::Simulated`
//! (feature `sim`) keeps it too, watches that its caller does, and refuses on demand. Beside it,
//! [`linux`] has the few other calls an allocator needs: futexes, rseq, membarrier, CPU numbers.
//!
//! Nothing here allocates, and every call leaves `errno` as it found it: `free` must, and the
//! page heap runs inside it.
//!
//! # Safety
//!
//! This file contains no unsafe operation, only the declarations of the trait's unsafe methods and
//! their passing on from `&S` to `S`, whose contracts are the same.
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code)]

pub mod counters;
pub mod linux;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

pub use counters::{Counters, SystemCalls};
pub use linux::Linux;

/// Why the system did not do what it was asked. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The addresses asked for are in use, or cannot be used by this process.
    Occupied,
    /// No memory, no address space, or too many mappings: asking for less may help.
    Exhausted,
    /// The kernel does not know the call, or does not allow it here.
    Unsupported,
}

/// What [`System::move_pages`] left behind at the old addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// The old range is still mapped and reads as zeros.
    SourceClean,
    /// The old range is no longer mapped.
    SourceGone,
}

/// Why [`System::move_pages`] moved nothing. The contents are where they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveRefused {
    /// Nothing has changed, except that the target range may now read as zeros.
    Unchanged,
    /// The target range is no longer mapped, or may be mapped by somebody else.
    TargetGone,
}

/// What Freestone asks of the system for memory.
///
/// Addresses and lengths are multiples of [`os_page_size`](System::os_page_size) and no length is
/// zero. Every method preserves `errno`, and none of them allocates.
pub trait System: Sync {
    /// Maps `len` bytes at exactly `addr`: private, readable, writable, zero, not counted against
    /// the commit limit where the kernel allows that. Never replaces an existing mapping: where
    /// there is one, the answer is [`Refused::Occupied`].
    fn map_at(&self, addr: usize, len: usize) -> Result<(), Refused>;

    /// Maps `len` bytes like [`map_at`](System::map_at), wherever the system likes.
    fn map(&self, len: usize) -> Result<usize, Refused>;

    /// Reserves `len` bytes of addresses anywhere; they must not be touched before a `commit`.
    fn reserve(&self, len: usize) -> Result<usize, Refused>;

    /// Maps `len` bytes like [`map`](System::map), to be read only until a `commit` makes a part writable; of the rest
    /// nothing counts against the commit limit, whatever the kernel's rules.
    fn map_zeros(&self, len: usize) -> Result<usize, Refused> {
        self.map(len)
    }

    /// Makes a part of a reserved range, or of one of zeros, readable and writable. It reads as zeros where it was
    /// not committed before, and keeps its contents where it was.
    ///
    /// # Safety
    /// The range lies within one reservation of the caller's, or one of its ranges of zeros.
    unsafe fn commit(&self, addr: usize, len: usize) -> Result<(), Refused>;

    /// Drops the contents of a mapped range at once: it reads as zeros and stays mapped. When
    /// refused (locked pages, for instance), the contents must be taken as unchanged or zero.
    ///
    /// # Safety
    /// The caller owns the range, it is mapped, and nobody relies on what is in it.
    unsafe fn purge(&self, addr: usize, len: usize) -> Result<(), Refused>;

    /// Gives a range of addresses up.
    ///
    /// # Safety
    /// The caller owns the range, it is mapped or reserved, and nobody uses it any more.
    unsafe fn release(&self, addr: usize, len: usize) -> Result<(), Refused>;

    /// Moves the pages of `[from, from + len)` to `[to, to + len)` without copying a byte; what
    /// was in the target is dropped. See [`Moved`] and [`MoveRefused`] for what becomes of both.
    ///
    /// # Safety
    /// The caller owns both ranges, which do not overlap; both are mapped, `from` by calls of
    /// `map_at`, `map` or `move_pages`; nobody else uses either during the call, and nobody relies
    /// on what is in the target.
    unsafe fn move_pages(&self, from: usize, len: usize, to: usize) -> Result<Moved, MoveRefused>;

    /// Asks for huge pages in a mapped range, or for none. A wish: nothing tells whether it is heard.
    fn ask_for_huge_pages(&self, addr: usize, len: usize, wanted: bool) {
        let _ = (addr, len, wanted);
    }

    /// Drops the contents of a mapped range and has every access to it end in a fault, until
    /// [`unguard`](System::unguard). Takes no mapping of its own: a kernel that cannot do it so refuses.
    ///
    /// # Safety
    /// As for [`purge`](System::purge); nobody touches the range meanwhile.
    unsafe fn guard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _ = (addr, len);
        Err(Refused::Unsupported)
    }

    /// Makes guarded pages of a mapped range accessible again: they read as zeros. Others keep what they hold, or read as zeros, too.
    ///
    /// # Safety
    /// The caller owns the range and relies on nothing in it.
    unsafe fn unguard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _ = (addr, len);
        Err(Refused::Unsupported)
    }

    /// Whether the system makes huge pages of 2 MiB of what asks for them, and of nothing else.
    fn offers_huge_pages(&self) -> bool {
        false
    }

    /// Whether a mapped range seems to have been touched all over, as far as a look at a few of its OS pages tells.
    fn seems_touched(&self, addr: usize, len: usize) -> bool {
        let _ = (addr, len);
        false
    }

    /// Whether the system may be asked what is resident.
    fn tells_what_is_resident(&self) -> bool {
        true
    }

    /// Bytes of a mapped range of whole OS pages that are resident; all where the system does not tell. What is not may lie in swap space.
    fn resident_bytes(&self, addr: usize, len: usize) -> usize {
        let _ = addr;
        len
    }

    /// Makes a mapped range read as zeros: clears it, or where little is resident only what is so from its beginning on, and drops
    /// the rest; bytes that were resident, as far as the system tells. O(len).
    ///
    /// # Safety
    /// The caller owns the range, it is mapped, and nobody relies on what is in it.
    unsafe fn clear(&self, addr: usize, len: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(addr).write_bytes(0, len) };
        len
    }

    /// Makes a mapped range resident, and changes nothing in it. [`Refused::Unsupported`] only where no range can be made so.
    fn populate(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _ = (addr, len);
        Err(Refused::Unsupported)
    }

    /// Whether calls may be made that can be left out: a filter that came later might kill for them.
    fn may_be_asked(&self) -> bool {
        true
    }

    /// Nanoseconds on a clock that never goes back.
    fn monotonic_ns(&self) -> u64 {
        0
    }

    /// Nanoseconds for which the calling thread has run.
    fn thread_ns(&self) -> u64 {
        0
    }

    /// Nanoseconds for which all threads of the process have run.
    fn process_ns(&self) -> u64 {
        self.thread_ns()
    }

    /// Bytes in an OS page, a power of two.
    fn os_page_size(&self) -> usize;

    /// The limit on this process's addresses in bytes (`RLIMIT_AS`), if there is one.
    fn address_space_limit(&self) -> Option<usize>;

    /// 64 bits that nobody outside can guess.
    fn random(&self) -> u64;

    /// What was asked so far.
    fn calls(&self) -> SystemCalls;
}

impl<S: System> System for &S {
    fn map_at(&self, addr: usize, len: usize) -> Result<(), Refused> {
        (**self).map_at(addr, len)
    }
    fn map(&self, len: usize) -> Result<usize, Refused> {
        (**self).map(len)
    }
    fn reserve(&self, len: usize) -> Result<usize, Refused> {
        (**self).reserve(len)
    }
    fn map_zeros(&self, len: usize) -> Result<usize, Refused> {
        (**self).map_zeros(len)
    }
    unsafe fn commit(&self, addr: usize, len: usize) -> Result<(), Refused> {
        // SAFETY: the same contract.
        unsafe { (**self).commit(addr, len) }
    }
    unsafe fn purge(&self, addr: usize, len: usize) -> Result<(), Refused> {
        // SAFETY: the same contract.
        unsafe { (**self).purge(addr, len) }
    }
    unsafe fn release(&self, addr: usize, len: usize) -> Result<(), Refused> {
        // SAFETY: the same contract.
        unsafe { (**self).release(addr, len) }
    }
    unsafe fn move_pages(&self, from: usize, len: usize, to: usize) -> Result<Moved, MoveRefused> {
        // SAFETY: the same contract.
        unsafe { (**self).move_pages(from, len, to) }
    }
    fn ask_for_huge_pages(&self, addr: usize, len: usize, wanted: bool) {
        (**self).ask_for_huge_pages(addr, len, wanted);
    }

    unsafe fn guard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        // SAFETY: the same contract.
        unsafe { (**self).guard(addr, len) }
    }
    unsafe fn unguard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        // SAFETY: the same contract.
        unsafe { (**self).unguard(addr, len) }
    }
    fn offers_huge_pages(&self) -> bool {
        (**self).offers_huge_pages()
    }

    fn seems_touched(&self, addr: usize, len: usize) -> bool {
        (**self).seems_touched(addr, len)
    }

    fn tells_what_is_resident(&self) -> bool {
        (**self).tells_what_is_resident()
    }

    fn resident_bytes(&self, addr: usize, len: usize) -> usize {
        (**self).resident_bytes(addr, len)
    }

    unsafe fn clear(&self, addr: usize, len: usize) -> usize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).clear(addr, len) }
    }

    fn populate(&self, addr: usize, len: usize) -> Result<(), Refused> {
        (**self).populate(addr, len)
    }

    fn may_be_asked(&self) -> bool {
        (**self).may_be_asked()
    }

    fn monotonic_ns(&self) -> u64 {
        (**self).monotonic_ns()
    }

    fn thread_ns(&self) -> u64 {
        (**self).thread_ns()
    }

    fn process_ns(&self) -> u64 {
        (**self).process_ns()
    }

    fn os_page_size(&self) -> usize {
        (**self).os_page_size()
    }
    fn address_space_limit(&self) -> Option<usize> {
        (**self).address_space_limit()
    }
    fn random(&self) -> u64 {
        (**self).random()
    }
    fn calls(&self) -> SystemCalls {
        (**self).calls()
    }
}
