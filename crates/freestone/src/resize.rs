//! realloc, for C and for Rust.
//!
//! # Safety
//!
//! F2 of `front.rs`, for the old block.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::null_mut;

use freestone_base::{ClassId, class_of, class_of_aligned};

use crate::counters::{self, Call};
use crate::front;
use crate::message::Fault;
use crate::slow;
use crate::start;

/// From this size on a large block that must move is moved by its page tables; below, copying costs less than the
/// system call and the page faults on the old place.
const MOVE_PAGES: usize = 1 << 20;

/// realloc of a live block to `new_size` bytes, which is not zero. Null when memory is refused; the old block
/// then stands. Small blocks stay while the class fits, down to half of it; large ones grow in place or move
/// by page tables, which copies nothing.
///
/// # Safety
/// `block` is a live block of ours, given up when the result is not null.
#[inline]
pub unsafe fn realloc(block: *mut u8, new_size: usize) -> *mut u8 {
    let addr = block.expose_provenance();
    let usable = slow::usable_size_of(addr);
    if usable == 0 {
        let Some(most) = slow::libc_block_bytes(addr) else { Fault::InvalidFree.abort(addr, ClassId::NONE) };
        let to = front::malloc(new_size);
        if !to.is_null() {
            // SAFETY: both hold that many bytes, and one of them is libc's.
            unsafe { to.copy_from_nonoverlapping(block, most.min(new_size)) };
        }
        return to;
    }
    let fits = new_size <= usable && new_size >= usable / 2;
    if fits && !slow::is_large(usable) {
        return resized_in_place(block);
    }
    if slow::is_large(usable)
        && class_of(new_size).is_none()
        && let Some(resized) = slow::resize_large(addr, new_size, new_size >= MOVE_PAGES)
    {
        return resized_in_place(resized);
    }
    // SAFETY: the caller's promise.
    unsafe { copy_to(slow_or_fast(new_size), block, usable.min(new_size)) }
}

fn resized_in_place(block: *mut u8) -> *mut u8 {
    if start::counting() {
        counters::on_realloc(true);
    }
    block
}

/// A realloc that moves is one call to the program, so its parts are not counted as calls.
fn slow_or_fast(size: usize) -> *mut u8 {
    if start::counting() {
        counters::on_realloc(false);
        return slow::allocate(class_of(size), size, 16, false, Call::Inner);
    }
    front::malloc(size)
}

/// # Safety
/// `to` is null or holds `len` bytes; `from` is a live block of at least `len` bytes, given up.
unsafe fn copy_to(to: *mut u8, from: *mut u8, len: usize) -> *mut u8 {
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks hold `len` bytes and are apart, since both are live.
    unsafe { to.copy_from_nonoverlapping(from, len) };
    if start::counting() {
        // SAFETY: given up by the caller.
        unsafe { slow::release(from, None, Call::Inner) };
    } else {
        // SAFETY: given up by the caller.
        unsafe { front::free(from) };
    }
    to
}

/// realloc with a Rust layout: the result belongs to the class of its new size, as [`front::dealloc`] expects.
///
/// # Safety
/// `block` is a live block allocated with `layout`, given up when the result is not null; `new_size` is not
/// zero and rounds up to a multiple of the alignment within `isize::MAX`.
#[inline]
pub unsafe fn realloc_layout(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let align = layout.align();
    let old_class = class_of_aligned(layout.size(), align);
    let new_class = class_of_aligned(new_size, align);
    if old_class == new_class {
        if old_class.is_some() {
            return resized_in_place(block);
        }
        // Moving pages keeps an alignment of a page, no more.
        let may_move = align <= freestone_base::PAGE_SIZE && new_size >= MOVE_PAGES;
        if let Some(resized) = slow::resize_large(block.expose_provenance(), new_size, may_move) {
            return resized_in_place(resized);
        }
    }
    let to = if start::counting() {
        counters::on_realloc(false);
        slow::allocate(new_class, new_size, align, false, Call::Inner)
    } else {
        // SAFETY: the alignment is a layout's, and the caller promises the size.
        front::alloc(unsafe { Layout::from_size_align_unchecked(new_size, align) }, false)
    };
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks hold that many bytes and are apart, since both are live.
    unsafe { to.copy_from_nonoverlapping(block, layout.size().min(new_size)) };
    if start::counting() {
        // SAFETY: given up by the caller.
        unsafe { slow::release(block, old_class, Call::Inner) };
    } else {
        // SAFETY: given up by the caller.
        unsafe { front::dealloc(block, layout) };
    }
    to
}
