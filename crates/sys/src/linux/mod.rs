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
mod signals;
pub mod socket;
mod stay;
pub mod tape;
mod touched;

use core::ptr::without_provenance_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_void};

pub use clock::spare_counter;
pub use cpus::possible_cpus;
pub use environ::environment;
pub use errno::{Errno, PreservedErrno};
pub use first::first_memory;
pub use functions::{addresses as noted_functions, note as note_functions};
pub use futex::{Waited, futex_wait, futex_wake};
pub use membarrier::{
    membarrier_private, membarrier_private_rseq, membarrier_register_private, membarrier_register_rseq,
};
pub use process::{
    auxiliary_value, first_stack, has_thread, is_readable, monotonic_ns, process_id, process_ns, random_bits,
    thread_id, thread_name, thread_ns, unix_ns, write_all,
};
pub use rseq::{rseq_register, rseq_register_again, rseq_unregister};
pub use signals::{block_all_signals, block_signals};
pub use stay::stay_loaded;
pub use touched::{each_run, touched_end};

use crate::counters::{CallKind, Counters};
use crate::{MoveRefused, Moved, Refused, System, SystemCalls};
use call::syscall;
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

/// Puts new pages in the place of a mapped range, without guards.
#[cold]
#[inline(never)]
fn map_anew(addr: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: callers pass a range that they own and rely on nothing in.
    let at = unsafe { functions::mmap(pointer(addr), len, RW, ANONYMOUS | libc::MAP_FIXED, -1, 0) };
    if at == libc::MAP_FAILED { Err(refusal(Errno::last())) } else { Ok(()) }
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
    // Chromium's sandbox kills for a flag that it does not know.
    let flags = if control::filter_was_asked_for() { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let at = new_mapping(addr, len, RW, flags)?;
    if at != addr {
        // Without the flag, and for kernels before 4.17, the address is a hint.
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

/// How many moves are refused unasked after one that was refused half-way, or so that nobody knows whose the target is now: each such target is
/// lost to the allocator, with what was resident in it. As many more each time, so that a process that stays at its limit of mappings loses few.
struct LeftOut {
    left: AtomicUsize,
    next: AtomicUsize,
}

impl LeftOut {
    const FIRST: usize = 1000;

    const fn new() -> LeftOut {
        LeftOut { left: AtomicUsize::new(0), next: AtomicUsize::new(LeftOut::FIRST) }
    }

    /// Whether this move is to be left out. Where threads ask at once, some may count as one.
    fn takes_one(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn note_loss(&self) {
        let next = self.next.load(Ordering::Relaxed);
        self.left.store(next, Ordering::Relaxed);
        self.next.store(next.saturating_mul(2), Ordering::Relaxed);
    }
}

/// Moves one mapping, or a part of one, with `MREMAP_DONTUNMAP`, which leaves no hole for others to map into; where the kernel
/// (before 5.7) or the kind of mapping does not allow it, and `plainly` does, moves plainly and fills the hole.
///
/// # Safety
/// As for [`System::move_pages`].
unsafe fn move_mapping(from: usize, len: usize, to: usize, plainly: bool) -> Result<Moved, MoveRefused> {
    // SAFETY: the caller's promise.
    let mut moved = unsafe { remap(from, len, to, libc::MREMAP_DONTUNMAP) };
    if moved.is_ok() {
        return Ok(Moved::SourceClean);
    }
    // An unknown flag is refused before anything is touched. After any other error the target may be gone
    // and its addresses another's, onto whom nothing must be moved.
    if moved == Err(Errno(libc::EINVAL)) && plainly {
        // SAFETY: the caller's promise; nothing has changed.
        moved = unsafe { remap(from, len, to, 0) };
    }
    match moved {
        Ok(()) if map_exactly(from, len).is_ok() => Ok(Moved::SourceClean),
        Ok(()) => Ok(Moved::SourceGone),
        // The kernel clears the target before it looks at everything that can fail. Where that is occupied, it may not have come so far; or
        // another thread's mapping lies there already.
        Err(_) if map_exactly(to, len).is_ok() => Err(MoveRefused::Unchanged),
        Err(_) => Err(MoveRefused::TargetGone),
    }
}

/// Whether a mapped range is more than one mapping to the kernel. That refuses to lengthen several at once before it looks at anything
/// else, and lengthens none into other memory.
fn has_several_mappings(addr: usize, len: usize, os_page: usize) -> bool {
    let _preserved = PreservedErrno::new();
    // SAFETY: if it is done, a page is mapped where there was nothing.
    let lengthened = unsafe { syscall!(libc::SYS_mremap, addr, len, len + os_page, 0usize) };
    if lengthened >= 0 {
        // SAFETY: that page.
        unsafe { syscall!(libc::SYS_munmap, addr + len, os_page) };
        return false;
    }
    Errno::last() == Errno(libc::EFAULT)
}

/// How many bytes from the beginning of a mapped range on are one mapping. One call of the system where all are, else O(log(len)).
fn first_mapping(addr: usize, len: usize, os_page: usize) -> usize {
    if !has_several_mappings(addr, len, os_page) {
        return len;
    }
    let (mut one, mut several) = (1, len / os_page);
    while several - one > 1 {
        let middle = one.midpoint(several);
        if has_several_mappings(addr, middle * os_page, os_page) { several = middle } else { one = middle }
    }
    one * os_page
}

/// Has the range at `from` hold again what was moved from there to `to`, which reads as zeros afterwards. Copies it: what has refused to move
/// more might refuse to move it back.
///
/// # Safety
/// As for [`System::move_pages`], of which this has done a part, and left all mapped.
unsafe fn put_back(from: usize, len: usize, to: usize, os_page: usize) {
    for place in (0..len).step_by(os_page) {
        // SAFETY: a page that is mapped, and used by nobody else.
        let moved = unsafe { core::slice::from_raw_parts(pointer(to + place).cast::<u8>(), os_page) };
        // What was never touched stays so.
        if moved.iter().any(|&byte| byte != 0) {
            // SAFETY: as above; the ranges do not overlap.
            unsafe { pointer(from + place).cast::<u8>().copy_from_nonoverlapping(moved.as_ptr(), os_page) };
        }
    }
    // SAFETY: nobody relies on what is in the target.
    let purged = outcome(unsafe { functions::madvise(pointer(to), len, libc::MADV_DONTNEED) });
    if purged.is_err() {
        // SAFETY: as above.
        unsafe { pointer(to).cast::<u8>().write_bytes(0, len) };
    }
}

/// [`System::move_pages`], mapping by mapping: Linux 6.17 and later move several in one call, but may stop half-way and do not say so.
/// Where it was refused, with how many bytes had moved until then, which are back where they were.
///
/// # Safety
/// As for that.
unsafe fn move_mappings(
    from: usize,
    len: usize,
    to: usize,
    os_page: usize,
) -> Result<Moved, (MoveRefused, usize)> {
    let mut done = 0;
    while done < len {
        let part = first_mapping(from + done, len - done, os_page);
        // SAFETY: the caller's promise.
        match unsafe { move_mapping(from + done, part, to + done, part == len) } {
            Ok(Moved::SourceGone) => return Ok(Moved::SourceGone),
            Ok(Moved::SourceClean) => done += part,
            Err(refused) => {
                // SAFETY: the caller's promise; so much was moved.
                unsafe { put_back(from, done, to, os_page) };
                if refused == MoveRefused::TargetGone {
                    // Of the target, what is mapped and ours for sure.
                    let _ = unmap(to, done);
                    let _ = unmap(to + done + part, len - done - part);
                }
                return Err((refused, done));
            }
        }
    }
    Ok(Moved::SourceClean)
}

/// The same, unless that was refused lately so that it had better not been tried.
///
/// # Safety
/// As for [`System::move_pages`].
#[inline(never)]
unsafe fn move_pages(from: usize, len: usize, to: usize, os_page: usize) -> Result<Moved, MoveRefused> {
    static LEFT_OUT: LeftOut = LeftOut::new();

    let _preserved = PreservedErrno::new();
    if LEFT_OUT.takes_one() {
        return Err(MoveRefused::Unchanged);
    }
    // SAFETY: the caller's promise.
    unsafe { move_mappings(from, len, to, os_page) }.map_err(|(refused, moved)| {
        if refused == MoveRefused::TargetGone || moved > 0 {
            LEFT_OUT.note_loss();
        }
        refused
    })
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

    fn map_zeros(&self, len: usize) -> Result<usize, Refused> {
        let outcome = new_mapping(0, len, libc::PROT_READ, 0);
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
        let outcome = unsafe { move_pages(from, len, to, self.os_page_size()) };
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
        let opened = outcome(unsafe { functions::madvise(pointer(addr), len, GUARD_REMOVE) });
        // The kernel without guards answers that it does not know them; a filter that came after them, which stand, anything else.
        if opened.is_ok() || Errno::last() == Errno(libc::EINVAL) { opened } else { map_anew(addr, len) }
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

    fn populate(&self, addr: usize, len: usize) -> Result<(), Refused> {
        let _preserved = PreservedErrno::new();
        // SAFETY: what is in the pages stays.
        let populate =
            |len| outcome(unsafe { functions::madvise(pointer(addr), len, libc::MADV_POPULATE_WRITE) });
        match populate(len) {
            // The same error where the program forbade writing to a part: no bytes can be made resident wherever the call is known.
            Err(Refused::Unsupported) if populate(0).is_ok() => Err(Refused::Occupied),
            outcome => outcome,
        }
    }

    fn may_be_asked(&self) -> bool {
        !control::is_newly_filtered() && !control::may_kill_a_service()
    }

    fn monotonic_ns(&self) -> u64 {
        process::monotonic_ns()
    }

    fn thread_ns(&self) -> u64 {
        thread_ns()
    }

    fn process_ns(&self) -> u64 {
        process::process_ns()
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
