//! realloc, for C and for Rust.
//!
//! A block that grows beyond the small classes is likely to grow on, so it moves to the page heap, where it can grow in
//! place or move without copying; fresh blocks of its size come from the medium classes. One that grows in small steps moves there
//! earlier: else each class on its way would copy it, and keep a block that nobody else needs. But not before it has outgrown
//! 8 KiB: many buffers end there, and pages of their own would be half empty.
//!
//! # Safety
//!
//! F2 of `front.rs`, for the old block.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::null_mut;

use freestone_base::size_class::{MALLOC_ALIGN, TELLING_MAX};
use freestone_base::{ClassId, MAX_SMALL, block_size, class_of, class_of_aligned};

use crate::counters::{self, Call};
use crate::debug;
use crate::front;
use crate::harden;
use crate::message::Fault;
use crate::observe;
use crate::pageheap::ROOM;
use crate::record;
use crate::slow;
use crate::start;

/// From this size on a large block that must move is moved by its page tables; below, copying costs less than the
/// system call and the page faults on the old place.
const MOVE_PAGES: usize = 1 << 20;
/// A block that holds this much and grows in small steps becomes one of the page heap's.
const STEPPED: usize = 8 << 10;

/// realloc of a live block to `new_size` bytes, which is not zero. Null when memory is refused; the old block
/// then stands. A block of a class stays while it fits, down to half of it; large ones grow in place or move
/// by page tables, which copies nothing. O(1), or O(size) where it copies.
///
/// # Safety
/// `block` is a live block of ours, given up when the result is not null.
#[inline]
pub unsafe fn realloc(block: *mut u8, new_size: usize) -> *mut u8 {
    let usable = usable_in_class(block);
    if stays(new_size, usable, 0) {
        return resized(block, new_size, block, MALLOC_ALIGN);
    }
    // SAFETY: the caller's promise.
    unsafe { realloc_slow(block, new_size, usable, usable) }
}

/// What a block of a class holds, 0 for any other.
#[inline(always)]
fn usable_in_class(block: *mut u8) -> usize {
    block_size(slow::class_at(block.expose_provenance()))
}

/// Whether a block that holds `usable` bytes stays where it is: while it fits, down to half of it, or where `used` tells how long it was,
/// as in Rust, down to three quarters, since who shrinks it there wants the memory.
#[inline(always)]
fn stays(new_size: usize, usable: usize, used: usize) -> bool {
    let least = if used == 0 { usable / 2 } else { used.min(usable - usable / 4) };
    new_size <= usable && new_size >= least
}

/// realloc of a block that cannot stay as it is; `usable` is what it holds when it is of a class, else 0. Of what it holds the first
/// `used` bytes matter, or all where that is 0. (Who knows them tells: what has to be looked up comes late, and so does a branch on it.)
#[cold]
#[inline(never)]
unsafe fn realloc_slow(block: *mut u8, new_size: usize, usable: usize, used: usize) -> *mut u8 {
    if usable != 0 {
        // SAFETY: the caller's promise.
        return unsafe { realloc_classed(block, new_size, usable, used) };
    }
    // Who appends to a long buffer comes here with each step, and saves no registers for what it does not need.
    if slow::stays_large(block.expose_provenance(), new_size, used) {
        return block;
    }
    // SAFETY: the caller's promise.
    unsafe { realloc_unclassed(block, new_size, used) }
}

/// The same for a block of a class.
#[inline(never)]
unsafe fn realloc_classed(block: *mut u8, new_size: usize, usable: usize, used: usize) -> *mut u8 {
    if new_size > MAX_SMALL || is_step(new_size, usable) || start::sees_every_call() {
        // SAFETY: the caller's promise.
        return unsafe { realloc_grown(block, new_size, usable, used) };
    }
    let to = front::malloc(new_size);
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks hold so many bytes and are apart, since both are live.
    unsafe { to.copy_from_nonoverlapping(block, used.min(new_size)) };
    // SAFETY: given up by the caller.
    unsafe { front::free(block) };
    to
}

/// The same where it gets more room than it wants, or a place in the page heap, or the call has to be told of.
#[cold]
#[inline(never)]
unsafe fn realloc_grown(block: *mut u8, new_size: usize, usable: usize, used: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { copy_to(take_grown(new_size, usable), block, used, new_size) }
}

