//! What ends, yields or forks the process, and what runs around that.
//!
//! # Safety
//!
//! The libc functions called here take no pointers but those of functions and of NUL-terminated constants.
#![allow(unsafe_code)]

use super::call::syscall;
use core::cell::Cell;
use core::ffi::{c_int, c_ulong, c_void};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// Ends the process by SIGABRT.
pub fn abort() -> ! {
    // SAFETY: no precondition.
    unsafe { libc::abort() }
}

/// The kernel's `prctl`, without libc's function, which the C library wraps for the program's calls. `errno` is set where it fails.
///
/// # Safety
/// As the call with this option: `arguments` are what it takes.
pub unsafe fn prctl_with(option: c_int, arguments: [c_ulong; 4]) -> c_int {
    let [second, third, fourth, fifth] = arguments;
    // SAFETY: the caller's promise.
    unsafe { syscall!(libc::SYS_prctl, option, second, third, fourth, fifth) as c_int }
}

/// The kernel's `unshare`, without libc's function. `errno` is set where it fails.
pub fn unshare(flags: c_int) -> c_int {
    // SAFETY: a number.
    unsafe { syscall!(libc::SYS_unshare, flags) as c_int }
}

/// The kernel's `setns`, the same.
pub fn setns(file: c_int, kind: c_int) -> c_int {
    // SAFETY: numbers.
    unsafe { syscall!(libc::SYS_setns, file, kind) as c_int }
}

/// The same of an option that takes one argument.
///
/// # Safety
/// As above.
unsafe fn prctl(option: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { prctl_with(option, [argument as c_ulong, 0, 0, 0]) }
}

/// How the calling thread's system calls are filtered (`PR_GET_SECCOMP`): 0 not at all, 2 by a program.
fn system_call_filter() -> u8 {
    let _preserved = super::PreservedErrno::new();
    // SAFETY: a query.
    unsafe { prctl(libc::PR_GET_SECCOMP, 0) }.clamp(0, 2) as u8
}

/// What was noted; this where nothing was.
static FILTER: AtomicU8 = AtomicU8::new(NOT_NOTED);
const NOT_NOTED: u8 = u8::MAX;

/// How many filters the program asked for itself, where that was seen.
static ASKED_FOR: AtomicU32 = AtomicU32::new(0);

/// Whether the strict mode was asked for, in which nothing may be called but to read, to write and to end a thread.
static STRICT: AtomicBool = AtomicBool::new(false);

/// Whether the system may be asked what is resident, and how system calls are filtered.
static QUESTIONS: AtomicBool = AtomicBool::new(true);

/// Whether the process began under a service manager's filter.
static SERVICE: AtomicBool = AtomicBool::new(false);

/// Which libraries were preloaded: not known yet, this one alone at the most, or others as well.
static PRELOADED: AtomicU8 = AtomicU8::new(NOT_NOTED);
const ALONE: u8 = 1;
const WITH_OTHERS: u8 = 2;

/// Notes whether several libraries were preloaded, for [`others_are_preloaded`]; at the start, when nobody changes the environment.
pub fn note_preloaded() {
    // SAFETY: the caller's time.
    let list = unsafe { super::environment(b"LD_PRELOAD") }.unwrap_or_default();
    let others = list.iter().any(|byte| matches!(byte, b':' | b' '));
    PRELOADED.store(if others { WITH_OTHERS } else { ALONE }, Ordering::Relaxed);
}

/// Whether the environment named several libraries to be preloaded; `None` before that was noted.
pub fn others_are_preloaded() -> Option<bool> {
    let noted = PRELOADED.load(Ordering::Relaxed);
    (noted != NOT_NOTED).then_some(noted == WITH_OTHERS)
}

/// Notes how system calls are filtered, for [`is_newly_filtered`] and [`may_kill_a_service`]; at the start, when nobody changes the environment.
pub fn note_filter() {
    const BY_PROGRAM: u8 = 2;
    if filter_was_asked_for() {
        return;
    }
    let filter = system_call_filter();
    FILTER.store(filter, Ordering::Relaxed);
    // SAFETY: the caller's time.
    if filter == BY_PROGRAM && unsafe { super::environment(b"INVOCATION_ID") }.is_some() {
        SERVICE.store(true, Ordering::Relaxed);
    }
}

/// Whether the process began under a filter that systemd made. Those of containers refuse, its own kill unless told otherwise; and what it
/// suggests for services (`@system-service`, without `@privileged`) allows all that the allocator calls but to give up privileges, `mincore` and `pidfd_getfd`.
pub fn may_kill_a_service() -> bool {
    SERVICE.load(Ordering::Relaxed)
}

