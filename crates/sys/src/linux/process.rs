//! Facts about this process, and bytes to files, without libc's buffers.
//!
//! # Safety
//!
//! Each call passes a buffer of its own frame or a borrowed slice, with its true length.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_long, c_ulong, c_void};

use super::call::syscall;
use super::clock;
use super::errno::{Errno, PreservedErrno};

/// A value from the auxiliary vector that the kernel gave the process, 0 when it has none.
pub fn auxiliary_value(key: c_ulong) -> usize {
    let _preserved = PreservedErrno::new();
    // SAFETY: reads libc's copy of the vector; no preconditions.
    unsafe { libc::getauxval(key) as usize }
}

/// Nanoseconds on a clock that never goes back.
pub fn monotonic_ns() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds for which the calling thread has run.
pub fn thread_ns() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds for which all threads of the process have run.
pub fn process_ns() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let now = clock::read(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Bytes of memory that this machine has, swap not counted.
pub fn machine_memory() -> usize {
    let _preserved = PreservedErrno::new();
    // SAFETY: all zeros are a valid value.
    let mut info: libc::sysinfo = unsafe { core::mem::zeroed() };
    // SAFETY: `info` is ours and of the type that the call fills.
    if unsafe { syscall!(libc::SYS_sysinfo, &raw mut info) } != 0 {
        return usize::MAX;
    }
    (info.totalram as usize).saturating_mul(info.mem_unit as usize)
}

#[cfg(target_env = "gnu")]
pub(super) type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
pub(super) type Resource = libc::c_int;

/// A limit of this process; `None` where there is none, or the kernel does not tell.
pub(super) fn resource_limit(resource: Resource) -> Option<u64> {
    let _preserved = PreservedErrno::new();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: asks about this process; `limit` is ours and of the type that the call fills.
    let returned = unsafe { syscall!(libc::SYS_prlimit64, 0, resource, 0usize, &raw mut limit) };
    (returned == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The number of this process, from the kernel at each call: right in a forked child too.
pub fn process_id() -> i32 {
    // SAFETY: no preconditions.
    unsafe { syscall!(libc::SYS_getpid) as i32 }
}

/// The kernel's number of this thread.
pub fn thread_id() -> i32 {
    // SAFETY: no preconditions.
    unsafe { syscall!(libc::SYS_gettid) as i32 }
}

/// Whether this process has a thread of that number; yes, where the kernel does not tell.
pub fn has_thread(number: i32) -> bool {
    const NO_SIGNAL: c_int = 0;
    let _preserved = PreservedErrno::new();
    // SAFETY: numbers only; nothing is sent.
    let sent = unsafe { syscall!(libc::SYS_tgkill, process_id(), number, NO_SIGNAL) };
    sent == 0 || Errno::last() != Errno(libc::ESRCH)
}

/// Writes all of `bytes` to `file`, resuming after signals; false when the file takes no more. Not by libc's function, which ends a thread
/// that is to be cancelled, here in the middle of a malloc. The same holds for the other calls with files here.
pub fn write_all(file: c_int, mut bytes: &[u8]) -> bool {
    let _preserved = PreservedErrno::new();
    while !bytes.is_empty() {
        // SAFETY: the slice is readable for its length.
        let written = unsafe { syscall!(libc::SYS_write, file, bytes.as_ptr(), bytes.len()) };
        match written {
            1.. => bytes = &bytes[written as usize..],
            0 => return false,
            _ if Errno::last() == Errno(libc::EINTR) => {}
            _ => return false,
        }
    }
    true
}

/// Whether the process may write to files at all. Where it may not, a message to a standard error that is a file would end it (SIGXFSZ).
pub fn may_write_files() -> bool {
    let _preserved = PreservedErrno::new();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is ours and of the type that the call fills.
    let returned = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    returned != 0 || limit.rlim_cur != 0
}

/// Whether a message that is written to this descriptor cannot end the process (SIGXFSZ), as it would where that leads to a file that may not
/// grow so far. Under a filter that the program asked for, which might kill for the question, nobody knows.
pub(super) fn may_write_to(file: c_int) -> bool {
    const LONGEST: u64 = 4096;
    if super::control::filter_was_asked_for() {
        return true;
    }
    let Some(most) = resource_limit(libc::RLIMIT_FSIZE) else { return true };
    let _preserved = PreservedErrno::new();
    // SAFETY: all zeros is a valid value of this type.
    let mut about: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: a place of the type that the call fills.
    let returned = unsafe { syscall!(libc::SYS_fstat, file, &raw mut about) };
    let is_file = returned == 0 && about.st_mode & libc::S_IFMT == libc::S_IFREG;
    !is_file || (about.st_size as u64).saturating_add(LONGEST) <= most
}

/// Opens, or creates for the user alone, the file at `path`; a negative number when that cannot be.
pub(super) fn open_file(path: &CStr, flags: c_int) -> c_int {
    const MODE: c_int = 0o600;
    // SAFETY: a terminated string; the mode goes with O_CREAT.
    unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, MODE) as c_int }
}

/// Closes a descriptor of ours, which nobody uses any more.
pub(super) fn close_file(file: c_int) {
    // SAFETY: a descriptor is a number; whose it is, the callers know.
    unsafe { syscall!(libc::SYS_close, file) };
}

/// Nanoseconds since 1970.
pub fn unix_ns() -> u64 {
    let now = clock::read(libc::CLOCK_REALTIME);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// The calling thread's name, filled up with zeros; nothing else where the program asked for a filter that might kill for the question.
pub fn thread_name() -> [u8; 16] {
    let _preserved = PreservedErrno::new();
    let mut name = [0u8; 16];
    if super::control::filter_was_asked_for() {
        return name;
    }
    // SAFETY: the kernel writes 16 bytes at most.
    unsafe { syscall!(libc::SYS_prctl, c_long::from(libc::PR_GET_NAME), name.as_mut_ptr()) };
    name
}

/// Whether eight bytes at `addr`, a multiple of 8, can be read. A system call that reads them and does nothing else (the trick
/// of Abseil's `AddressIsReadable`): the kernel looks at the new signal mask before it finds that it does not know what to
/// do with it.
pub fn is_readable(addr: usize) -> bool {
    let _preserved = PreservedErrno::new();
    const NOTHING_KNOWN: c_long = -1;
    const SIGNAL_WORDS: usize = 8;
    // SAFETY: the kernel reads where it can; no mask is set and none is returned.
    unsafe { syscall!(libc::SYS_rt_sigprocmask, NOTHING_KNOWN, addr, 0usize, SIGNAL_WORDS) };
    Errno::last() != Errno(libc::EFAULT)
}

/// An address near the first word of the first thread's stack, above all its frames; 0 where the kernel has not told.
pub fn first_stack() -> usize {
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    let known = KNOWN.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let found = auxiliary_value(libc::AT_RANDOM);
    KNOWN.store(found, Ordering::Relaxed);
    found
}

/// 64 bits that nobody outside can guess; before the kernel has gathered any, and once the program asked for a filter that might kill for the
/// question, from what it gave the process at its start.
pub fn random_bits() -> u64 {
    let _preserved = PreservedErrno::new();
    let mut bits = [0u8; 8];
    if !super::control::filter_was_asked_for() {
        let at = bits.as_mut_ptr().cast::<c_void>();
        // SAFETY: eight writable bytes.
        let got = unsafe { syscall!(libc::SYS_getrandom, at, bits.len(), libc::GRND_NONBLOCK) };
        if got == bits.len() as libc::c_long {
            return u64::from_ne_bytes(bits);
        }
    }
    let start = match auxiliary_value(libc::AT_RANDOM) {
        0 => 0,
        address => {
            let at = core::ptr::with_exposed_provenance::<u64>(address);
            // SAFETY: the kernel put sixteen bytes there, which stay readable.
            unsafe { at.read_unaligned() }
        }
    };
    // The sixteen bytes are the same at each call: the clock and a mixing step tell calls apart.
    mix(start ^ monotonic_ns())
}

/// Spreads every bit of the input over the output (the finaliser of SplitMix64).
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_agree_with_the_standard_library() {
        assert_eq!(process_id() as u32, std::process::id());
        assert!(thread_id() > 0);
        assert!(has_thread(thread_id()) && !has_thread(i32::MAX));
        assert_eq!(auxiliary_value(libc::AT_PAGESZ) % 4096, 0);
        let before = monotonic_ns();
        assert!(monotonic_ns() >= before);
        assert_ne!(random_bits(), random_bits());
        assert_ne!(mix(1), mix(2));
    }

    #[test]
    fn writing_to_a_closed_file_fails_and_keeps_errno() {
        Errno(5).set();
        assert!(!write_all(-1, b"x"));
        assert_eq!(Errno::last(), Errno(5));
    }
}
