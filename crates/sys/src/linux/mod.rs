//! Linux: memory by libc's thin wrappers, of which none used here allocates (`functions.rs`); all else by the kernel itself (`call.rs`).
//!
//! # Safety
//!
//! Each method is one or a few memory system calls. They are sound because the contract of
//! [`System`] makes the caller the owner of every range that is changed, and because new ranges are
//! only ever taken where nothing is mapped (`MAP_FIXED_NOREPLACE`, or no fixed address at all).
#![allow(unsafe_code)]

pub mod bare;
mod call;
pub mod cgroup;
mod clock;
pub mod control;
mod cpus;
pub mod debugging;
mod environ;
mod errno;
pub mod fault;
mod first;
mod functions;
mod futex;
pub mod mappings;
mod membarrier;
pub mod pressure;
pub mod process;
pub mod read_file;
pub mod referenced;
pub mod residency;
mod rseq;
pub mod scratch;
pub mod shared;
pub mod socket;
mod stay;
pub mod tape;
mod touched;

use core::ptr::without_provenance_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_void};

pub use cpus::possible_cpus;
pub use environ::environment;
pub use errno::{Errno, PreservedErrno};
pub use first::first_memory;
pub use functions::note as note_functions;
pub use futex::{Waited, futex_wait, futex_wake};
pub use membarrier::{
    membarrier_private, membarrier_private_rseq, membarrier_register_private, membarrier_register_rseq,
};
pub use process::{
    auxiliary_value, first_stack, is_readable, monotonic_ns, process_id, process_ns, random_bits, thread_id,
    thread_name, thread_ns, unix_ns, write_all,
};
pub use rseq::{rseq_register, rseq_unregister};
pub use stay::stay_loaded;
pub use touched::{each_run, touched_end};

use crate::counters::{CallKind, Counters};
use crate::{MoveRefused, Moved, Refused, System, SystemCalls};
use first::First;

/// The real system.
pub struct Linux {
    counters: Counters,
    first: First,
}

impl Linux {
    /// Usable in a `static`.
    pub const fn new() -> Linux {
        Linux { counters: Counters::new(), first: First::none() }
    }

    /// The same, but its first small ranges lie in the program's image and cost no system call.
    ///
    /// # Safety
    /// There is no other of this kind in the process.
    pub const unsafe fn with_first_memory() -> Linux {
        // SAFETY: the same promise.
        Linux { counters: Counters::new(), first: unsafe { First::all() } }
    }

    /// A new mapping anywhere, or a part of the first memory.
    fn anywhere(&self, len: usize, protection: c_int) -> Result<usize, Refused> {
        match self.first.take(len, self.os_page_size()) {
            Some(at) => Ok(at),
            None => new_mapping(0, len, protection, 0),
        }
    }
}

impl Default for Linux {
    fn default() -> Self {
        Self::new()
    }
}

/// `MADV_GUARD_INSTALL` and `MADV_GUARD_REMOVE`, Linux 6.13.
const GUARD_INSTALL: c_int = 102;
const GUARD_REMOVE: c_int = 103;

const RW: c_int = libc::PROT_READ | libc::PROT_WRITE;
const ANONYMOUS: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

fn refusal(errno: Errno) -> Refused {
    match errno.0 {
        libc::EEXIST => Refused::Occupied,
        libc::ENOMEM | libc::EAGAIN => Refused::Exhausted,
        _ => Refused::Unsupported,
    }
}

fn pointer(addr: usize) -> *mut c_void {
    without_provenance_mut(addr)
}

