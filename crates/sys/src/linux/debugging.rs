//! What the debug mode asks for: memory that nobody can touch any more, reading memory that may be gone, and the first word
//! when an access fails.
//!
//! # Safety
//!
//! Ranges that are closed belong to the caller, as [`System`](crate::System) has it. The signal handler is set once; it reads
//! what the kernel passes to it, and atomics.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{c_int, c_void};

use super::call::syscall;
use super::errno::PreservedErrno;
use super::fault::{self, Access};
use super::{ANONYMOUS, RW, functions, pointer};

/// `MADV_GUARD_INSTALL` and `MADV_GUARD_REMOVE`, Linux 6.13: they take no mapping of their own.
const GUARD_INSTALL: c_int = 102;
const GUARD_REMOVE: c_int = 103;

/// Whether the kernel was found to have no guards: then ranges are opened and closed as mappings.
static BY_MAPPINGS: AtomicBool = AtomicBool::new(false);

/// Makes a reserved range one whose parts can be opened; all of it is closed. False when the kernel refuses.
///
/// # Safety
/// The caller owns the range, and nobody uses it.
pub unsafe fn prepare(addr: usize, len: usize) -> bool {
    let _preserved = PreservedErrno::new();
    if BY_MAPPINGS.load(Ordering::Relaxed) {
        return true;
    }
    // SAFETY: the caller's promise.
    if unsafe { functions::mprotect(pointer(addr), len, RW) } != 0 {
        return false;
    }
    // SAFETY: the caller's promise.
    if unsafe { functions::madvise(pointer(addr), len, GUARD_INSTALL) } == 0 {
        return true;
    }
    BY_MAPPINGS.store(true, Ordering::Relaxed);
    // SAFETY: the caller's promise.
    unsafe { functions::mprotect(pointer(addr), len, libc::PROT_NONE) == 0 }
}

/// Opens a part of a prepared range, which reads as zeros. False when the kernel refuses: it has no room for more mappings.
///
/// # Safety
/// The caller owns the range, and it was never opened before.
pub unsafe fn open(addr: usize, len: usize) -> bool {
    let _preserved = PreservedErrno::new();
    if BY_MAPPINGS.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise.
        unsafe { functions::mprotect(pointer(addr), len, RW) == 0 }
    } else {
        // SAFETY: the caller's promise.
        unsafe { functions::madvise(pointer(addr), len, GUARD_REMOVE) == 0 }
    }
}

/// Opens several parts of a prepared range, each `len` bytes long, the first at `addr` and each `stride` bytes behind the last: by
/// one system call, where the kernel has one for this (Linux 6.14). False when it refuses; some may be open then.
///
/// # Safety
/// As for [`open`], for each.
pub unsafe fn open_many(addr: usize, len: usize, stride: usize, count: usize) -> bool {
    const MOST: usize = 64;
    /// The calling process, in the place of a descriptor of one.
    const SELF: c_int = -10000;
    let _preserved = PreservedErrno::new();
    let mut done = 0;
    let may_ask = !BY_MAPPINGS.load(Ordering::Relaxed) && !super::control::filter_was_asked_for();
    if count <= MOST && may_ask {
        let mut parts = [libc::iovec { iov_base: core::ptr::null_mut(), iov_len: len }; MOST];
        for (index, part) in parts[..count].iter_mut().enumerate() {
            part.iov_base = pointer(addr + index * stride);
        }
        // SAFETY: the caller's promise; the kernel reads as many descriptions as there are.
        let bytes =
            unsafe { syscall!(libc::SYS_process_madvise, SELF, parts.as_ptr(), count, GUARD_REMOVE, 0usize) };
        done = bytes.max(0) as usize / len;
    }
    // SAFETY: the caller's promise.
    (done..count).all(|index| unsafe { open(addr + index * stride, len) })
}

/// Where glibc keeps the kernel's number of a thread, from the thread pointer on; 0 where that was not found to be so.
static THREAD_ID_AT: AtomicUsize = AtomicUsize::new(0);
/// Where that is in the versions known.
#[cfg(target_arch = "x86_64")]
const GLIBC_THREAD_ID: usize = 0x2d0;

