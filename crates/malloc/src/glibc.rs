//! glibc's extensions, and its internal names for the standard functions.
//!
//! # Safety
//!
//! As `c.rs`.
#![allow(unsafe_code)]

use core::ffi::c_int;

use freestone::raw;
use freestone_sys::linux::Errno;

use crate::{c, invalid, no_memory};

/// `reallocarray`: realloc to `count` elements of `size` bytes; ENOMEM when the product overflows.
///
/// # Safety
/// As [`c::realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(block: *mut u8, count: usize, size: usize) -> *mut u8 {
    match count.checked_mul(size) {
        // SAFETY: the caller's promise.
        Some(total) => unsafe { c::realloc(block, total) },
        None => no_memory(),
    }
}

/// `cfree`, an old name of free.
///
/// # Safety
/// As [`c::free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { raw::free(block) }
}

/// `memalign`: an alignment that is no power of two is rounded up to one; EINVAL when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut u8 {
    match align.checked_next_power_of_two() {
        Some(align) => raw::aligned(size, align),
        None => invalid(),
    }
}

/// `valloc`: aligned to an OS page.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut u8 {
    raw::aligned(size, raw::os_page_size())
}

/// `pvalloc`: whole OS pages, at least one.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut u8 {
    let page = raw::os_page_size();
    match size.max(1).checked_next_multiple_of(page) {
        Some(size) => raw::aligned(size, page),
        None => no_memory(),
    }
}

/// `malloc_usable_size`: the bytes that may be used, 0 for null.
///
/// # Safety
/// `block` is null or a live block of this allocator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *mut u8) -> usize {
    raw::usable_size(block)
}

/// `malloc_trim`: returns what is free to the system; 1 when something was.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_pad: usize) -> c_int {
    c_int::from(raw::trim() > 0)
}

/// `mallopt`: knows glibc's parameters, which have no meaning here, and returns 1 for them, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(parameter: c_int, _value: c_int) -> c_int {
    const M_MXFAST: c_int = 1;
    c_int::from(parameter == M_MXFAST || (-8..=-1).contains(&parameter))
}

/// glibc's `struct mallinfo2`, or `mallinfo` with `T = c_int`.
#[repr(C)]
pub struct MallInfo<T> {
    arena: T,
    ordblks: T,
    smblks: T,
    hblks: T,
    hblkhd: T,
    usmblks: T,
    fsmblks: T,
    uordblks: T,
    fordblks: T,
    keepcost: T,
}

fn info<T>(number: impl Fn(usize) -> T) -> MallInfo<T> {
    let stats = raw::stats();
    // Free spans that were returned to the system are addresses only: they count nowhere.
    let arena = stats.pages.slabs + stats.pages.free_dirty;
    let small_live = stats.live_bytes.saturating_sub(stats.large_bytes);
    MallInfo {
        arena: number(arena),
        ordblks: number(stats.free_in_slabs_blocks),
        smblks: number(stats.cached_blocks),
        hblks: number(stats.large_blocks),
        hblkhd: number(stats.large_bytes),
        usmblks: number(0),
        fsmblks: number(stats.cached_bytes),
        uordblks: number(small_live),
        fordblks: number(arena.saturating_sub(small_live)),
        keepcost: number(stats.pages.free_dirty),
    }
}

/// `mallinfo2`. Small and medium blocks: live bytes in `uordblks`, `fordblks` what else there is of their slabs and of
/// free spans, `arena` the sum of both; of the free ones `fsmblks` bytes in `smblks` blocks lie in caches, `ordblks`
/// blocks in slabs, and `keepcost` bytes could be returned. Large blocks: `hblkhd` bytes in `hblks` blocks.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> MallInfo<usize> {
    info(|bytes| bytes)
}

/// `mallinfo`: the same, cut off at the largest `int`.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> MallInfo<c_int> {
    info(|bytes| c_int::try_from(bytes).unwrap_or(c_int::MAX))
}

/// `malloc_stats`: the ledger, in lines of words to standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    raw::print_stats();
}

/// `malloc_info`: XML to a stream, the ledger with it. EINVAL and -1 unless `options` is 0.
///
/// # Safety
/// `stream` is an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        Errno(libc::EINVAL).set();
        return -1;
    }
    if raw::write_xml(&mut Stream(stream)).is_err() { -1 } else { 0 }
}

/// A stream of C's.
struct Stream(*mut libc::FILE);

impl core::fmt::Write for Stream {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // SAFETY: the text's bytes; the stream is open, by the promise of malloc_info's caller.
        let written = unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), self.0) };
        if written == text.len() { Ok(()) } else { Err(core::fmt::Error) }
    }
}

/// glibc's own name for malloc.
#[unsafe(no_mangle)]
pub extern "C" fn __libc_malloc(size: usize) -> *mut u8 {
    raw::malloc(size)
}

/// glibc's own name for calloc.
#[unsafe(no_mangle)]
pub extern "C" fn __libc_calloc(count: usize, size: usize) -> *mut u8 {
    c::calloc(count, size)
}

/// glibc's own name for realloc.
///
/// # Safety
/// As [`c::realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_realloc(block: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { c::realloc(block, size) }
}

/// glibc's own name for free.
///
/// # Safety
/// As [`c::free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_free(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { raw::free(block) }
}

/// glibc's own name for cfree.
///
/// # Safety
/// As [`c::free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_cfree(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { raw::free(block) }
}

/// glibc's own name for memalign.
#[unsafe(no_mangle)]
pub extern "C" fn __libc_memalign(align: usize, size: usize) -> *mut u8 {
    memalign(align, size)
}

/// glibc's own name for valloc.
#[unsafe(no_mangle)]
pub extern "C" fn __libc_valloc(size: usize) -> *mut u8 {
    valloc(size)
}

/// glibc's own name for pvalloc.
#[unsafe(no_mangle)]
pub extern "C" fn __libc_pvalloc(size: usize) -> *mut u8 {
    pvalloc(size)
}

/// glibc's own name for posix_memalign.
///
/// # Safety
/// As [`c::posix_memalign`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __posix_memalign(place: *mut *mut u8, align: usize, size: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { c::posix_memalign(place, align, size) }
}