/// A new anonymous mapping, never over an old one: without `MAP_FIXED_NOREPLACE` in `flags`, `addr`
/// is a hint.
fn new_mapping(addr: usize, len: usize, protection: c_int, flags: c_int) -> Result<usize, Refused> {
    let _preserved = PreservedErrno::new();
    // SAFETY: an anonymous mapping where nothing is mapped touches nobody's memory; no caller
    // passes MAP_FIXED.
    let at = unsafe { functions::mmap(pointer(addr), len, protection, ANONYMOUS | flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(refusal(Errno::last())) } else { Ok(at.expose_provenance()) }
}

/// Has every store to a mapped range fail from now on. Addresses and lengths as for [`System`].
///
/// # Safety
/// The caller owns the range, and nobody stores to it any more.
pub unsafe fn make_read_only(addr: usize, len: usize) -> Result<(), Refused> {
    let _preserved = PreservedErrno::new();
    // SAFETY: the caller's promise.
    outcome(unsafe { functions::mprotect(pointer(addr), len, libc::PROT_READ) })
}

/// Has every access to a mapped range fail, or none any more: where [`System::guard`] cannot. Each takes mappings of its own.
///
/// # Safety
/// The caller owns the range, and nobody uses it while accesses fail.
pub unsafe fn forbid(addr: usize, len: usize, forbidden: bool) -> Result<(), Refused> {
    let _preserved = PreservedErrno::new();
    // SAFETY: the caller's promise.
    outcome(unsafe { functions::mprotect(pointer(addr), len, if forbidden { libc::PROT_NONE } else { RW }) })
}

/// Turns libc's 0 or -1 into a result.
fn outcome(returned: c_int) -> Result<(), Refused> {
    if returned == 0 { Ok(()) } else { Err(refusal(Errno::last())) }
}

fn unmap(addr: usize, len: usize) -> Result<(), Refused> {
    let _preserved = PreservedErrno::new();
    // SAFETY: callers pass a range that they own and that nobody uses.
    outcome(unsafe { functions::munmap(pointer(addr), len) })
}

fn map_exactly(addr: usize, len: usize) -> Result<(), Refused> {
    let at = new_mapping(addr, len, RW, libc::MAP_FIXED_NOREPLACE)?;
    if at != addr {
        // Kernels before 4.17 take the address as a hint.
        let _ = unmap(at, len);
        return Err(Refused::Occupied);
    }
    Ok(())
}

/// `mremap` of `[from, from + len)` onto `[to, to + len)`.
///
/// # Safety
/// As for [`System::move_pages`].
unsafe fn remap(from: usize, len: usize, to: usize, flags: c_int) -> Result<(), Errno> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | flags;
    // SAFETY: the caller owns both ranges and relies on nothing in the target.
    let at = unsafe { functions::mremap(pointer(from), len, len, flags, pointer(to)) };
    if at == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// Moves with `MREMAP_DONTUNMAP`, which leaves no hole for others to map into; where the kernel
/// (before 5.7) or the kind of mapping does not allow it, moves plainly and fills the hole.
///
/// # Safety
/// As for [`System::move_pages`].
unsafe fn move_pages(from: usize, len: usize, to: usize) -> Result<Moved, MoveRefused> {
    /// Moves that are refused unasked after one that was refused so that nobody knows whose the target is now.
    const LEFT_OUT: usize = 1000;
    static TO_LEAVE_OUT: AtomicUsize = AtomicUsize::new(0);

    let _preserved = PreservedErrno::new();
    let left_out = TO_LEAVE_OUT.load(Ordering::Relaxed);
    if left_out > 0 {
        TO_LEAVE_OUT.store(left_out - 1, Ordering::Relaxed);
        return Err(MoveRefused::Unchanged);
    }
    // SAFETY: the caller's promise.
    let mut moved = unsafe { remap(from, len, to, libc::MREMAP_DONTUNMAP) };
    if moved.is_ok() {
        return Ok(Moved::SourceClean);
    }
    // An unknown flag is refused before anything is touched. After any other error the target may be gone
    // and its addresses another's, onto whom nothing must be moved.
    if moved == Err(Errno(libc::EINVAL)) {
        // SAFETY: the caller's promise; nothing has changed.
        moved = unsafe { remap(from, len, to, 0) };
    }
    match moved {
        Ok(()) if map_exactly(from, len).is_ok() => Ok(Moved::SourceClean),
        Ok(()) => Ok(Moved::SourceGone),
        // The kernel clears the target before it looks at everything that can fail. Where that is occupied, it may not have come so far; or
        // another thread's mapping lies there already.
        Err(_) if map_exactly(to, len).is_ok() => Err(MoveRefused::Unchanged),
        Err(_) => {
            TO_LEAVE_OUT.store(LEFT_OUT, Ordering::Relaxed);
            Err(MoveRefused::TargetGone)
        }
    }
}

impl System for Linux {
    fn map_at(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let outcome = map_exactly(addr, len);
        self.counters.count(CallKind::Map, len, &outcome);
        outcome
    }

    fn map(&self, len: usize) -> Result<usize, Refused> {
        let outcome = self.anywhere(len, RW);
        self.counters.count(CallKind::Map, len, &outcome);
        outcome
    }

    fn reserve(&self, len: usize) -> Result<usize, Refused> {
        let outcome = self.anywhere(len, libc::PROT_NONE);
        self.counters.count(CallKind::Reserve, len, &outcome);
        outcome
    }

    unsafe fn commit(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _preserved = PreservedErrno::new();
        let outcome = if first::holds(addr) {
            Ok(())
        } else {
            // SAFETY: the range is a part of a reservation of the caller's.
            outcome(unsafe { functions::mprotect(pointer(addr), len, RW) })
        };
        self.counters.count(CallKind::Commit, len, &outcome);
        outcome
    }

    unsafe fn purge(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _preserved = PreservedErrno::new();
        // SAFETY: the caller owns the range and relies on nothing in it.
        let outcome = outcome(unsafe { functions::madvise(pointer(addr), len, libc::MADV_DONTNEED) });
        self.counters.count(CallKind::Purge, len, &outcome);
        outcome
    }

    unsafe fn release(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let outcome = if first::holds(addr) {
            // The image stays whole: collectors of garbage take all of its data for readable.
            // SAFETY: the caller's promise.
            let _ = unsafe { self.unguard(addr, len) };
            // SAFETY: the caller's promise.
            unsafe { self.purge(addr, len) }
        } else {
            unmap(addr, len)
        };
        self.counters.count(CallKind::Release, len, &outcome);
        outcome
    }

    unsafe fn move_pages(&self, from: usize, len: usize, to: usize) -> Result<Moved, MoveRefused> {
        // SAFETY: the caller's promise is the same.
        let outcome = unsafe { move_pages(from, len, to) };
        self.counters.count(CallKind::Move, len, &outcome);
        outcome
    }

    unsafe fn guard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _preserved = PreservedErrno::new();
        // SAFETY: the caller owns the range and relies on nothing in it.
        let outcome = outcome(unsafe { functions::madvise(pointer(addr), len, GUARD_INSTALL) });
        // A purge is what it is to everybody who counts memory.
        self.counters.count(CallKind::Purge, len, &outcome);
        outcome
    }

    unsafe fn unguard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _preserved = PreservedErrno::new();
        // SAFETY: the caller owns the range.
        outcome(unsafe { functions::madvise(pointer(addr), len, GUARD_REMOVE) })
    }

    fn ask_for_huge_pages(&self, addr: usize, len: usize, wanted: bool) {
        let _preserved = PreservedErrno::new();
        let advice = if wanted { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: how pages are made up changes nothing in them.
        unsafe { functions::madvise(pointer(addr), len, advice) };
    }

    fn offers_huge_pages(&self) -> bool {
        self.os_page_size() == 4096
            && !control::filter_was_asked_for()
            && control::huge_pages() == control::HugePages::OnRequest
    }

    fn seems_touched(&self, addr: usize, len: usize) -> bool {
        touched::seems_touched(addr, len, self.os_page_size())
    }

    fn tells_what_is_resident(&self) -> bool {
        control::may_ask_what_is_resident()
    }

    fn resident_bytes(&self, addr: usize, len: usize) -> usize {
        let mut resident = 0;
        touched::each_run(addr, addr + len, self.os_page_size(), |from, to, is_resident| {
            resident += if is_resident { to - from } else { 0 };
        });
        resident
    }

    unsafe fn clear(&self, addr: usize, len: usize) -> usize {
        /// Where more than this part is resident, writing costs less than pages anew.
        const SPARSE_PART: usize = 4;
        let (os_page, end) = (self.os_page_size(), addr + len);
        // What is resident from the beginning on was used by the last block, and will be by this one.
        let (mut resident, mut written_end) = (0, addr);
        if (addr | len).is_multiple_of(os_page) && control::may_ask_what_is_resident() {
            touched::each_run(addr, end, os_page, |from, to, is_resident| {
                if is_resident {
                    resident += to - from;
                    written_end = if from == written_end { to } else { written_end };
                }
            });
        } else {
            resident = len;
        }
        if resident > len / SPARSE_PART {
            written_end = end;
        }
        // What is not resident may lie in swap space, so nothing can be left as it is.
        // SAFETY: the caller owns the range and relies on nothing in it.
        if written_end < end && unsafe { self.purge(written_end, end - written_end) }.is_err() {
            written_end = end;
        }
        // SAFETY: as above.
        unsafe { pointer(addr).cast::<u8>().write_bytes(0, written_end - addr) };
        resident
    }

    fn thread_ns(&self) -> u64 {
        thread_ns()
    }

    fn os_page_size(&self) -> usize {
        match auxiliary_value(libc::AT_PAGESZ) {
            0 => 4096,
            size => size,
        }
    }

    fn address_space_limit(&self) -> Option<usize> {
        /// What was said last: what a program that may not ask any more has to go by. No limit has this many bytes.
        static LAST: AtomicUsize = AtomicUsize::new(NONE);
        const NONE: usize = usize::MAX;
        if !control::filter_was_asked_for() {
            let limit = process::resource_limit(libc::RLIMIT_AS);
            LAST.store(limit.map_or(NONE, |limit| limit as usize), Ordering::Relaxed);
        }
        Some(LAST.load(Ordering::Relaxed)).filter(|&bytes| bytes != NONE)
    }

    fn random(&self) -> u64 {
        random_bits()
    }

    fn calls(&self) -> SystemCalls {
        self.counters.snapshot()
    }
}

#[cfg(test)]
mod tests;
