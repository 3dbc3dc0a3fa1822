//! The allocator's operations without the types of Rust's allocator traits: what the C library is made of.
//!
//! # Safety
//!
//! F2 of `front.rs`: what is passed back was handed out by this allocator, is live, and is not used afterwards.
#![allow(unsafe_code)]

use core::alloc::Layout;
use freestone_base::{class_info, class_of, class_of_aligned};
use freestone_sys::{System, linux};

pub use crate::front::{aligned, aligned_fast, calloc, free, malloc, malloc_slow};
#[cfg(target_arch = "x86_64")]
#[doc(hidden)]
pub use crate::front_c::Numbers;
#[doc(hidden)]
pub use crate::hot::HOT;
#[doc(hidden)]
pub use crate::instances::LEVELS;
pub use crate::ledger::{print_stats, write_xml};
pub use crate::profile::write_at_exit as write_heap_profile;
pub use crate::report::write_if_asked as write_report;
pub use crate::resize::realloc;

#[doc(hidden)]
pub use crate::counters::Call;
use crate::debug::Told;
pub use crate::front::{aligned_by, free_by, malloc_by};
use crate::observe::{self, Observer};
use crate::slow;
use crate::stats::Stats;
use crate::{gate, harden, start};

/// What the fast path of [`free`] leaves.
///
/// # Safety
/// F2, or null.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn free_slow(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { slow::release(block, None, Call::Malloc) }
}

/// What the fast path of `operator new` leaves.
#[cold]
pub fn new_slow(size: usize) -> *mut u8 {
    if is_debugging() {
        return slow::allocate(
            class_of(size),
            size,
            freestone_base::size_class::MALLOC_ALIGN,
            false,
            Call::New,
        );
    }
    malloc_slow(size)
}

/// What remains of an `operator new` that was counted as observed, where the caches had no block.
#[cold]
pub fn new_counted(size: usize) -> *mut u8 {
    crate::front::malloc_counted(size)
}

/// Whether the debug mode watches every block.
#[inline]
pub fn is_debugging() -> bool {
    crate::debug::is_on()
}

/// What the fast path of `operator delete` leaves.
///
/// # Safety
/// F2, or null.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn delete_slow(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { slow::release(block, None, Call::New) }
}

/// What the fast path of `operator delete[]` leaves.
///
/// # Safety
/// F2, or null.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn delete_array_slow(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { slow::release(block, None, Call::NewArray) }
}

/// What the fast path of `operator delete` with a size leaves.
///
/// # Safety
/// F2, or null; the block was asked for with `size` bytes.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn delete_sized_slow(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { slow::release_told(block, None, &Told::sized(Call::New, size)) }
}

/// The same of an array.
///
/// # Safety
/// F2, or null; the block was asked for with `size` bytes.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn delete_array_sized_slow(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { slow::release_told(block, None, &Told::sized(Call::NewArray, size)) }
}

/// What the fast path of a free with a size leaves.
///
/// # Safety
/// F2, or null.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn free_sized_slow(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { slow::release_told(block, None, &Told::sized(Call::Malloc, size)) }
}

/// What the debug mode has to say in the end.
pub fn debug_at_end() {
    crate::debug::at_end();
}

/// Frees a block that [`aligned`] gave for this size and alignment, without looking it up.
///
/// # Safety
/// `block` is live and not used afterwards; the layout is that of the allocation.
#[inline(always)]
pub unsafe fn free_layout(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe { crate::front::dealloc(block, layout) }
}

/// What [`before_vfork`] leaves to [`after_vfork`]: two words, which C's functions return in registers.
#[repr(C)]
pub struct BeforeVfork {
    signals: u64,
    /// Bytes of the area to be registered anew; 0 where nothing was done.
    area: u64,
}

/// To be called before `vfork`, whose child runs on the memory and thread-local data of its parent while the kernel does not protect its use of
/// a cache: takes the thread's cache away, and blocks all signals until [`after_vfork`].
pub extern "C" fn before_vfork() -> BeforeVfork {
    use crate::cache::cpu;

    if start::mode() != start::Mode::Cpu || linux::control::filter_was_asked_for() {
        return BeforeVfork { signals: 0, area: 0 };
    }
    let signals = linux::block_all_signals();
    let area = cpu::withdraw().into();
    if area == 0 {
        linux::block_signals(signals);
    }
    BeforeVfork { signals, area }
}

/// To be called by parent and child after `vfork`, before anything is allocated: the parent has its cache again, also where there is no child.
pub extern "C" fn after_vfork(before: BeforeVfork, is_child: bool) {
    use crate::cache::cpu;

    match (is_child, before.area) {
        (true, area) => {
            start::lend();
            if area == 0 {
                cpu::forget_number();
            }
        }
        (false, 0) => {}
        (false, area) => cpu::enroll(area as u32),
    }
    if before.area != 0 {
        linux::block_signals(before.signals);
    }
}