/// Looks whether [`thread_id`] can do without a system call; by the first thread.
pub fn learn_thread_ids() {
    #[cfg(target_arch = "x86_64")]
    if thread_word(GLIBC_THREAD_ID) as i32 == super::thread_id() {
        THREAD_ID_AT.store(GLIBC_THREAD_ID, Ordering::Relaxed);
    }
}

/// The kernel's number of this thread. In a child of a bare `clone`, its parent's. 0 where a system call would be needed for it and the program
/// asked for a filter that might kill for that.
pub fn thread_id() -> i32 {
    match THREAD_ID_AT.load(Ordering::Relaxed) {
        0 if super::control::filter_was_asked_for() => 0,
        0 => super::thread_id(),
        #[cfg(target_arch = "x86_64")]
        at => thread_word(at) as i32,
        #[cfg(not(target_arch = "x86_64"))]
        _ => super::thread_id(),
    }
}

/// A word of what libc keeps for the calling thread, which is longer than that.
#[cfg(target_arch = "x86_64")]
fn thread_word(at: usize) -> u32 {
    let word: u32;
    // SAFETY: reads a word behind the thread pointer, within libc's own record of the thread.
    unsafe {
        core::arch::asm!("mov {0:e}, dword ptr fs:[{1}]", out(reg) word, in(reg) at,
            options(nostack, preserves_flags, readonly));
    }
    word
}

/// Drops what is in an open range and has every access fail from now on. False when the kernel refuses: it has no room for more
/// mappings.
///
/// # Safety
/// The caller owns the range, and nobody relies on what is in it.
pub unsafe fn close(addr: usize, len: usize) -> bool {
    let _preserved = PreservedErrno::new();
    // SAFETY: the caller's promise.
    if unsafe { functions::madvise(pointer(addr), len, GUARD_INSTALL) } == 0 {
        return true;
    }
    // SAFETY: the caller's promise.
    if unsafe { functions::mprotect(pointer(addr), len, libc::PROT_NONE) } != 0 {
        return false;
    }
    // SAFETY: the caller's promise. If it is refused the memory is kept, that is all.
    unsafe { functions::madvise(pointer(addr), len, libc::MADV_DONTNEED) };
    true
}

/// Turns a range into addresses without memory or page tables.
///
/// # Safety
/// As for [`close`], and nothing in the range will be used again.
pub unsafe fn close_for_ever(addr: usize, len: usize) {
    let _preserved = PreservedErrno::new();
    let flags = ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the caller owns the range, which is replaced by one without access. If it is refused the old one stays, closed.
    unsafe { functions::mmap(pointer(addr), len, libc::PROT_NONE, flags, -1, 0) };
}

/// Copies memory of this process that may be unmapped meanwhile; how many bytes could be read.
pub fn read_memory(addr: usize, into: &mut [u8]) -> usize {
    let _preserved = PreservedErrno::new();
    let to = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let from = libc::iovec { iov_base: pointer(addr), iov_len: into.len() };
    let (to, from) = (&raw const to, &raw const from);
    // SAFETY: the buffer is writable for its length; what is read from is checked by the kernel.
    let got = unsafe {
        syscall!(libc::SYS_process_vm_readv, super::process_id(), to, 1usize, from, 1usize, 0usize)
    };
    got.max(0) as usize
}

/// Appends to the file at `path`, which ends with a NUL and is made if it is not there; false when that cannot be, and where the
/// program asked for a filter of its system calls.
pub fn append(path: &[u8], bytes: &[u8]) -> bool {
    if super::control::filter_was_asked_for() {
        return false;
    }
    let _preserved = PreservedErrno::new();
    let Ok(path) = core::ffi::CStr::from_bytes_until_nul(path) else { return false };
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    let file = super::process::open_file(path, flags);
    if file < 0 {
        return false;
    }
    // SAFETY: numbers only.
    let len = unsafe { syscall!(libc::SYS_lseek, file, 0, libc::SEEK_END) }.max(0) as u64;
    let most = super::process::resource_limit(libc::RLIMIT_FSIZE);
    // Beyond the limit on files lies a signal that ends the process.
    let fits = most.is_none_or(|most| len + bytes.len() as u64 <= most);
    let written = fits && super::write_all(file, bytes);
    super::process::close_file(file);
    written
}