/// Whether a block of `usable` bytes grows by less than a sixteenth.
#[inline]
fn is_step(new_size: usize, usable: usize) -> bool {
    new_size > usable && new_size - usable <= usable / 16
}

/// The new place of a block of `usable` bytes that becomes one of `new_size`. When it grows by less than a sixteenth, it gets a quarter
/// more than it held, because who grows in small steps goes on, and each step would copy all before long. A large one gets an eighth more,
/// where it grows by no more than that and there is no limit.
fn take_grown(new_size: usize, usable: usize) -> *mut u8 {
    let is_large_step =
        usable > MAX_SMALL && new_size > usable && new_size - usable <= usable / ROOM && !slow::is_limited();
    if !is_large_step && !is_step(new_size, usable) {
        return take(new_size, usable, new_size > MAX_SMALL);
    }
    let room = match is_large_step {
        true => new_size + new_size / ROOM,
        false => new_size.max((usable + usable / 4).min(MAX_SMALL)),
    };
    let mut to = take(room, usable, usable >= STEPPED);
    if to.is_null() && is_large_step {
        to = take(new_size, usable, true);
    }
    if room != new_size {
        observe::on_room(to.expose_provenance(), new_size);
    }
    to
}

/// realloc of a block that is in no slab of the global allocator: large, of a first-class heap, or not ours.
#[inline(never)]
unsafe fn realloc_unclassed(block: *mut u8, new_size: usize, used: usize) -> *mut u8 {
    let addr = block.expose_provenance();
    if debug::owns(addr) {
        return debug::resize(addr, new_size, MALLOC_ALIGN);
    }
    if harden::is_on() {
        return harden::realloc(block, new_size, MALLOC_ALIGN);
    }
    let usable = slow::usable_size_of(addr);
    // A guarded block may have been asked for with no bytes, and tells so.
    if usable == 0 && !slow::is_guarded(addr) {
        let Some(most) = slow::libc_block_bytes(addr) else { Fault::InvalidFree.abort(addr, ClassId::NONE) };
        let to = front::malloc(new_size);
        if !to.is_null() {
            // SAFETY: both hold that many bytes, and one of them is libc's.
            unsafe { to.copy_from_nonoverlapping(block, most.min(new_size)) };
        }
        return to;
    }
    if (new_size > MAX_SMALL || new_size > usable)
        && usable > 0
        && let Some(place) = slow::resize_large(addr, new_size, new_size >= MOVE_PAGES)
    {
        return resized(block, new_size, place, MALLOC_ALIGN);
    }
    if stays(new_size, usable, used) && !slow::is_guarded(addr) {
        return resized(block, new_size, block, MALLOC_ALIGN);
    }
    // SAFETY: the caller's promise.
    unsafe { copy_to(take_grown(new_size, usable), block, if used == 0 { usable } else { used }, new_size) }
}

/// The block was resized without copying and lies at `place` now.
fn resized(block: *mut u8, new_size: usize, place: *mut u8, align: usize) -> *mut u8 {
    if start::watches_resizes() { watched(block, new_size, place, align) } else { place }
}

#[cold]
#[inline(never)]
fn watched(block: *mut u8, new_size: usize, place: *mut u8, align: usize) -> *mut u8 {
    if debug::owns(block.addr()) {
        return debug::resize(block.expose_provenance(), new_size, align);
    }
    if harden::is_on() {
        return harden::realloc(block, new_size, align);
    }
    note(block, new_size, place, true);
    place
}

/// Has a realloc counted and recorded.
#[cold]
fn note(block: *mut u8, new_size: usize, place: *mut u8, in_place: bool) {
    if start::counting() && in_place {
        counters::on_realloc(true);
    }
    if record::is_on() {
        record::on_realloc(block, new_size, place);
    }
}

/// The new place of a block that held `old` bytes. A realloc that moves is one call to the program, so its parts are not
/// counted as calls. With `large`, if it grows, it becomes one of the page heap's.
fn take(size: usize, old: usize, large: bool) -> *mut u8 {
    let grows_large = large && size > old;
    if start::counting() {
        counters::on_realloc(false);
    }
    if !grows_large && !start::sees_every_call() {
        return front::malloc(size);
    }
    let class = if grows_large { None } else { class_of(size) };
    slow::allocate(class, size, MALLOC_ALIGN, false, Call::Inner)
}

