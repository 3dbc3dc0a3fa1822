//! jemalloc's calls beside C's: `mallocx` and its family.
//!
//! All of them or none: a program that is linked with jemalloc, as BIND is, allocates by one and frees by another, and a
//! library that has only some leaves the rest to jemalloc. What is asked for by name (`mallctl`, `malloc_stats_print`) stays jemalloc's.
//!
//! Of the flags, the logarithm of the alignment (the low six bits) and [`ZERO`] mean something; arenas and thread caches, which the
//! others name, are none of ours.
//!
//! # Safety
//!
//! As `c.rs`.
#![allow(unsafe_code)]

use core::ffi::c_int;

use freestone::raw::{self, Call};

use crate::no_memory;

/// `MALLOCX_ZERO`.
const ZERO: c_int = 0x40;

const fn align(flags: c_int) -> usize {
    1 << (flags & 63)
}

/// Whether `malloc` aligns blocks of `size` bytes so.
const fn is_usual(align: usize, size: usize) -> bool {
    align <= if size > 8 { 16 } else { 8 }
}

/// A block without contents.
fn allocate(size: usize, align: usize) -> *mut u8 {
    if is_usual(align, size) { raw::malloc(size) } else { raw::aligned(size, align) }
}

/// Clears all that may be used of `block` from `start` on: what a later `rallocx` adds begins behind that.
///
/// # Safety
/// `block` is live.
unsafe fn clear(block: *mut u8, start: usize) {
    let end = raw::usable_size(block);
    if start < end {
        // SAFETY: within the block.
        let at = unsafe { block.add(start) };
        // SAFETY: within the block, by the caller's promise.
        unsafe { at.write_bytes(0, end - start) };
    }
}

/// `mallocx`: `size` bytes, aligned and cleared as `flags` say; null and ENOMEM when refused.
#[unsafe(no_mangle)]
pub extern "C" fn mallocx(size: usize, flags: c_int) -> *mut u8 {
    let align = align(flags);
    let zeroed = flags & ZERO != 0;
    if zeroed && is_usual(align, size) {
        let block = raw::calloc(size);
        if !block.is_null() {
            // SAFETY: allocated just now.
            unsafe { clear(block, size) };
        }
        return block;
    }
    let block = allocate(size, align);
    if zeroed && !block.is_null() {
        // SAFETY: allocated just now.
        unsafe { clear(block, 0) };
    }
    block
}

/// `rallocx`: another size, by `realloc` unless the alignment asks for more; what is new is cleared if `flags` say so.
///
/// # Safety
/// `block` is a live block of this allocator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rallocx(block: *mut u8, size: usize, flags: c_int) -> *mut u8 {
    let (align, before) = (align(flags), raw::usable_size(block));
    let size = size.max(1);
    if size > isize::MAX as usize {
        return no_memory();
    }
    let moved = if is_usual(align, size) {
        // SAFETY: the caller's promise; the size is not zero.
        unsafe { raw::realloc(block, size) }
    } else if stays(block, before, size, align) {
        block
    } else {
        let new = allocate(size, align);
        if !new.is_null() {
            // SAFETY: both hold as much, and the new one is nobody else's.
            unsafe { new.copy_from_nonoverlapping(block, before.min(size)) };
            // SAFETY: the caller's promise.
            unsafe { raw::free(block) };
        }
        new
    };
    if flags & ZERO != 0 && !moved.is_null() {
        // SAFETY: live, since it was allocated or left as it was.
        unsafe { clear(moved, before) };
    }
    moved
}

/// Whether a block that holds `before` bytes may be left as it is: not where its size is known to somebody, who would hold against the
/// program that it states another in the end.
fn stays(block: *mut u8, before: usize, size: usize, align: usize) -> bool {
    block.addr().is_multiple_of(align) && (before / 2..=before).contains(&size) && !raw::watches_resizes()
}

/// `xallocx`: another size in place. It is left as it is, which the call allows; returns the bytes that may be used.
///
/// # Safety
/// `block` is a live block of this allocator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xallocx(block: *mut u8, _size: usize, _extra: usize, _flags: c_int) -> usize {
    raw::usable_size(block)
}

/// `sallocx`: the bytes that may be used.
///
/// # Safety
/// `block` is a live block of this allocator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sallocx(block: *mut u8, _flags: c_int) -> usize {
    raw::usable_size(block)
}

/// `dallocx`: `free`.
///
/// # Safety
/// `block` is a live block of this allocator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dallocx(block: *mut u8, _flags: c_int) {
    // SAFETY: the caller's promise.
    unsafe { raw::free(block) }
}

/// `sdallocx`; the size is looked at in hardened mode, where `nallocx` adds nothing to it.
///
/// # Safety
/// `block` is a live block of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sdallocx(block: *mut u8, size: usize, _flags: c_int) {
    // SAFETY: the caller's promise.
    unsafe { raw::free_by(block, Call::Malloc, Some(size), None) }
}

/// `nallocx`: the bytes that a block for this request would hold; 0 when there can be none.
#[unsafe(no_mangle)]
pub extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    raw::good_size(size, align(flags))
}
