//! The interfaces to an allocator, as types: a workload compiled for one of them has nothing but its calls in its loops.
//!
//! # Safety
//!
//! The contracts are those of C's functions and of [`std::alloc`]: what is passed back was handed out, with its size
//! and alignment, and is passed back once. Every implementation hides the addresses it returns from the optimiser,
//! which knows what `malloc` and `free` do and would otherwise leave out pairs of them.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::arch::asm;

/// The alignment of every block that is not asked for with another one.
pub const ALIGN: usize = 8;

/// One way to ask for memory.
pub trait Memory: Copy + Send + Sync + 'static {
    /// A word for tables: `c` or `rust`.
    fn name() -> &'static str;

    /// A block of `size` bytes, or null.
    ///
    /// # Safety
    /// `size` is not zero.
    unsafe fn alloc(size: usize) -> *mut u8;

    /// A block of `size` zeroed bytes, or null.
    ///
    /// # Safety
    /// `size` is not zero.
    unsafe fn alloc_zeroed(size: usize) -> *mut u8;

    /// A block of `size` bytes at a multiple of `align`, or null.
    ///
    /// # Safety
    /// `align` is a power of two, `size` a multiple of it and not zero.
    unsafe fn alloc_aligned(align: usize, size: usize) -> *mut u8;

    /// The block with `new_size` bytes, moved perhaps, or null.
    ///
    /// # Safety
    /// `block` came from `alloc`, `alloc_zeroed` or `realloc` with `old_size` and is live; `new_size` is not zero.
    unsafe fn realloc(block: *mut u8, old_size: usize, new_size: usize) -> *mut u8;

    /// Gives a block back.
    ///
    /// # Safety
    /// `block` came from `alloc`, `alloc_zeroed` or `realloc` with `size`, and is live.
    unsafe fn free(block: *mut u8, size: usize);

    /// Gives a block back that was asked for with an alignment.
    ///
    /// # Safety
    /// `block` came from `alloc_aligned` with `align` and `size`, and is live.
    unsafe fn free_aligned(block: *mut u8, align: usize, size: usize);
}

/// The same address, of which the optimiser knows nothing any more. Costs no instruction.
#[inline(always)]
fn unknown(mut address: *mut u8) -> *mut u8 {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) address, options(nostack, preserves_flags)) };
    address
}

/// The C interface, through the dynamic linker as in any C program.
#[derive(Clone, Copy, Debug)]
pub struct CMemory;

impl Memory for CMemory {
    fn name() -> &'static str {
        "c"
    }

    #[inline(always)]
    unsafe fn alloc(size: usize) -> *mut u8 {
        // SAFETY: always allowed.
        unknown(unsafe { libc::malloc(size) }.cast())
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(size: usize) -> *mut u8 {
        // SAFETY: always allowed.
        unknown(unsafe { libc::calloc(1, size) }.cast())
    }

    #[inline(always)]
    unsafe fn alloc_aligned(align: usize, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise on both numbers.
        unknown(unsafe { libc::aligned_alloc(align, size) }.cast())
    }

    #[inline(always)]
    unsafe fn realloc(block: *mut u8, _old_size: usize, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unknown(unsafe { libc::realloc(unknown(block).cast(), new_size) }.cast())
    }

    #[inline(always)]
    unsafe fn free(block: *mut u8, _size: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(unknown(block).cast()) }
    }

    #[inline(always)]
    unsafe fn free_aligned(block: *mut u8, _align: usize, _size: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(unknown(block).cast()) }
    }
}

/// The program's global allocator, as Rust's collections call it.
#[derive(Clone, Copy, Debug)]
pub struct RustMemory;

#[inline(always)]
fn layout(align: usize, size: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size, align).is_ok());
    // SAFETY: workloads ask for sizes far below the limit, at powers of two.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

impl Memory for RustMemory {
    fn name() -> &'static str {
        "rust"
    }

    #[inline(always)]
    unsafe fn alloc(size: usize) -> *mut u8 {
        // SAFETY: the size is not zero, the caller says.
        unknown(unsafe { std::alloc::alloc(layout(ALIGN, size)) })
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(size: usize) -> *mut u8 {
        // SAFETY: the size is not zero, the caller says.
        unknown(unsafe { std::alloc::alloc_zeroed(layout(ALIGN, size)) })
    }

    #[inline(always)]
    unsafe fn alloc_aligned(align: usize, size: usize) -> *mut u8 {
        // SAFETY: the size is not zero, the caller says.
        unknown(unsafe { std::alloc::alloc(layout(align, size)) })
    }

    #[inline(always)]
    unsafe fn realloc(block: *mut u8, old_size: usize, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unknown(unsafe { std::alloc::realloc(unknown(block), layout(ALIGN, old_size), new_size) })
    }

    #[inline(always)]
    unsafe fn free(block: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::dealloc(unknown(block), layout(ALIGN, size)) }
    }

    #[inline(always)]
    unsafe fn free_aligned(block: *mut u8, align: usize, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::dealloc(unknown(block), layout(align, size)) }
    }
}