/// # Safety
/// `to` is null or holds `size` bytes; `from` is a live block of at least `used` bytes, given up.
unsafe fn copy_to(to: *mut u8, from: *mut u8, used: usize, size: usize) -> *mut u8 {
    if start::sees_every_call() {
        note(from, size, to, false);
    }
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks hold so many bytes and are apart, since both are live.
    unsafe { to.copy_from_nonoverlapping(from, used.min(size)) };
    if start::sees_every_call() {
        // SAFETY: given up by the caller.
        unsafe { slow::release(from, None, Call::Inner) };
    } else {
        // SAFETY: given up by the caller.
        unsafe { front::free(from) };
    }
    to
}

/// realloc with a Rust layout: where the new size tells the class, the result belongs to it, as [`front::dealloc`] expects; any other
/// is resized as C's are.
///
/// # Safety
/// `block` is a live block allocated with `layout`, given up when the result is not null; `new_size` is not
/// zero and rounds up to a multiple of the alignment within `isize::MAX`.
#[inline]
pub unsafe fn realloc_layout(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let (old_size, align) = (layout.size(), layout.align());
    if new_size > TELLING_MAX && align <= MALLOC_ALIGN {
        let usable = usable_in_class(block);
        if stays(new_size, usable, old_size) {
            return resized(block, new_size, block, align);
        }
        // SAFETY: the caller's promise.
        return unsafe { realloc_slow(block, new_size, usable, old_size) };
    }
    if start::watches_resizes() {
        // SAFETY: the caller's promise.
        return unsafe { realloc_layout_watched(block, layout, new_size) };
    }
    if old_size <= MAX_SMALL
        && new_size <= MAX_SMALL
        && let Some(class) = class_of_aligned(old_size, align)
        && class_of_aligned(new_size, align) == Some(class)
    {
        return block;
    }
    // SAFETY: the caller's promise.
    unsafe { realloc_layout_moved(block, layout, new_size) }
}

/// The same where the class changes. A function of its own, so that who stays saves no registers for it.
#[inline(never)]
unsafe fn realloc_layout_moved(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { relayout::<false>(block, layout, new_size) }
}

/// The same while calls are counted, or in hardened mode.
#[cold]
#[inline(never)]
unsafe fn realloc_layout_watched(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { relayout::<true>(block, layout, new_size) }
}

/// # Safety
/// As [`realloc_layout`].
#[inline(always)]
unsafe fn relayout<const WATCHED: bool>(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let in_place = |place| if WATCHED { watched(block, new_size, place, layout.align()) } else { place };
    let (old_size, align) = (layout.size(), layout.align());
    let old_class = class_of_aligned(old_size, align);
    let new_class = class_of_aligned(new_size, align);
    if old_class == new_class {
        if old_class.is_some() {
            return in_place(block);
        }
        // Moving pages keeps an alignment of a page, no more.
        let may_move = align <= freestone_base::PAGE_SIZE && new_size >= MOVE_PAGES;
        if let Some(place) = slow::resize_large(block.expose_provenance(), new_size, may_move) {
            return in_place(place);
        }
    }
    let to = if WATCHED && start::sees_every_call() {
        if start::counting() {
            counters::on_realloc(false);
        }
        slow::allocate(new_class, new_size, align, false, Call::Inner)
    } else {
        // SAFETY: the alignment is a layout's, and the caller promises the size.
        front::alloc(unsafe { Layout::from_size_align_unchecked(new_size, align) }, false)
    };
    if WATCHED && start::sees_every_call() {
        note(block, new_size, to, false);
    }
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks hold that many bytes and are apart, since both are live.
    unsafe { to.copy_from_nonoverlapping(block, old_size.min(new_size)) };
    if WATCHED && start::sees_every_call() {
        // SAFETY: given up by the caller.
        unsafe { slow::release(block, None, Call::Inner) };
    } else {
        // SAFETY: given up by the caller.
        unsafe { front::dealloc(block, layout) };
    }
    to
}
