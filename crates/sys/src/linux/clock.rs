//! The clocks, read by the kernel's own function in the process (the *vDSO*), which takes a fraction of a system call's time: what libc's
//! `clock_gettime` calls, too, but found without libc, whose function others define anew ([`call`](super::call)).
//!
//! # Safety
//!
//! - V1: the auxiliary vector leads to an ELF image that the kernel mapped, whole, for as long as the process lives, and that it made itself: its
//!   tables lie within it.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{Elf64_Ehdr, Elf64_Phdr, Elf64_Sym, c_int, clockid_t, timespec};

use super::auxiliary_value;
use super::call::syscall;
use super::errno::PreservedErrno;

type Read = extern "C" fn(clockid_t, *mut timespec) -> c_int;

#[cfg(target_arch = "aarch64")]
const NAME: &CStr = c"__kernel_clock_gettime";
#[cfg(not(target_arch = "aarch64"))]
const NAME: &CStr = c"__vdso_clock_gettime";

/// Where the kernel's function is; or one of these.
static FOUND: AtomicUsize = AtomicUsize::new(NOT_SOUGHT);
const NOT_SOUGHT: usize = 0;
const NONE: usize = 1;

/// Whether the processor's counter may end the program.
static SPARED: AtomicBool = AtomicBool::new(false);

/// Whether the time is to be had without the processor's counter, which the kernel forbids to who asks for that (`PR_SET_TSC`), and in the strict mode: it
/// is that of the kernel's last tick then, some milliseconds old.
pub fn spare_counter(spare: bool) {
    SPARED.store(spare, Ordering::Relaxed);
}

#[cold]
#[inline(never)]
fn without_counter(clock: clockid_t) -> clockid_t {
    match clock {
        libc::CLOCK_MONOTONIC => libc::CLOCK_MONOTONIC_COARSE,
        libc::CLOCK_REALTIME => libc::CLOCK_REALTIME_COARSE,
        // A system call in any case.
        other => other,
    }
}

/// The time of a clock that every kernel has. Not placed in its many callers: what runs often is to stay in few pages.
#[inline(never)]
pub(super) fn read(clock: clockid_t) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = if SPARED.load(Ordering::Relaxed) { without_counter(clock) } else { clock };
    let found = match FOUND.load(Ordering::Relaxed) {
        NOT_SOUGHT => seek(),
        found => found,
    };
    if found != NONE {
        // SAFETY: V1: the function of this name has this type.
        let read = unsafe { core::mem::transmute::<*const (), Read>(with_exposed_provenance(found)) };
        if read(clock, &raw mut now) == 0 {
            return now;
        }
    }
    let _preserved = PreservedErrno::new();
    // SAFETY: `now` is ours and of the type that the call fills.
    unsafe { syscall!(libc::SYS_clock_gettime, clock, &raw mut now) };
    now
}

#[cold]
fn seek() -> usize {
    let image = auxiliary_value(libc::AT_SYSINFO_EHDR);
    let found = if image == 0 { None } else { function_of(image) }.unwrap_or(NONE);
    FOUND.store(found, Ordering::Relaxed);
    found
}

/// Reads a value that lies in the image.
///
/// # Safety
/// V1, and one of this type lies at the address.
unsafe fn value<T>(at: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { with_exposed_provenance::<T>(at).read() }
}

/// Where the image's tables lie: its symbols, and their names behind them.
struct Tables {
    symbols: usize,
    names: usize,
    /// What addresses in the image have to be moved by.
    bias: usize,
}

fn tables_of(image: usize) -> Option<Tables> {
    const SYMBOLS: u64 = 6;
    const NAMES: u64 = 5;
    // SAFETY: V1: an image begins with its header.
    let header: Elf64_Ehdr = unsafe { value(image) };
    let (mut bias, mut dynamic) = (None, None);
    for number in 0..usize::from(header.e_phnum) {
        let at = image + header.e_phoff as usize + number * size_of::<Elf64_Phdr>();
        // SAFETY: V1: as many program headers as the header says.
        let part: Elf64_Phdr = unsafe { value(at) };
        match part.p_type {
            libc::PT_LOAD if bias.is_none() => {
                bias = Some((image + part.p_offset as usize).wrapping_sub(part.p_vaddr as usize));
            }
            libc::PT_DYNAMIC => dynamic = Some(image + part.p_offset as usize),
            _ => {}
        }
    }
    let (bias, mut at) = (bias?, dynamic?);
    let (mut symbols, mut names) = (None, None);
    loop {
        // SAFETY: V1: pairs of a tag and a value, up to a tag of 0.
        let [tag, found]: [u64; 2] = unsafe { value(at) };
        match tag {
            0 => break,
            SYMBOLS => symbols = Some(bias.wrapping_add(found as usize)),
            NAMES => names = Some(bias.wrapping_add(found as usize)),
            _ => {}
        }
        at += size_of::<[u64; 2]>();
    }
    Some(Tables { symbols: symbols?, names: names?, bias })
}

/// The function of [`NAME`]. How many symbols there are stands in tables that differ from kernel to kernel; but linkers put the names
/// behind them.
fn function_of(image: usize) -> Option<usize> {
    let tables = tables_of(image)?;
    let count = tables.names.checked_sub(tables.symbols)? / size_of::<Elf64_Sym>();
    (0..count).find_map(|number| {
        // SAFETY: V1: symbols up to the names.
        let symbol: Elf64_Sym = unsafe { value(tables.symbols + number * size_of::<Elf64_Sym>()) };
        let name = with_exposed_provenance(tables.names + symbol.st_name as usize);
        // SAFETY: V1: names end with a NUL.
        let is_it = symbol.st_shndx != 0 && unsafe { CStr::from_ptr(name) } == NAME;
        is_it.then(|| tables.bias.wrapping_add(symbol.st_value as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_function_is_found_and_tells_the_time() {
        if auxiliary_value(libc::AT_SYSINFO_EHDR) != 0 {
            assert_ne!(seek(), NONE);
        }
        let mut libcs = timespec { tv_sec: 0, tv_nsec: 0 };
        let before = read(libc::CLOCK_MONOTONIC);
        // SAFETY: a place of the type that is written.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut libcs) };
        let after = read(libc::CLOCK_MONOTONIC);
        let ns = |time: timespec| time.tv_sec as i128 * 1_000_000_000 + i128::from(time.tv_nsec);
        assert!(ns(before) <= ns(libcs) && ns(libcs) <= ns(after));
        assert!(ns(read(libc::CLOCK_THREAD_CPUTIME_ID)) > 0);
    }

    #[test]
    fn where_there_is_no_image_the_system_call_tells_it() {
        FOUND.store(NONE, Ordering::Relaxed);
        assert!(read(libc::CLOCK_REALTIME).tv_sec > 1_600_000_000);
        FOUND.store(NOT_SOUGHT, Ordering::Relaxed);
    }
}
