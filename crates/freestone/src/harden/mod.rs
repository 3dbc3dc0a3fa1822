//! Hardened mode (`harden:1`): every misuse that can be seen when a block is freed, resized or handed out is seen there.
//!
//! ```text
//! allocate ── class for size + 1 ── pop ── mark says free? still zero? ── canary, mark ── block
//!    │                              └ missed: gate, cache::refill
//!    └ no class: large.rs
//! release ── the start of a block? ── mark says live? ── canary whole? size right? ── clear ── yard ── push
//!    │                                                                                          └ missed: gate, cache::flush
//!    └ no slab: large.rs, or not ours
//! ```
//!
//! The default fast paths never come here, and have no branch for it: see `docs/design/hardened.md`. Without locks and
//! outside the gate but for misses, so a signal handler may interrupt any step and do the same.
//!
//! Most functions exist twice, by a parameter `USUAL`: once for `harden:1` over the CPUs' caches with nothing beside it
//! ([`start::hardened_as_usual`]), where the compiler knows which parts are on; once for whatever else was chosen.
//!
//! # Safety
//!
//! - F2 of `front.rs` is not relied on where it can be checked: a block that the marks call free, or an address that is no
//!   block, ends the process before anything is read or written there.
//! - G2: between the change of its mark to free and the push, and between the pop and the change of its mark to live, a
//!   block is this thread's own (G1 of `marks.rs`).
#![allow(unsafe_code)]

mod fault;
mod large;
mod marks;
mod place;
pub(crate) mod random;
pub(crate) mod settings;
mod two;
#[cfg(target_arch = "x86_64")]
mod usual;
mod warm;
#[cfg(target_arch = "x86_64")]
mod wide;
pub(crate) mod yard;

use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::size_class::{MALLOC_ALIGN, class_of_medium};
use freestone_base::{ClassId, MAX_SHARING, MAX_SMALL, class_of_aligned};
use freestone_sys::System;

use self::marks::{FREED, FRESH};
use self::place::{Found, Place};
use self::settings::SETTINGS;
use crate::cache::cpu::CpuAccess;
use crate::cache::region::TO_CLASSES;
use crate::cache::rseq::NO_YARD;
use crate::cache::thread;
use crate::counters::{self, Call};
use crate::message::Fault;
use crate::pageheap::shadow;
use crate::slow::{self, CENTRALS, LEVELS};
use crate::start::{self, Mode};
use crate::sync::atomic::Ordering;
use crate::tune::Harden;
use crate::{central, gate};

pub(crate) use self::fault::on_access;
pub(crate) use self::large::{can_guard, guards_fit};

/// Whether the mode is on. Acquire: whoever sees it on sees the settings.
#[inline]
pub(crate) fn is_on() -> bool {
    start::hardened()
}

/// Turns the mode on, before the first block is handed out and after the kind of cache was chosen.
pub(crate) fn start(chosen: &Harden) {
    let system = LEVELS.pages.system();
    let fit = large::guards_fit(system.os_page_size());
    let chosen = &if fit { *chosen } else { chosen.without_guards() };
    LEVELS.pages.page_map().hide_classes();
    let policy = LEVELS.pages.policy();
    policy.set_marks();
    if chosen.guards() && large::can_guard(system) {
        policy.set_guards();
        if chosen.faults() {
            fault::listen();
        }
    }
    if chosen.isolate() {
        central::keep_slabs();
    }
    if chosen.shuffle() {
        central::shuffle();
    }
    if chosen.wait() > 0 {
        yard::start(system);
    }
    SETTINGS.fix(chosen, system.random());
}

/// The bytes that a block must have for a request, its canary included: one at the least.
#[inline]
fn room_for(size: usize) -> usize {
    // Behind a medium or large block begins a guard page.
    let needs = SETTINGS.canary() && (size < MAX_SMALL || !LEVELS.pages.policy().guards());
    size.saturating_add(needs as usize).max(1)
}

