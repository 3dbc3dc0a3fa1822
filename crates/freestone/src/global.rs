//! `Freestone` as a Rust allocator.
//!
//! # Safety
//!
//! The contracts of [`GlobalAlloc`]: what is passed back was handed out, with its layout.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};

use crate::{front, resize};

/// The general-purpose allocator.
///
/// ```
/// #[global_allocator]
/// static A: freestone::Freestone = freestone::Freestone;
///
/// let words: Vec<String> = ["lean", "fast", "safe"].map(String::from).into();
/// assert_eq!(words.concat().len(), 12);
/// ```
///
/// All values are the same allocator. Allocation and deallocation are O(1) but for the rare refill; a
/// deallocation finds its size class by the layout alone. Sizes up to 32 KiB at alignments up to 16 come from
/// the per-CPU cache. Refused memory is a null pointer; nothing here panics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freestone;

// SAFETY: blocks are apart, as large and as aligned as asked for, and stay until they are freed; nothing unwinds.
unsafe impl GlobalAlloc for Freestone {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        front::alloc(layout, false)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        front::alloc(layout, true)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { front::dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { resize::realloc_layout(block, layout, new_size) }
    }
}