/// `fn(&Access)`, or 0.
static LISTENER: AtomicUsize = AtomicUsize::new(0);

/// The actions that were there before.
struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written once, before the handler that reads it is set.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::uninit()));

/// Has `listener` called when an access by the program fails (SIGSEGV). Afterwards the signal takes its course as if this had not
/// been. Once in a process; false when it cannot be.
pub fn listen_to_faults(listener: fn(&Access)) -> bool {
    let _preserved = PreservedErrno::new();
    if LISTENER.swap(listener as usize, Ordering::AcqRel) != 0 {
        return false;
    }
    // SAFETY: zeros are an action: the default one.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let before = BEFORE.0.get().cast();
    // SAFETY: an action of ours, and a place for the one before.
    unsafe { libc::sigaction(libc::SIGSEGV, &action, before) == 0 }
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: set before the handler was.
    unsafe { libc::sigaction(signal, BEFORE.0.get().cast(), core::ptr::null_mut()) };
    // SAFETY: the kernel passes the signal's information.
    if unsafe { (*info).si_code } <= 0 {
        // Not by an access, which would fail again: by somebody, and he wants it delivered.
        // SAFETY: numbers only.
        unsafe { syscall!(libc::SYS_tgkill, super::process_id(), super::thread_id(), signal) };
        return;
    }
    let listener = LISTENER.load(Ordering::Acquire);
    // SAFETY: what was stored there is such a function.
    let listener = unsafe { core::mem::transmute::<usize, fn(&Access)>(listener) };
    // SAFETY: from the kernel, for a refused access.
    listener(&unsafe { fault::access(info, context) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Linux, System};

    #[test]
    fn each_thread_knows_its_number() {
        learn_thread_ids();
        let own = || assert_eq!(thread_id(), crate::linux::thread_id());
        own();
        std::thread::spawn(own).join().expect("it ends well");
    }

    #[test]
    fn parts_are_opened_together() {
        const PARTS: usize = 40;
        let system = Linux::new();
        let at = system.reserve(2 * PARTS * 4096).expect("addresses");
        // SAFETY: our own, which nobody uses.
        assert!(unsafe { prepare(at, 2 * PARTS * 4096) });
        // SAFETY: a part of it.
        assert!(unsafe { open_many(at, 4096, 2 * 4096, PARTS) });
        for page in 0..2 * PARTS {
            let readable = read_memory(at + page * 4096, &mut [1; 16]) == 16;
            assert_eq!(readable, page % 2 == 0, "page {page}");
        }
        // SAFETY: our own mapping.
        unsafe { system.release(at, 2 * PARTS * 4096) }.expect("a mapping");
    }

    #[test]
    fn memory_that_is_closed_cannot_be_read() {
        let system = Linux::new();
        let at = system.reserve(3 * 4096).expect("addresses");
        // SAFETY: our own, which nobody uses.
        assert!(unsafe { prepare(at, 3 * 4096) });
        assert_eq!(read_memory(at, &mut [1; 64]), 0);
        // SAFETY: a part of it.
        assert!(unsafe { open(at, 2 * 4096) });
        let mut bytes = [1; 64];
        assert_eq!(read_memory(at + 4096, &mut bytes), 64);
        assert_eq!(bytes, [0; 64]);
        // SAFETY: our own mapping, which nobody uses.
        assert!(unsafe { close(at + 4096, 4096) });
        assert_eq!(read_memory(at + 4096, &mut bytes), 0);
        assert_eq!(read_memory(at + 4096 - 16, &mut bytes), 16, "up to where it is closed");
        // SAFETY: as above.
        unsafe { close_for_ever(at, 3 * 4096) };
        assert_eq!(read_memory(at, &mut bytes), 0);
        // SAFETY: as above.
        unsafe { system.release(at, 3 * 4096) }.expect("a mapping");
    }
}
