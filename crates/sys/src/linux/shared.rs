//! Small private files that another process may read while this one writes, and what goes with them: a directory for them, memory
//! for a reply, facts about this process.
//!
//! Everything here is a plain system call: it may run on a thread that libc does not know.
//!
//! # Safety
//!
//! - Each call passes terminated strings and buffers of its own frame, or borrowed slices with their true length.
//! - M1: a [`SharedWords`] or [`Buffer`] owns its mapping, which nobody else unmaps; it is zeroed or full of initialised words, page
//!   aligned, and as long as `len` says.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use libc::{c_int, c_long};

use super::call::syscall;
use super::errno::{Errno, PreservedErrno};
use super::read_file::beginning;

/// What a raw system call returned: a number, or an error.
pub(super) fn outcome(returned: c_long) -> Result<usize, Errno> {
    if returned < 0 { Err(Errno::last()) } else { Ok(returned as usize) }
}

/// A descriptor of our own, closed when dropped.
#[derive(Debug)]
pub(super) struct Descriptor(pub(super) c_int);

impl Descriptor {
    pub(super) fn from(returned: c_long) -> Result<Descriptor, Errno> {
        outcome(returned).map(|number| Descriptor(number as c_int))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let _preserved = PreservedErrno::new();
        // SAFETY: our own descriptor, closed once.
        unsafe { syscall!(libc::SYS_close, self.0) };
    }
}

/// Opens a file without following a link at the end of the path.
fn open(path: &CStr, flags: c_int) -> Result<Descriptor, Errno> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: a terminated string; the mode goes with O_CREAT.
    Descriptor::from(unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) })
}

/// When the kernel started this process, in its ticks since it was booted; 0 when `/proc` cannot be read.
pub fn start_time() -> u64 {
    let mut buffer = [0; 1024];
    let text = beginning(c"/proc/self/stat", &mut buffer).unwrap_or_default();
    // The name, in brackets, may hold anything; behind it come fields 3, 4, …
    let Some(name_end) = text.iter().rposition(|&byte| byte == b')') else { return 0 };
    let field = text[name_end..].split(|&byte| byte == b' ').nth(22 - 2).unwrap_or_default();
    core::str::from_utf8(field).ok().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// The user for whom this thread acts.
pub fn effective_user() -> u32 {
    // SAFETY: no argument, no failure.
    unsafe { syscall!(libc::SYS_geteuid) as u32 }
}

/// Why a directory cannot be used for what is private.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectoryRefused {
    /// It could not be made or opened.
    Error(Errno),
    /// It is a link, or no directory.
    NoDirectory,
    /// It belongs to another user.
    NotOurs,
    /// Others may enter it.
    OpenToOthers,
}

/// Makes the directory, or makes sure that the one which is there is private: a directory, no link, this user's, and closed to
/// all others.
pub fn private_directory(path: &CStr) -> Result<(), DirectoryRefused> {
    let _preserved = PreservedErrno::new();
    // SAFETY: a terminated string.
    let made = outcome(unsafe { syscall!(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), 0o700) });
    if let Err(error) = made
        && error != Errno(libc::EEXIST)
    {
        return Err(DirectoryRefused::Error(error));
    }
    match owner_and_mode(path)? {
        (owner, _) if owner != effective_user() => Err(DirectoryRefused::NotOurs),
        (_, mode) if mode & 0o077 != 0 => Err(DirectoryRefused::OpenToOthers),
        _ => Ok(()),
    }
}

/// Whether the directory belongs to this user, and nobody else may put anything there.
pub fn is_own_directory(path: &CStr) -> bool {
    let _preserved = PreservedErrno::new();
    owner_and_mode(path).is_ok_and(|(owner, mode)| owner == effective_user() && mode & 0o022 == 0)
}

fn owner_and_mode(path: &CStr) -> Result<(u32, u32), DirectoryRefused> {
    let directory = open(path, libc::O_RDONLY | libc::O_DIRECTORY).map_err(|error| match error.0 {
        libc::ENOTDIR | libc::ELOOP => DirectoryRefused::NoDirectory,
        _ => DirectoryRefused::Error(error),
    })?;
    let mut about = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a descriptor that is open, and a place of the type that the call fills.
    outcome(unsafe { syscall!(libc::SYS_fstat, directory.0, about.as_mut_ptr()) })
        .map_err(DirectoryRefused::Error)?;
    // SAFETY: filled by the call, which succeeded; all zeros is valid besides.
    let about = unsafe { about.assume_init() };
    Ok((about.st_uid, about.st_mode))
}

/// Removes a file; whether there was one is of no interest.
pub fn remove_file(path: &CStr) {
    let _preserved = PreservedErrno::new();
    // SAFETY: a terminated string.
    unsafe { syscall!(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0) };
}

/// A mapping of `len` bytes that a forked child does not inherit.
fn map(len: usize, flags: c_int, file: c_int) -> Result<NonNull<u8>, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = outcome(unsafe { syscall!(libc::SYS_mmap, 0usize, len, protection, flags, file, 0usize) })?;
    // SAFETY: the mapping made above; the advice changes no contents.
    unsafe { syscall!(libc::SYS_madvise, at, len, libc::MADV_DONTFORK) };
    NonNull::new(core::ptr::with_exposed_provenance_mut(at)).ok_or(Errno(libc::ENOMEM))
}