/// Notes that the program asks for a filter. From then on nothing is called that a filter might kill for and that can be done without:
/// not even the question whether there is one.
pub fn note_filter_asked_for() {
    // SeqCst: see `background::settle` of the allocator, which looks afterwards whether a thread is in the midst of such calls.
    ASKED_FOR.fetch_add(1, Ordering::SeqCst);
}

/// Notes that the kernel did not give what [`note_filter_asked_for`] noted.
pub fn note_filter_refused() {
    ASKED_FOR.fetch_sub(1, Ordering::SeqCst);
}

/// Whether the program asked for a filter, as far as that was seen. Makes no system call.
pub fn filter_was_asked_for() -> bool {
    ASKED_FOR.load(Ordering::SeqCst) != 0
}

/// Notes that the program asks for the strict mode, or did not get it.
pub fn note_strict_mode(strict: bool) {
    STRICT.store(strict, Ordering::Relaxed);
    super::spare_counter(strict);
}

/// Whether the program asked for the strict mode.
pub fn is_strict() -> bool {
    STRICT.load(Ordering::Relaxed)
}

/// Allows questions about what is resident and how system calls are filtered, or forbids them.
pub fn allow_questions(allow: bool) {
    QUESTIONS.store(allow, Ordering::Relaxed);
}

/// Whether the system may be asked what is resident (`mincore`): unless that was forbidden, a service began under a filter that may kill for it,
/// or one came later.
pub fn may_ask_what_is_resident() -> bool {
    QUESTIONS.load(Ordering::Relaxed) && !may_kill_a_service() && !is_newly_filtered()
}

/// Whether system calls are filtered otherwise than when that was noted: by a sandbox that may kill for a call that the program does not
/// make itself. Where questions are forbidden, as far as that is known without one.
pub fn is_newly_filtered() -> bool {
    let noted = FILTER.load(Ordering::Relaxed);
    let may_ask = noted != NOT_NOTED && QUESTIONS.load(Ordering::Relaxed);
    filter_was_asked_for() || (may_ask && noted != system_call_filter())
}

/// `_LINUX_CAPABILITY_VERSION_3`, and the calling thread.
const CAPABILITIES: [u32; 2] = [0x2008_0522, 0];

/// Whether the calling thread has any capability, or could get one; yes, where the kernel does not tell.
fn has_capabilities() -> bool {
    let (header, mut sets) = (CAPABILITIES, [0u32; 6]);
    // SAFETY: a header and a place for two sets, as this version has them.
    let told = unsafe { syscall!(libc::SYS_capget, &raw const header, &raw mut sets) };
    told != 0 || sets != [0; 6]
}

