//! A file that grows while this process writes it in place, so that a process that is killed leaves behind all it wrote; and
//! memory that a child of fork finds empty.
//!
//! # Safety
//!
//! - Each call passes terminated strings, or a range of a mapping made here, with its true length.
//! - M1: a [`Tape`] is mapped for as long as the process lives.
#![allow(unsafe_code)]

use core::ffi::CStr;

use super::call::syscall;
use super::errno::{Errno, PreservedErrno};
use super::shared::{Descriptor, outcome, remove_file};

/// So much of a tape is opened at once.
const STEP: usize = 4 << 20;

/// A file mapped from its beginning, far beyond its end: it takes as much of the disk as was [made ready](Tape::ready).
///
/// Only what is about to be written may be accessed: who has all memory of the process locked (`mlockall`) would have the kernel
/// fill the whole file otherwise.
///
/// No descriptor stays open, which the program might close or take for its own. A child of fork does not inherit the mapping, and a
/// core dump does not hold it.
#[derive(Clone, Copy, Debug)]
pub struct Tape {
    base: usize,
    len: usize,
}

impl Tape {
    /// Creates the file, which must not exist yet, for this user alone, and maps `most` bytes of it, or as much as the limits
    /// of the process allow: of a limit on addresses an eighth, since the program has to do with what is left.
    pub fn create(path: &CStr, most: usize) -> Result<Tape, Errno> {
        let _preserved = PreservedErrno::new();
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        // SAFETY: a terminated string; the mode goes with O_CREAT.
        let file = unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
        let file = Descriptor::from(file)?;
        let addresses = limit(libc::RLIMIT_AS);
        let most =
            if addresses == usize::MAX { most } else { most.min((addresses / 8).next_multiple_of(1 << 20)) };
        let mut len = most.min(limit(libc::RLIMIT_FSIZE));
        let mapped = loop {
            match map(&file, len) {
                Err(Errno(libc::ENOMEM | libc::EFBIG | libc::EINVAL)) if len > 1 << 20 => len /= 2,
                mapped => break mapped,
            }
        };
        match mapped {
            Ok(base) => Ok(Tape { base, len }),
            Err(error) => {
                remove_file(path);
                Err(error)
            }
        }
    }

    /// The tape that is mapped at `base` with so many bytes: one that was created in this process.
    pub fn of(base: usize, len: usize) -> Tape {
        Tape { base, len }
    }

    /// Where the file's first byte is mapped.
    pub fn base(&self) -> usize {
        self.base
    }

    /// Bytes that are mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write to.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has the system provide for a part, in whole OS pages: false where the disk is full, which would be a signal later.
    pub fn ready(&self, at: usize, len: usize) -> bool {
        let _preserved = PreservedErrno::new();
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return false;
        }
        // What others have opened is opened again, which costs next to nothing: nobody has to wait for anybody.
        let (from, to) = (at / STEP * STEP, (at + len).next_multiple_of(STEP).min(self.len));
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: M1, a part of the mapping.
        let opened = unsafe { syscall!(libc::SYS_mprotect, self.base + from, to - from, access) };
        if outcome(opened).is_err() {
            return false;
        }
        // SAFETY: M1, a part of the mapping.
        let done = unsafe { syscall!(libc::SYS_madvise, self.base + at, len, libc::MADV_POPULATE_WRITE) };
        // A kernel before 5.14 does not know how; there a full disk is a signal.
        matches!(outcome(done), Ok(_) | Err(Errno(libc::EINVAL)))
    }

    /// A part is written: it stays in the file, and need not be resident.
    pub fn done(&self, at: usize, len: usize) {
        let _preserved = PreservedErrno::new();
        // SAFETY: M1, a part of the mapping; a shared file keeps its contents.
        unsafe { syscall!(libc::SYS_madvise, self.base + at, len, libc::MADV_DONTNEED) };
    }
}

