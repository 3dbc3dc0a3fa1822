//! The C standard's and POSIX's functions.
//!
//! # Safety
//!
//! These are C's functions: a caller passes only null or live blocks of this allocator, and gives up what it frees.
//! Every `unsafe` here passes that promise on.
#![allow(unsafe_code)]

use core::ffi::c_int;

use freestone::raw;

use crate::{invalid, no_memory};

freestone::define_malloc! {
    /// `malloc`: at least `size` bytes, aligned to 16 (to 8 when `size` is 8 or less). ENOMEM when refused.
    malloc, "malloc", raw::malloc_slow
}

freestone::define_free! {
    /// `free`. Null is allowed; `errno` is kept.
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator.
    free, "free"
}

/// `calloc`: `count` elements of `size` bytes, all zero. ENOMEM also when the product overflows.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
    match count.checked_mul(size) {
        Some(total) => raw::calloc(total),
        None => no_memory(),
    }
}

/// `realloc`. Null as `block` allocates; zero as `size` frees and returns null, as glibc does.
///
/// # Safety
/// `block` is null or a live block of this allocator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    // Null, zero, and what no object can have, in two tests.
    if block.is_null() || size.wrapping_sub(1) >= isize::MAX as usize {
        // SAFETY: the caller's promise.
        return unsafe { realloc_unusual(block, size) };
    }
    // SAFETY: the caller's promise; `size` is not zero.
    unsafe { raw::realloc(block, size) }
}

#[cold]
unsafe fn realloc_unusual(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        return raw::malloc(size);
    }
    if size != 0 {
        return no_memory();
    }
    // SAFETY: the caller's promise.
    unsafe { raw::free(block) };
    core::ptr::null_mut()
}

/// `posix_memalign`: EINVAL unless `align` is a power of two and a multiple of a pointer's size; ENOMEM when
/// refused. Both are returned, `errno` is kept, and `*place` is written only on success.
///
/// # Safety
/// `place` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(place: *mut *mut u8, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut u8>()) {
        return libc::EINVAL;
    }
    let mut block = raw::aligned_fast(size, align.max(16));
    if block.is_null() {
        let errno = freestone_sys::linux::PreservedErrno::new();
        block = raw::aligned(size, align);
        drop(errno);
    }
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(block) };
    0
}

/// `aligned_alloc`: EINVAL unless `align` is a power of two; any `size` is taken.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut u8 {
    if align.is_power_of_two() { raw::aligned(size, align) } else { invalid() }
}