/// The class that serves so many bytes; `None`: a large block.
#[inline]
fn class_for(room: usize, align: usize) -> Option<ClassId> {
    if room <= MAX_SMALL {
        return class_of_aligned(room, align);
    }
    if align > MALLOC_ALIGN || room > slow::class_max() { None } else { class_of_medium(room) }
}

/// Takes a block from the cache, as far as that goes without the gate; 0 where it missed.
#[inline]
fn pop(class: ClassId, room: usize, align: usize) -> usize {
    match start::mode() {
        Mode::Cpu => {
            let (block, next) = if room > MAX_SHARING || align > MALLOC_ALIGN {
                CpuAccess::pop_and_peek(class)
            } else {
                // The cache's own tables know its variant.
                let (block, next, _) =
                    CpuAccess::pop_and_peek_at(room.max(align).div_ceil(8).wrapping_add(TO_CLASSES));
                (block, next)
            };
            // It will be looked at all over before it is handed out.
            marks::prefetch(next);
            block
        }
        Mode::Thread => thread::take(class),
        Mode::None => 0,
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use self::usual::{free, free_sized, malloc};
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use self::{free_plainly as free, free_sized_plainly as free_sized, malloc_plainly as malloc};

/// malloc of `size` bytes. The mode is on, as usual.
#[inline(never)]
pub(crate) extern "C" fn malloc_plainly(size: usize) -> *mut u8 {
    serve(size, false, Call::Malloc)
}

/// Requests of fewer bytes have blocks that are looked at whole, if they were freed, by either [`calloc`](usual::calloc) or [`serve`].
#[cfg(target_arch = "x86_64")]
const CLEAN: usize = settings::Near::LOOKED_AT;

/// calloc of `size` bytes in all. The mode is on, as usual.
#[inline(never)]
pub(crate) fn calloc(size: usize, call: Call) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    if size < CLEAN {
        // Nothing is counted, so it does not matter by which call.
        return usual::calloc(size);
    }
    if size < marks::WHOLE { calloc_plainly(size) } else { allocate(size, MALLOC_ALIGN, true, call) }
}

/// The same of a few bytes, and what the paths in assembly leave.
#[inline(never)]
extern "C" fn calloc_plainly(size: usize) -> *mut u8 {
    if size < marks::WHOLE {
        // Blocks that are looked at whole, as this one is, are zero.
        serve(size, true, Call::Calloc)
    } else {
        allocate(size, MALLOC_ALIGN, true, Call::Calloc)
    }
}

#[inline(always)]
fn serve(size: usize, zeroed: bool, call: Call) -> *mut u8 {
    // What the cache serves at once; all else begins anew.
    if size >= MAX_SMALL {
        return allocate(size, MALLOC_ALIGN, zeroed, call);
    }
    // The class of one byte more, as the cache's own table has it, which knows its variant.
    let (block, next, class) = CpuAccess::pop_and_peek_at(((size / 8).max(1) + 1).wrapping_add(TO_CLASSES));
    if block == 0 {
        return allocate(size, MALLOC_ALIGN, zeroed, call);
    }
    // It will be looked at all over before it is handed out.
    marks::prefetch(next);
    let Some((mark, _)) = shadow::find(LEVELS.pages.page_map(), block) else {
        Fault::InvalidFree.abort(block, class)
    };
    if mark.load(Ordering::Relaxed) != FREED {
        return hand_out(block, class, size, zeroed, call);
    }
    let capacity = SETTINGS.size(class);
    if capacity > marks::SHORT {
        return hand_out_long(block, class, size);
    }
    let place = Place { addr: block, class, capacity, mark };
    if !marks::is_short_zero(block, capacity) {
        place.fail(Fault::WriteAfterFree);
    }
    place.bring_to_life(size, false);
    with_exposed_provenance_mut(block)
}

/// The same of a freed block that takes longer to look at. The mode is on, as usual.
#[inline(never)]
fn hand_out_long(block: usize, class: ClassId, size: usize) -> *mut u8 {
    let Some((mark, _)) = shadow::find(LEVELS.pages.page_map(), block) else {
        Fault::InvalidFree.abort(block, class)
    };
    let place = Place { addr: block, class, capacity: SETTINGS.size(class), mark };
    if !marks::is_zero(block, place.capacity(), marks::WHOLE, random::next) {
        place.fail(Fault::WriteAfterFree);
    }
    place.bring_to_life(size, false);
    with_exposed_provenance_mut(block)
}

/// Serves a request; null when memory is refused. The mode is on.
#[inline(never)]
pub(crate) fn allocate(size: usize, align: usize, zeroed: bool, call: Call) -> *mut u8 {
    // No block begins elsewhere: the shadow has a mark for each such place.
    let align = align.max(MALLOC_ALIGN);
    if size > isize::MAX as usize {
        return slow::refused(size);
    }
    let room = room_for(size);
    let Some(class) = class_for(room, align) else {
        return large::allocate(size, align, zeroed, call);
    };
    let block = pop(class, room, align);
    if block != 0 {
        hand_out(block, class, size, zeroed, call)
    } else {
        miss(class, size, align, zeroed, call)
    }
}

#[cold]
#[inline(never)]
fn miss(class: ClassId, size: usize, align: usize, zeroed: bool, call: Call) -> *mut u8 {
    let Some(inside) = gate::enter_patiently() else {
        return slow::allocate_elsewhere(Some(class), size, align, zeroed);
    };
    slow::free_deferred();
    counters::on_miss(class, size);
    let block = slow::small_or_reclaim(class);
    drop(inside);
    slow::look_after();
    if block == 0 { slow::refused(size) } else { hand_out(block, class, size, zeroed, call) }
}

/// Makes a block that came from a cache the program's.
#[inline(never)]
fn hand_out(block: usize, class: ClassId, size: usize, zeroed: bool, call: Call) -> *mut u8 {
    let Some((mark, of_page)) = shadow::find(LEVELS.pages.page_map(), block) else {
        Fault::InvalidFree.abort(block, class)
    };
    // Of whichever variant the block is, its size is that of the class.
    let place = Place { addr: block, class, capacity: SETTINGS.size(class), mark };
    let mut is_zero = false;
    match place.mark.load(Ordering::Relaxed) {
        // Never handed out: to look at a long one would make pages resident that the program may not touch.
        FRESH => {
            if place.capacity() <= marks::WHOLE && place.is_surely_zero() {
                marks::touch(block, place.capacity());
                if !place.is_untouched() {
                    place.fail(Fault::WriteAfterFree);
                }
                is_zero = true;
            }
        }
        FREED => {
            // What is looked at whole need not be cleared.
            is_zero = place.is_looked_at() && (zeroed || is_near(place.capacity()));
            if !(if is_zero { place.is_all_zero() } else { place.is_untouched() }) {
                place.fail(Fault::WriteAfterFree);
            }
        }
        // Two threads freed it at once, and this is the second copy.
        _ => place.fail(Fault::DoubleFree),
    }
    let to: *mut u8 = with_exposed_provenance_mut(block);
    if zeroed && !is_zero {
        // SAFETY: G2, and the block holds `size` bytes.
        unsafe { to.write_bytes(0, size) };
    }
    place.bring_to_life(size, false);
    if start::counting() {
        count_alloc(call, ClassId(of_page.load(Ordering::Relaxed)), size);
    }
    to
}

/// Whether freed blocks of so many bytes are looked at whole by the paths in assembly, and so by all others.
fn is_near(_capacity: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return SETTINGS.wide() && _capacity <= CLEAN;
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cold]
#[inline(never)]
fn count_alloc(call: Call, class: ClassId, size: usize) {
    counters::on_alloc(call, class, size, 0);
}

#[cold]
#[inline(never)]
fn count_free(call: Call, class: ClassId) {
    counters::on_free(call, class, 0);
}

/// free. The mode is on, as usual. Anything but a live block, or null, ends the process, as does a block whose canary is not as it
/// should be.
#[inline(never)]
pub(crate) extern "C" fn free_plainly(addr: usize) {
    release_as::<true>(addr, None, Call::Malloc);
}

/// The same of a block of which the caller says how many bytes were asked for.
#[inline(never)]
pub(crate) extern "C" fn free_sized_plainly(addr: usize, size: usize) {
    release_as::<true>(addr, Some(size), Call::Malloc);
}

/// The same of a block of which the caller may say how many bytes were asked for.
#[inline]
pub(crate) fn free_told(addr: usize, size: Option<usize>) {
    match size {
        Some(size) => free_sized(addr, size),
        None => free(addr),
    }
}

/// Gives a block back; `size` is what the caller says it has. Anything but a live block ends the process, as does
/// a block whose canary or size is not as it should be.
pub(crate) fn release(addr: usize, size: Option<usize>, call: Call) {
    if start::hardened_as_usual() {
        // Nothing is counted then, so it does not matter by which call.
        free_told(addr, size);
    } else {
        release_as::<false>(addr, size, call);
    }
}

#[inline(always)]
fn release_as<const USUAL: bool>(addr: usize, size: Option<usize>, call: Call) {
    // Where its canary stands is known only once its mark has come from memory; both can come at once.
    marks::prefetch(addr);
    let Some((place, mark)) = Place::find(addr) else { return release_elsewhere(addr, size, call) };
    let requested = place.inspect::<USUAL>(mark);
    if let Some(size) = size
        && size != requested
        && SETTINGS.sized()
    {
        Fault::WrongSize.abort_sized(addr, requested, size);
    }
    if !USUAL && start::counting() {
        count_free(call, place.class);
    }
    place.mark.store(FREED, Ordering::Relaxed);
    if place.capacity() > marks::SHORT || !place.is_cleared::<USUAL>() {
        return release_far::<USUAL>(place.class, addr, requested);
    }
    marks::clear_short(addr, place.capacity());
    hand_on::<USUAL>(place.class, addr);
}

/// What is left to do of a long block, or one that is not cleared.
#[inline(never)]
fn release_far<const USUAL: bool>(class: ClassId, addr: usize, requested: usize) {
    let capacity = SETTINGS.size(class);
    if capacity <= SETTINGS.zero() {
        marks::clear(addr, 0, requested, capacity);
    } else if SETTINGS.zero() > 0 {
        large::drop_contents(addr, requested, capacity);
    }
    hand_on::<USUAL>(class, addr);
}

#[cold]
#[inline(never)]
fn release_elsewhere(addr: usize, size: Option<usize>, call: Call) {
    if addr == 0 {
        return;
    }
    let span = Found::elsewhere(addr, Fault::DoubleFree, Fault::InvalidFree);
    large::release(addr, span, size, call);
}

/// Gives a block that was checked and cleared to the yard, and what comes out of it to the cache.
#[inline(always)]
fn hand_on<const USUAL: bool>(class: ClassId, addr: usize) {
    let block = if USUAL {
        // Nothing here returns from a call, so that `free` saves no registers.
        match yard::exchange_here(class, addr) {
            NO_YARD => return hand_on_elsewhere(class, addr),
            old => old,
        }
    } else {
        match SETTINGS.places(class) {
            0 => addr,
            places => yard::exchange(class, addr, places),
        }
    };
    if block == 0 {
        return;
    }
    // The word may have held a block of another variant's class in no case: words are by class.
    let mode = if USUAL { Mode::Cpu } else { start::mode() };
    let pushed = match mode {
        Mode::Cpu => CpuAccess::push(class, block),
        Mode::Thread => thread::give(class, block),
        Mode::None => false,
    };
    if !pushed {
        flush(class, block);
    }
}

/// The same on a thread that has no yard of its own at the moment.
#[cold]
#[inline(never)]
fn hand_on_elsewhere(class: ClassId, addr: usize) {
    hand_on::<false>(class, addr);
}

#[cold]
#[inline(never)]
fn flush(class: ClassId, block: usize) {
    let Some(inside) = gate::enter() else {
        // SAFETY: G2; every block holds 8 bytes, aligned to 8.
        return unsafe { LEVELS.deferred.push(with_exposed_provenance_mut(block)) };
    };
    slow::free_deferred();
    slow::put_small(block, class);
    drop(inside);
    slow::look_after();
}

/// A block that was deferred has its turn. The gate has been entered.
pub(crate) fn release_deferred(addr: usize) {
    match Found::at(addr) {
        Found::Dead(class, FREED) => {
            // The link of the list stood there.
            // SAFETY: G2.
            unsafe { with_exposed_provenance_mut::<usize>(addr).write(0) };
            slow::put_small(addr, class);
        }
        // Blocks of a class come here only once they were checked.
        Found::Dead(class, _) => Fault::DoubleFree.abort(addr, class),
        Found::Inside(class) => Fault::InvalidFree.abort(addr, class),
        Found::Elsewhere(span) => large::release_inside(addr, span, Call::Malloc),
    }
}

/// realloc of a live block to `size` bytes at `align`, which is not zero; null, the block unchanged, when memory is
/// refused. O(1) within its class, else O(size).
pub(crate) fn realloc(block: *mut u8, size: usize, align: usize) -> *mut u8 {
    let addr = block.expose_provenance();
    let Some((place, mark)) = Place::find(addr) else {
        let span = Found::elsewhere(addr, Fault::UseAfterFree, Fault::UseAfterFree);
        return large::realloc(addr, span, size, align);
    };
    let (had, capacity) = (place.inspect::<false>(mark), place.capacity());
    if room_for(size) <= capacity && size >= capacity / 2 {
        marks::clear(addr, had.min(size), had, capacity);
        place.bring_to_life(size, true);
        if start::counting() {
            counters::on_realloc(true);
        }
        return block;
    }
    move_to(block, had, size, align)
}

/// Copies a block of `had` bytes to a new one of `size`, and frees it.
fn move_to(block: *mut u8, had: usize, size: usize, align: usize) -> *mut u8 {
    if start::counting() {
        counters::on_realloc(false);
    }
    let is_usual = align <= MALLOC_ALIGN && start::hardened_as_usual();
    let to = if is_usual { malloc(size) } else { allocate(size, align, false, Call::Inner) };
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks are live, so apart, and hold that many bytes.
    unsafe { to.copy_from_nonoverlapping(block, had.min(size)) };
    release(block.expose_provenance(), None, Call::Inner);
    to
}

/// The bytes that were asked for of the block at `addr`; `None` when it is no block of a class and no large one. O(1).
pub(crate) fn usable_size(addr: usize) -> Option<usize> {
    match Place::find(addr) {
        Some((place, mark)) => Some(place.inspect::<false>(mark)),
        None => large::usable_size(addr, Found::elsewhere(addr, Fault::UseAfterFree, Fault::UseAfterFree)),
    }
}

/// Returns the blocks that wait in the yards of caches, which are stopped, to their slabs.
pub(crate) fn empty_yards() {
    yard::empty(|class, block| CENTRALS[class.index()].give_back(class, &LEVELS.pages, &[block]));
}

/// Small blocks of `class` that wait in yards. O(caches).
pub(crate) fn waiting(class: ClassId) -> usize {
    if is_on() && SETTINGS.wait() > 0 { yard::waiting(class) } else { 0 }
}

/// Tells the small blocks of `class` that wait in yards, some of which may leave meanwhile. O(caches).
pub(crate) fn each_waiting(class: ClassId, tell: impl FnMut(usize)) {
    if is_on() && SETTINGS.wait() > 0 {
        yard::each_waiting(class, tell);
    }
}

/// Large blocks that wait, and their bytes. O(1).
pub(crate) fn waiting_large() -> (usize, usize) {
    large::waiting()
}

/// What the scavenger does at each look: takes the memory of large blocks that were kept and are not asked for, or of `all`
/// that are kept. Whether any is left. The gate has been entered.
pub(crate) fn age(all: bool) -> bool {
    is_on() && large::age(all)
}

/// Bytes of freed large blocks that keep their memory.
pub(crate) fn held() -> usize {
    warm::held()
}

/// Returns what waits elsewhere: in the shared yard, and large blocks. The gate has been entered.
pub(crate) fn empty_shared() {
    yard::empty_shared(|class, block| CENTRALS[class.index()].give_back(class, &LEVELS.pages, &[block]));
    large::empty_yard();
}