/// Makes the file so long, and maps it.
fn map(file: &Descriptor, len: usize) -> Result<usize, Errno> {
    // SAFETY: a descriptor that is open.
    outcome(unsafe { syscall!(libc::SYS_ftruncate, file.0, len) })?;
    let (protection, flags) = (libc::PROT_NONE, libc::MAP_SHARED | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = outcome(unsafe { syscall!(libc::SYS_mmap, 0usize, len, protection, flags, file.0, 0usize) })?;
    for advice in [libc::MADV_DONTFORK, libc::MADV_DONTDUMP] {
        // SAFETY: the mapping made above, in which nothing changes.
        unsafe { syscall!(libc::SYS_madvise, base, len, advice) };
    }
    Ok(base)
}

/// A limit of this process, in bytes: beyond that on files lies a signal.
fn limit(resource: super::process::Resource) -> usize {
    super::process::resource_limit(resource)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(usize::MAX)
}

/// Maps `len` bytes of zeros for as long as the process lives, which a child finds to be zeros again, however it was forked.
/// `None` where the system refuses, as kernels before 4.14 do.
pub fn wiped_on_fork(len: usize) -> Option<usize> {
    let _preserved = PreservedErrno::new();
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    let none: libc::c_long = -1;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe { syscall!(libc::SYS_mmap, 0usize, len, protection, flags, none, 0usize) };
    let at = outcome(mapped).ok()?;
    // SAFETY: the mapping made above.
    let advised = unsafe { syscall!(libc::SYS_madvise, at, len, libc::MADV_WIPEONFORK) };
    if outcome(advised).is_ok() {
        return Some(at);
    }
    // SAFETY: the mapping made above, which nobody uses.
    unsafe { syscall!(libc::SYS_munmap, at, len) };
    None
}

/// The fastest clock there is, in ticks of unknown length; all processors show about the same.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it.
    (unsafe { core::arch::x86_64::_rdtsc() }) >> 9
}

/// The fastest clock there is, in ticks of unknown length; all processors show the same.
#[cfg(target_arch = "aarch64")]
#[inline]
pub fn ticks() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register that Linux lets programs read.
    unsafe { core::arch::asm!("mrs {0}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks >> 4
}

/// Nanoseconds since 1970.
pub fn realtime_ns() -> u64 {
    let now = super::clock::read(libc::CLOCK_REALTIME);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn what_is_written_lies_in_the_file_and_does_not_fill_the_disk() {
        let path = std::env::temp_dir().join(format!("freestone-tape-{}", std::process::id()));
        let name = CString::new(path.to_str().unwrap()).unwrap();
        let tape = Tape::create(&name, 1 << 34).unwrap();
        assert!(!tape.is_empty() && Tape::create(&name, 4096).is_err());
        assert!(tape.ready(8192, 4096) && !tape.ready(tape.len(), 4096));
        let place = core::ptr::with_exposed_provenance_mut::<u8>(tape.base() + 8192);
        // SAFETY: a mapped page.
        unsafe { place.write(7) };
        tape.done(8192, 4096);
        // SAFETY: as above.
        assert_eq!(unsafe { place.read() }, 7);
        let about = std::fs::metadata(&path).unwrap();
        assert_eq!(about.len(), tape.len() as u64);
        assert!(std::os::unix::fs::MetadataExt::blocks(&about) < 1000);
        std::fs::remove_file(path).unwrap();
        let zeros = wiped_on_fork(1 << 20).unwrap();
        // SAFETY: mapped, and nobody else's.
        assert_eq!(unsafe { core::ptr::with_exposed_provenance::<u64>(zeros).read() }, 0);
    }

    #[test]
    fn ticks_go_on() {
        let before = (ticks(), super::super::monotonic_ns());
        while super::super::monotonic_ns() < before.1 + 1_000_000 {}
        assert!(ticks() > before.0);
        assert!(realtime_ns() > 1 << 60);
    }
}