/// Gives up, for the calling thread alone, every capability and the right to gain any; with `user`, also being root: it becomes
/// "nobody". libc's `setuid` and its like change the threads that libc knows, and no others. False when the kernel refuses. What has none
/// gives none up: a filter may forbid it.
pub fn drop_privileges(user: bool) -> bool {
    const NOBODY: libc::c_long = 65_534;
    let _preserved = super::PreservedErrno::new();
    // SAFETY: a query.
    let dumpable = unsafe { prctl(libc::PR_GET_DUMPABLE, 0) };
    let mut ids = [0u32; 6];
    let [real, effective, saved, real_group, effective_group, saved_group] =
        ids.each_mut().map(|id| &raw mut *id);
    // SAFETY: three places of the type that the call fills.
    unsafe { syscall!(libc::SYS_getresuid, real, effective, saved) };
    // SAFETY: as above.
    unsafe { syscall!(libc::SYS_getresgid, real_group, effective_group, saved_group) };
    let mut dropped = true;
    if user && ids.contains(&0) {
        // SAFETY: numbers only; the call of the kernel changes this thread, libc's function would change all.
        unsafe { syscall!(libc::SYS_setgroups, 0usize, 0usize) };
        // SAFETY: as above.
        let group = unsafe { syscall!(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY) };
        // SAFETY: as above.
        let become_nobody = || unsafe { syscall!(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        // Where there is no such user, in a namespace of one user, the program cannot become another either.
        dropped = (group == 0 && become_nobody() == 0) || super::Errno::last() == super::Errno(libc::EINVAL);
        // The change made the whole process one whose core nobody may see.
        // SAFETY: a number.
        unsafe { prctl(libc::PR_SET_DUMPABLE, dumpable as usize) };
    }
    if has_capabilities() {
        let (header, nothing) = (CAPABILITIES, [0u32; 6]);
        // SAFETY: a header and two sets, as this version has them; the header may be written to.
        dropped &= unsafe { syscall!(libc::SYS_capset, &raw const header, &raw const nothing) } == 0;
    }
    // SAFETY: numbers.
    unsafe { prctl(libc::PR_SET_NO_NEW_PRIVS, 1) };
    dropped
}

/// Whether the process is root's, or the calling thread has capabilities.
pub fn is_privileged() -> bool {
    let _preserved = super::PreservedErrno::new();
    // SAFETY: no arguments.
    let user = unsafe { syscall!(libc::SYS_geteuid) };
    user == 0 || has_capabilities()
}

/// Of what the kernel makes huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugePages {
    /// Of any memory, unasked.
    Always,
    /// Of memory that asks for it.
    OnRequest,
    /// Of none, or nobody knows.
    Never,
}

/// Of what the kernel makes huge pages. Reads a file.
pub fn huge_pages() -> HugePages {
    let mut buffer = [0; 64];
    let text = super::read_file::beginning(c"/sys/kernel/mm/transparent_hugepage/enabled", &mut buffer);
    let says = |word: &[u8]| text.is_some_and(|text| text.windows(word.len()).any(|part| part == word));
    if says(b"[always]") {
        HugePages::Always
    } else if says(b"[madvise]") {
        HugePages::OnRequest
    } else {
        HugePages::Never
    }
}

/// Gives the calling thread a name, of 15 bytes at most.
pub fn name_thread(name: &core::ffi::CStr) {
    let _preserved = super::PreservedErrno::new();
    // SAFETY: a terminated string, of which the kernel takes a copy.
    unsafe { prctl(libc::PR_SET_NAME, name.as_ptr().expose_provenance()) };
}

/// Lets another thread run.
pub fn yield_now() {
    // SAFETY: no precondition.
    unsafe { syscall!(libc::SYS_sched_yield) };
}

/// Has functions called around every fork: before, after in the parent, after in the child. May allocate.
/// False when libc had no room.
pub fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> bool {
    type Handler = Option<unsafe extern "C" fn()>;
    // What `pthread_atfork` calls, which is linked into each library by itself and brings a procedure linkage table. Without a
    // handle the handlers stay when a library is closed: whoever is closed with this code must not be.
    #[cfg(target_env = "gnu")]
    unsafe extern "C" {
        fn __register_atfork(before: Handler, parent: Handler, child: Handler, library: *mut c_void)
        -> c_int;
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: the functions live as long as this code, which is never unloaded.
    let refused =
        unsafe { __register_atfork(Some(before), Some(parent), Some(child), core::ptr::null_mut()) };
    #[cfg(not(target_env = "gnu"))]
    unsafe extern "C" {
        fn pthread_atfork(before: Handler, parent: Handler, child: Handler) -> c_int;
    }
    #[cfg(not(target_env = "gnu"))]
    // SAFETY: as above.
    let refused = unsafe { pthread_atfork(Some(before), Some(parent), Some(child)) };
    refused == 0
}

/// A slot of thread-specific data whose destructor runs when a thread ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadKey(libc::pthread_key_t);

impl ThreadKey {
    /// A new key; `None` when all are in use.
    pub fn new(destructor: unsafe extern "C" fn(*mut c_void)) -> Option<ThreadKey> {
        let mut key = 0;
        // SAFETY: `key` is a valid place; the destructor lives as long as this code.
        let result = unsafe { libc::pthread_key_create(&mut key, Some(destructor)) };
        (result == 0).then_some(ThreadKey(key))
    }

    /// Has the destructor run when the calling thread ends. May allocate. False when libc had no memory.
    pub fn arm(self) -> bool {
        let value = core::ptr::without_provenance::<c_void>(1);
        // SAFETY: the key exists; the value is only ever handed to the destructor.
        unsafe { libc::pthread_setspecific(self.0, value) == 0 }
    }

    /// The key as a number, to be kept in an atomic.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The key with the number that [`ThreadKey::number`] gave.
    pub fn from_number(number: u32) -> ThreadKey {
        ThreadKey(number)
    }
}

/// The end of the heap that libc keeps by `brk`, in which blocks of another allocator may lie.
pub fn program_break() -> usize {
    // SAFETY: a query, it moves nothing.
    unsafe { libc::sbrk(0) }.addr()
}

/// Whether `addr` lies on the heap that libc keeps by `brk`: between the end of the program's own image and
/// the program break.
pub fn is_brk_heap(addr: usize) -> bool {
    addr >= image_end() && addr < program_break()
}

/// One past the last byte of the program's image. 0 if unknown.
fn image_end() -> usize {
    image().map(|segment| segment.end).max().unwrap_or(0)
}

/// Whether `addr` lies in the program's image.
pub fn is_in_program(addr: usize) -> bool {
    image().any(|segment| segment.contains(&addr))
}

const PT_LOAD: u32 = 1;

/// What the addresses in a program's headers have to be moved by, which lie at `headers`. Static programs have none that tells of themselves; linkers put them
/// on the file's first page.
fn bias(headers: usize, mut all: impl Iterator<Item = libc::Elf64_Phdr> + Clone) -> usize {
    const PT_PHDR: u32 = 6;
    const PAGE: usize = 4096;
    match all.clone().find(|header| header.p_type == PT_PHDR) {
        Some(own) => headers.wrapping_sub(own.p_vaddr as usize),
        None => {
            let first = all.find(|header| header.p_type == PT_LOAD && header.p_offset == 0);
            first.map_or(0, |first| (headers / PAGE * PAGE).wrapping_sub(first.p_vaddr as usize))
        }
    }
}

/// The segments of the program's image, from the program headers that the kernel passed.
fn image() -> impl Iterator<Item = core::ops::Range<usize>> {
    const AT_PHDR: u64 = 3;
    const AT_PHNUM: u64 = 5;
    let headers = super::auxiliary_value(AT_PHDR);
    let count = if headers == 0 { 0 } else { super::auxiliary_value(AT_PHNUM) };
    let all = (0..count).map(move |n| {
        let at = headers + n * size_of::<libc::Elf64_Phdr>();
        // SAFETY: the kernel says that `count` program headers lie there, mapped for as long as the program.
        unsafe { core::ptr::with_exposed_provenance::<libc::Elf64_Phdr>(at).read() }
    });
    let bias = bias(headers, all.clone());
    all.filter(|header| header.p_type == PT_LOAD).map(move |header| {
        let start = bias.wrapping_add(header.p_vaddr as usize);
        start..start + header.p_memsz as usize
    })
}

/// A file that was created to be written, closed when dropped.
pub struct NewFile {
    file: c_int,
    written: Cell<u64>,
}

impl NewFile {
    /// Creates (or empties) the file at `path`, which ends with a NUL. `None` when that cannot be.
    pub fn create(path: &[u8]) -> Option<NewFile> {
        NewFile::open(path, libc::O_TRUNC)
    }

    /// The same, but what is in the file stays until it is [emptied](NewFile::empty); `None` also where a link lies there. Never waits.
    pub fn rewritable(path: &[u8]) -> Option<NewFile> {
        NewFile::open(path, libc::O_NOFOLLOW | libc::O_NONBLOCK)
    }

    fn open(path: &[u8], further: c_int) -> Option<NewFile> {
        let path = core::ffi::CStr::from_bytes_until_nul(path).ok()?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC | further;
        let file = super::process::open_file(path, flags);
        (file >= 0).then_some(NewFile { file, written: Cell::new(0) })
    }

    /// Appends `bytes`; false when the file cannot take them. What is beyond the limit on files (`RLIMIT_FSIZE`) is not written: the
    /// kernel would send a signal that ends the process.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let written = self.written.get() + bytes.len() as u64;
        self.written.set(written);
        let fits = super::process::resource_limit(libc::RLIMIT_FSIZE).is_none_or(|most| written <= most);
        fits && super::write_all(self.file, bytes)
    }

    /// Removes all that was written, so that it can be written anew; false when that cannot be.
    pub fn empty(&self) -> bool {
        self.written.set(0);
        // SAFETY: it takes numbers only.
        let is_empty = unsafe { syscall!(libc::SYS_ftruncate, self.file, 0) } == 0;
        // SAFETY: the same.
        is_empty && unsafe { syscall!(libc::SYS_lseek, self.file, 0, libc::SEEK_SET) } == 0
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        super::process::close_file(self.file);
    }
}

/// Ends the process at once: no handlers, no finalisers.
pub fn exit_now(status: c_int) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { syscall!(libc::SYS_exit_group, status) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(p_type: u32, p_offset: u64, p_vaddr: u64) -> libc::Elf64_Phdr {
        libc::Elf64_Phdr {
            p_type,
            p_flags: 0,
            p_offset,
            p_vaddr,
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: 0,
            p_align: 0,
        }
    }

    #[test]
    fn where_a_program_lies_is_told_by_its_headers() {
        let dynamic = [header(6, 64, 64), header(PT_LOAD, 0, 0), header(PT_LOAD, 0x1000, 0x2000)];
        assert_eq!(bias(0x5555_0000_0040, dynamic.into_iter()), 0x5555_0000_0000);
        let relocatable = [header(PT_LOAD, 0, 0), header(PT_LOAD, 0x9000, 0x9000)];
        assert_eq!(bias(0x7fff_1234_0040, relocatable.into_iter()), 0x7fff_1234_0000);
        let fixed = [header(PT_LOAD, 0, 0x40_0000), header(PT_LOAD, 0x1000, 0x40_1000)];
        assert_eq!(bias(0x40_0040, fixed.into_iter()), 0);
        assert!(is_in_program(header as *const () as usize));
        assert!(!is_in_program((&raw const dynamic).addr()));
    }
}
