//! rusty_alloc as a library to preload. Its authors publish no such library; the entry points are inlined into these
//! functions, so `malloc` and `free` are the allocator's own code without a further call.
//!
//! # Safety
//!
//! Each function passes its arguments on; what C asks of its caller is what rusty_alloc asks.

use std::ffi::{c_int, c_void};
use std::ptr;

use rusty_alloc::alloc;

fn no_memory(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        // SAFETY: the address of this thread's `errno` is always valid.
        unsafe { *libc::__errno_location() = libc::ENOMEM };
    }
    block.cast()
}

#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    alloc::malloc(size).cast()
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { alloc::free_inline(block.cast()) }
}

#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    alloc::calloc(count, size).cast()
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { alloc::realloc(block.cast(), size).cast() }
}

#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    no_memory(alloc::malloc_aligned(size, align))
}

#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    no_memory(alloc::malloc_aligned(size, align))
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    // SAFETY: it is a power of two.
    let block = unsafe { alloc::malloc_aligned_pow2(size, align) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's.
    unsafe { *out = block.cast() };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    no_memory(alloc::malloc_aligned(size, 4096))
}

#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    size.checked_next_multiple_of(4096).map_or(ptr::null_mut(), |size| valloc(size))
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *const c_void) -> usize {
    // SAFETY: the caller's.
    unsafe { alloc::usable_size(block.cast()) }
}

/// C++: `operator new(size_t)`.
#[unsafe(no_mangle)]
pub extern "C" fn _Znwm(size: usize) -> *mut c_void {
    alloc::malloc_or(size, |_| std::process::abort()).cast()
}

/// C++: `operator new[](size_t)`.
#[unsafe(no_mangle)]
pub extern "C" fn _Znam(size: usize) -> *mut c_void {
    alloc::malloc_or(size, |_| std::process::abort()).cast()
}

/// C++: `operator delete(void *)`.
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPv(block: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { alloc::free_inline(block.cast()) }
}

/// C++: `operator delete[](void *)`.
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPv(block: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { alloc::free_inline(block.cast()) }
}

/// C++: `operator delete(void *, size_t)`.
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvm(block: *mut c_void, _size: usize) {
    // SAFETY: the caller's.
    unsafe { alloc::free_inline(block.cast()) }
}

/// C++: `operator delete[](void *, size_t)`.
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvm(block: *mut c_void, _size: usize) {
    // SAFETY: the caller's.
    unsafe { alloc::free_inline(block.cast()) }
}