fn unmap(at: NonNull<u8>, len: usize) {
    let _preserved = PreservedErrno::new();
    // SAFETY: M1: callers pass the mapping that they own and give it up.
    unsafe { syscall!(libc::SYS_munmap, at.as_ptr(), len) };
}

/// Makes a new file `len` bytes long by writing them, where blocks cannot be reserved otherwise.
fn write_zeros(file: &Descriptor, len: usize) -> Result<(), Errno> {
    let zeros = [0u8; 512];
    let mut written = 0;
    while written < len {
        let piece = zeros.len().min(len - written);
        // SAFETY: the zeros are readable for the length of the piece.
        written += outcome(unsafe { syscall!(libc::SYS_write, file.0, zeros.as_ptr(), piece) })?;
    }
    Ok(())
}

/// A file of words that this process writes in place and others may read.
pub struct SharedWords {
    at: NonNull<u8>,
    words: usize,
}

// SAFETY: M1; the words are atomics.
unsafe impl Send for SharedWords {}

impl SharedWords {
    /// Creates the file, which must not exist yet, readable for this user alone. Its blocks are reserved, so that a full disk
    /// is an error here and not a signal later.
    pub fn create(path: &CStr, words: usize) -> Result<SharedWords, Errno> {
        let _preserved = PreservedErrno::new();
        let len = words * size_of::<u64>();
        let file = open(path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)?;
        let mapped = (|| {
            // The mode given on creation is subject to the umask, this one is not.
            // SAFETY: a descriptor that is open.
            outcome(unsafe { syscall!(libc::SYS_fchmod, file.0, 0o600) })?;
            // SAFETY: as above.
            match outcome(unsafe { syscall!(libc::SYS_fallocate, file.0, 0, 0usize, len) }) {
                Err(Errno(libc::EOPNOTSUPP | libc::ENOSYS)) => write_zeros(&file, len)?,
                reserved => drop(reserved?),
            }
            map(len, libc::MAP_SHARED, file.0)
        })();
        match mapped {
            Ok(at) => Ok(SharedWords { at, words }),
            Err(error) => {
                remove_file(path);
                Err(error)
            }
        }
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: M1; a mapping is page aligned.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr().cast::<AtomicU64>(), self.words) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        unmap(self.at, self.words * size_of::<u64>());
    }
}

/// Memory from the system, for a moment; resident as far as it is touched.
pub struct Buffer {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: M1; reached through a reference only.
unsafe impl Send for Buffer {}

impl Buffer {
    /// `len` bytes of zeros; `None` when the system refuses.
    pub fn new(len: usize) -> Option<Buffer> {
        let _preserved = PreservedErrno::new();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        map(len, flags, -1).ok().map(|at| Buffer { at, len })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: M1.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    /// All of it, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: M1; the borrow is exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        unmap(self.at, self.len);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("freestone-shared-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn path(&self, name: &str) -> CString {
            CString::new(self.0.join(name).to_str().unwrap()).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_read_from_the_file() {
        let scratch = Scratch::new("words");
        let path = scratch.path("page");
        let page = SharedWords::create(&path, 512).unwrap();
        page.words()[511].store(0x1234, Relaxed);
        let file = std::fs::read(scratch.0.join("page")).unwrap();
        assert_eq!(file.len(), 4096);
        assert_eq!(file[4088..], 0x1234u64.to_ne_bytes());
        assert_eq!(std::fs::metadata(scratch.0.join("page")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SharedWords::create(&path, 1).err(), Some(Errno(libc::EEXIST)));
        remove_file(&path);
        let file = open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL).unwrap();
        write_zeros(&file, 1_000).unwrap();
        assert_eq!(std::fs::read(scratch.0.join("page")).unwrap(), [0; 1_000]);
        remove_file(&path);
        assert!(!scratch.0.join("page").exists());
    }

    #[test]
    fn only_a_directory_of_our_own_is_private() {
        let scratch = Scratch::new("directory");
        let path = scratch.path("mine");
        assert_eq!(private_directory(&path), Ok(()));
        assert_eq!(private_directory(&path), Ok(()), "a second time");
        assert!(is_own_directory(&path));
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scratch.0.join("mine"), open).unwrap();
        assert_eq!(private_directory(&path), Err(DirectoryRefused::OpenToOthers));
        symlink("mine", scratch.0.join("link")).unwrap();
        assert_eq!(private_directory(&scratch.path("link")), Err(DirectoryRefused::NoDirectory));
        assert_eq!(
            private_directory(&scratch.path("no/such")),
            Err(DirectoryRefused::Error(Errno(libc::ENOENT)))
        );
        assert!(!is_own_directory(c"/tmp"));
    }

    #[test]
    fn facts_agree_with_proc() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        assert_eq!(start_time(), fields[22 - 3].parse::<u64>().unwrap());
        let mut buffer = Buffer::new(10_000).unwrap();
        buffer.bytes_mut()[9_999] = 1;
        assert_eq!((buffer.bytes()[0], buffer.bytes()[9_999], buffer.bytes().len()), (0, 1, 10_000));
    }
}