/// To be called before the program asks the kernel for a filter of its system calls, for this thread or for `all_threads`: from then on
/// calls that a sandbox might kill for are left out where they can be, unless [`filter_refused`] follows. False, and nothing done, in a child of
/// `vfork`, whose memory is its parent's.
pub fn filter_asked_for(all_threads: bool) -> bool {
    if linux::control::filter_was_asked_for() {
        // What comes next before the first filter might be forbidden by it.
        linux::control::note_filter_asked_for();
        if all_threads {
            crate::background::settle(true);
        }
        return true;
    }
    if start::is_lent() {
        return false;
    }
    // What the first request takes is better called now; so a child of fork begins its own recording.
    // Not in a child of `_Fork` or `clone`, where locks may be held for ever.
    if !start::is_started() || !start::is_borrowed() {
        let block = malloc(1);
        if !block.is_null() {
            // SAFETY: nobody else has the block.
            unsafe { free(block) };
        }
    }
    crate::report::before_filter();
    // The files of the control cannot be taken away later.
    crate::control::at_exit();
    linux::control::note_filter_asked_for();
    if all_threads {
        crate::background::settle(false);
    }
    true
}

/// The same before the program asks for the strict mode, in which it can only read, write and end its threads one by one; [`strict_mode_refused`] may follow. If
/// the allocator's thread is the only other one, it ends: it would outlive the program's.
#[cold]
#[inline(never)]
pub fn strict_mode_asked_for() -> bool {
    if start::is_lent() {
        return false;
    }
    linux::control::note_strict_mode(true);
    crate::background::retire();
    filter_asked_for(false)
}

/// To be called when the kernel did not give it after [`strict_mode_asked_for`] returned true.
#[cold]
#[inline(never)]
pub fn strict_mode_refused() {
    linux::control::note_strict_mode(false);
    filter_refused();
}

/// To be called when the program forbids itself the processor's counter, by which clocks are read, or allows it again.
#[cold]
pub fn counter_is_forbidden(forbidden: bool) {
    linux::spare_counter(forbidden);
}

/// To be called when the kernel gave no filter after [`filter_asked_for`] returned true.
pub fn filter_refused() {
    linux::control::note_filter_refused();
}

/// To be called when the program asks the kernel whether it has filters: it prepares a sandbox, and may look whether the process has one thread, as Chromium
/// does, which ends otherwise. If libc knows of one, the allocator's own ends, and comes again, here and in children of fork, for memory that is to go back only.
#[cold]
pub fn filter_is_prepared() {
    crate::background::keep_away();
}

/// To be called when the kernel refuses what it gives to processes of one thread only, such as a namespace of users of its own. Whether the allocator's own thread
/// was the second one and has ended: then the call is to be made again.
#[cold]
pub fn retire_thread() -> bool {
    crate::background::retire()
}

/// To be called before the program ends the calling thread by the kernel's call: the process ends with its last thread, and with that one's exit code. If the
/// allocator's own is the only other one, it ends first.
#[cold]
pub fn thread_ends_itself() {
    // Other threads may have no thread-local storage.
    if !linux::control::filter_was_asked_for() && linux::thread_id() == linux::process_id() as i32 {
        crate::background::retire();
    }
}

/// Whether what options ask for at the process's end can be written. Not by one that asked for a filter of its system calls: it might be killed for
/// opening a file, which is worse than a report that is missing. If one is, that is said, once.
#[inline]
pub fn may_write_at_end() -> bool {
    !linux::control::filter_was_asked_for() || crate::report::say_that_none_comes()
}

/// The bytes that the block at this address holds; 0 for null and for what is none of ours. O(1).
pub fn usable_size(block: *mut u8) -> usize {
    slow::usable_size_of(block.addr())
}

/// The bytes that a block for such a request would hold, or, of a large one, at least; 0 when there can be none.
pub fn good_size(size: usize, align: usize) -> usize {
    if size > isize::MAX as usize || !align.is_power_of_two() {
        return 0;
    }
    if holds_no_more() {
        return size;
    }
    let class = if align <= 8 { class_of(size) } else { class_of_aligned(size, align) };
    match class.filter(|_| size <= crate::slow::class_max()) {
        Some(class) => class_info(class).size as usize,
        // A large block's colour takes whole cache lines of its last page.
        None => size.next_multiple_of(64),
    }
}

/// Whether a block may hold just what was asked for.
fn holds_no_more() -> bool {
    if !start::is_started()
        && let Some(inside) = gate::enter()
    {
        start::ensure();
        drop(inside);
    }
    start::changes_blocks() || observe::mean_of(Observer::Guard) != 0
}

/// Whether a block that is resized where it lies must be told of, so that only `realloc` may do so.
pub fn watches_resizes() -> bool {
    start::watches_resizes()
}

/// Bytes in an OS page.
pub fn os_page_size() -> usize {
    LEVELS.pages.system().os_page_size()
}

/// Returns all free memory to the system, cached blocks first to their slabs; the bytes returned.
pub fn trim() -> usize {
    let Some(inside) = gate::enter() else { return 0 };
    start::ensure();
    slow::empty_caches();
    let kept = if harden::is_on() { slow::sweep_kept_slabs() } else { 0 };
    let purged = LEVELS.pages.purge_all().bytes();
    drop(inside);
    kept + purged
}

/// Figures of this moment.
pub fn stats() -> Stats {
    match gate::enter() {
        Some(inside) => {
            start::ensure();
            let stats = crate::stats::collect();
            drop(inside);
            stats
        }
        None => Stats::empty(),
    }
}
