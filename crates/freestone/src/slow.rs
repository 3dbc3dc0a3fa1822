//! What happens when a fast path cannot serve: start, misses, large blocks, counting, misuse.
//!
//! ```text
//! allocate ─ per-thread pop ─ gate ─┬ refused: emergency::alloc
//!                                   ├ small: cache::refill ─ central.fetch ─ pageheap.alloc_slab
//!                                   └ large: pageheap.alloc_large
//! release ── per-thread push ─ gate ┬ refused: emergency::free, or deferred
//!                                   ├ small: cache::flush ─ central.give_back ─ pageheap.free
//!                                   └ large: pageheap.free
//! ```
//!
//! # Safety
//!
//! - F2 of `front.rs`.
//! - S1: an address that the page map or a size ascribes to a class is a block of that class, or the process
//!   ends when it reaches the central list.
#![allow(unsafe_code)]

mod emptying;
pub(crate) mod instrumented;
mod large;

use core::ptr::null_mut;

use freestone_base::{CLASS_COUNT, ClassId, MAX_MEDIUM, PAGE_SHIFT, PAGE_SIZE, class_info};
use freestone_sys::{Linux, linux};

#[cfg(test)]
pub(crate) use self::emptying::Haul;
pub(crate) use self::emptying::{empty_caches, empty_class, empty_region, haul, reclaim, sweep_kept_slabs};
use crate::cache::cpu::CpuAccess;
use crate::cache::{self, Access, thread};
use crate::central::SlabSource;
use crate::central::rooms::{self, Room};
use crate::counters::{self, Call};
use crate::debug::{self, Told};
use crate::deferred::Deferred;
use crate::gate::{self, Inside};
pub(crate) use crate::instances::{CENTRALS, LEVELS};
use crate::message::{self, Fault};
use crate::observe::Request;
use crate::pageheap::{KEPT_TO_HALF, PageHeap, Span, SpanRef, SpanState};
use crate::start::{self, Mode};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::{
    background, emergency, guard, harden, heap, merged, observe, oom, profile, record, scavenge, watched,
};

/// The general-purpose allocator's levels below the caches, but for the central lists.
#[repr(C)]
pub struct Levels {
    pub(crate) deferred: Deferred,
    pub(crate) pages: PageHeap<Linux>,
    /// What is filled from when a thread has no cache.
    pub(crate) uncached: [AtomicPtr<Span>; CLASS_COUNT],
}

impl SlabSource for PageHeap<Linux> {
    fn take_slab(&self, class: ClassId) -> Option<SpanRef> {
        scavenge::note_class(class);
        self.alloc_slab(class)
    }

    fn note_slabs(&self, class: ClassId, slabs: usize) {
        merged::note_slabs(class, slabs);
    }

    fn return_slab(&self, span: SpanRef) {
        self.free(span);
    }

    fn purge_pages(&self, span: SpanRef, addr: usize, len: usize) -> bool {
        self.purge_unused(span, addr, len)
    }

    fn is_in_huge_page(&self, span: SpanRef) -> bool {
        PageHeap::is_in_huge_page(self, span)
    }

    fn os_page_size(&self) -> usize {
        PageHeap::os_page_size(self)
    }

    fn span_of(&self, addr: usize) -> Option<SpanRef> {
        self.page_map().span_of(addr)
    }

    fn room(&self, room: Room) -> Option<&'static mut [usize]> {
        rooms::take(self.system(), room)
    }

    fn footprint(&self) -> usize {
        self.watch().growth_mark() << PAGE_SHIFT
    }

    fn shares_slabs(&self) -> bool {
        cache::cpu::crowd(SlabSource::footprint(self)).is_some()
    }

    fn note_stock(&self) {
        self.watch().on_stock();
    }

    fn may_move(&self, class: ClassId, blocks: &[usize]) -> bool {
        observe::may_move(class, blocks)
    }

    fn take_foreign(&self, block: usize) -> bool {
        if let Some(span) = self.page_map().span_of(block)
            && span.state().is_watched()
        {
            // A class is locked here: what stood for the block goes later.
            let freed = watched::release(span, block);
            if freed.proxy != 0 {
                profile::forget_proxy(freed.proxy);
                // SAFETY: a live block of ours, given up.
                unsafe { LEVELS.deferred.push(core::ptr::with_exposed_provenance_mut(freed.proxy)) };
            }
            return true;
        }
        emergency::free(core::ptr::with_exposed_provenance_mut(block))
    }
}

/// Serves a request; null when memory is refused. `class` is `None` for a large block.
#[cold]
#[inline(never)]
pub(crate) fn allocate(
    class: Option<ClassId>,
    size: usize,
    align: usize,
    zeroed: bool,
    call: Call,
) -> *mut u8 {
    if start::is_plain() {
        serve(class, size, align, zeroed)
    } else {
        instrumented::allocate(&Request { class, size, align, zeroed, call })
    }
}

/// The same for a request that nobody wants to know of, where the allocator has started.
#[inline(always)]
pub(crate) fn serve(class: Option<ClassId>, size: usize, align: usize, zeroed: bool) -> *mut u8 {
    let Some(class) = class else { return large::serve(size, align, zeroed) };
    let class = merged::serving_at(class, align);
    let block = thread::take(class);
    if block != 0 {
        return finish(block, size, zeroed);
    }
    serve_missed(Some(class), size, align, zeroed)
}

/// What no cache could serve. A function of its own, so that whom a thread's cache serves saves no registers for it.
#[inline(never)]
pub(crate) fn serve_missed(class: Option<ClassId>, size: usize, align: usize, zeroed: bool) -> *mut u8 {
    serve_inside(class, size, align, zeroed, None)
}

/// The same without a look into the caches, counted as a call or not. The allocator has started.
#[inline(always)]
fn serve_inside(
    class: Option<ClassId>,
    size: usize,
    align: usize,
    zeroed: bool,
    counted: Option<Call>,
) -> *mut u8 {
    if size > isize::MAX as usize {
        return refused(size);
    }
    // The fast path has tried the class all the same: a class that never comes here stays empty.
    let class = class.filter(|_| size <= class_max());
    let Some(inside) = gate::enter_patiently() else { return allocate_elsewhere(class, size, align, zeroed) };
    free_deferred();
    let block = match class {
        Some(class) => {
            counters::on_miss(class, size);
            small_or_reclaim(class)
        }
        None => timed(|| large::or_reclaim(size, align, zeroed)),
    };
    if let Some(call) = counted
        && block != 0
    {
        let bytes = if class.is_none() { usable_size_of(block) } else { 0 };
        counters::on_alloc(call, class.unwrap_or(ClassId::NONE), size, bytes);
    }
    drop(inside);
    look_after();
    if block == 0 { refused(size) } else { finish(block, size, zeroed && class.is_some()) }
}

/// While calls are counted, times what would be slow without counting as well.
fn timed<R>(work: impl FnOnce() -> R) -> R {
    if !start::counting() {
        return work();
    }
    let began = linux::monotonic_ns();
    let result = work();
    counters::on_slow(linux::monotonic_ns() - began);
    result
}

/// The answer where there is no memory, for C with its `errno`.
#[cold]
pub(crate) fn refused(size: usize) -> *mut u8 {
    if start::counting() {
        counters::on_failure();
    }
    // What cannot be is a mistake, not want of memory.
    if oom::is_wanted() && size <= isize::MAX as usize {
        oom::refused(size);
    }
    linux::Errno(libc::ENOMEM).set();
    null_mut()
}

/// Entries between two walks, where `check:1` asks for them.
const WALK_EVERY: u32 = 4096;

/// The largest request that a class serves.
static CLASS_MAX: AtomicUsize = AtomicUsize::new(MAX_MEDIUM);

/// The largest request, in bytes, that size classes serve.
#[inline]
pub(crate) fn class_max() -> usize {
    CLASS_MAX.load(Ordering::Relaxed)
}

/// Has size classes serve requests up to `size` bytes, at least [`MAX_SMALL`](freestone_base::MAX_SMALL).
pub(crate) fn set_class_max(size: usize) {
    CLASS_MAX.store(size, Ordering::Relaxed);
}

/// What may be due after a slow path. Outside the gate.
#[inline]
pub(crate) fn look_after() {
    if LEVELS.pages.watch().has_rung() {
        background::attend();
    }
    if start::checking() {
        walk_sometimes();
    }
}

/// With `check:1`, walks all invariants now and then.
#[cold]
fn walk_sometimes() {
    static ENTRIES: AtomicU32 = AtomicU32::new(0);
    if ENTRIES.fetch_add(1, Ordering::Relaxed).is_multiple_of(WALK_EVERY)
        && let Err(broken) = crate::verify::verify()
    {
        message::broken(broken);
    }
}

/// A large block comes cleared from the page heap; a small one is cleared here.
fn finish(block: usize, size: usize, clear: bool) -> *mut u8 {
    let block: *mut u8 = core::ptr::with_exposed_provenance_mut(block);
    if clear {
        // SAFETY: the block is ours and holds `size` bytes.
        unsafe { block.write_bytes(0, size) };
    }
    block
}

/// For a thread that may not enter. The block is as large and as aligned as its class wants, because a sized
/// free may put it into a cache.
pub(crate) fn allocate_elsewhere(class: Option<ClassId>, size: usize, align: usize, zeroed: bool) -> *mut u8 {
    let (room, align) = match class {
        Some(class) => (class_info(class).size as usize, class_info(class).align as usize),
        None => (size, align),
    };
    let block = emergency::alloc(LEVELS.pages.system(), room, align);
    if start::counting() {
        counters::on_emergency();
    }
    if block.is_null() { refused(size) } else { finish(block.expose_provenance(), size, zeroed) }
}

pub(crate) fn small_or_reclaim(class: ClassId) -> usize {
    small(class)
        .or_else(|| {
            reclaim();
            small(class)
        })
        .unwrap_or(0)
}

/// A block of `class`. The gate has been entered.
pub(crate) fn small(class: ClassId) -> Option<usize> {
    let (pages, centrals) = (&LEVELS.pages, &CENTRALS);
    match start::mode() {
        Mode::Cpu => {
            if let Some(access) = CpuAccess::current() {
                let class = access.own(class);
                // Counted calls come here without having tried.
                loop {
                    match CpuAccess::pop(class) {
                        0 => break,
                        block if observe::is_low(block) => release_low(block),
                        block => return Some(block),
                    }
                }
                return timed(|| cache::refill(access, centrals, pages, class));
            }
        }
        Mode::Thread => {
            if let Some(block) = small_of_thread(class) {
                return block;
            }
        }
        Mode::None => {}
    }
    let mut block = [0];
    let central = &centrals[class.index()];
    let got = timed(|| central.fetch(class, pages, &LEVELS.uncached[class.index()], &mut block));
    (got == 1).then_some(block[0])
}

/// [`small`] by the thread's cache; `None` where it has none. A function of its own, as the next, since few programs run it.
#[inline(never)]
fn small_of_thread(class: ClassId) -> Option<Option<usize>> {
    let own = thread::enter(LEVELS.pages.system())?;
    Some(match own.access().region().pop(class) {
        0 => timed(|| cache::refill(own.access(), &CENTRALS, &LEVELS.pages, class)),
        block => Some(block),
    })
}

/// [`put_small`] by the thread's cache; false where it has none.
#[inline(never)]
fn put_small_of_thread(addr: usize, class: ClassId) -> bool {
    let Some(own) = thread::enter(LEVELS.pages.system()) else { return false };
    if !own.access().region().push(class, addr) {
        LEVELS.pages.watch().on_flush();
        timed(|| cache::flush(own.access(), &CENTRALS, &LEVELS.pages, class, addr));
    }
    true
}

/// Gives a block back. `class` is what the caller's size says, `None` when it has to be looked up, as always where the
/// class has variants.
///
/// # Safety
/// F2, or null.
#[cold]
#[inline(never)]
pub(crate) unsafe fn release(block: *mut u8, class: Option<ClassId>, call: Call) {
    if start::is_plain() {
        release_plainly(block, class);
    } else if start::only_observes() {
        // What the caller knows of the size would not tell a watched block.
        release_plainly(block, None);
    } else if start::hardened_as_usual() {
        harden::free(block.expose_provenance());
    } else {
        instrumented::release(block, class, &Told::nothing(call));
    }
}

/// The same for a block of which the caller has told more than its address.
///
/// # Safety
/// F2, or null.
#[cold]
#[inline(never)]
pub(crate) unsafe fn release_told(block: *mut u8, class: Option<ClassId>, told: &Told) {
    if start::is_plain() {
        release_plainly(block, class);
    } else if start::only_observes() {
        release_plainly(block, None);
    } else if start::hardened_as_usual() {
        harden::free_told(block.expose_provenance(), told.size);
    } else {
        instrumented::release(block, class, told);
    }
}

/// Gives a block back where nothing but serving is on, or null. `class` as with [`release`].
#[inline(always)]
pub(crate) fn release_plainly(block: *mut u8, class: Option<ClassId>) {
    let addr = block.expose_provenance();
    let class = class.unwrap_or_else(|| class_at(addr));
    // A cache has no room for blocks of no class.
    if !thread::give(class, addr) {
        if class == ClassId::NONE { large::release(addr) } else { release_missed(addr, class) }
    }
}

/// What no cache could take. A function of its own, as [`serve_missed`].
#[inline(never)]
fn release_missed(addr: usize, class: ClassId) {
    release_below(addr, class, Call::Inner);
}

/// Gives a block back without a look into the caches.
#[inline(always)]
fn release_below(addr: usize, class: ClassId, call: Call) {
    let Some(inside) = gate::enter() else { return defer(addr) };
    free_deferred();
    release_inside(addr, class, call);
    drop(inside);
    look_after();
}

/// Gives a block back for a thread that may not enter.
#[cold]
#[inline(never)]
fn defer(addr: usize) {
    let block = core::ptr::with_exposed_provenance_mut(addr);
    // A block of a first-class heap goes with its heap, which may be gone before anybody sees to a deferred free.
    let of_heap = LEVELS.pages.page_map().span_of(addr).is_some_and(|span| span.heap() != 0);
    if !of_heap && !emergency::free(block) {
        // SAFETY: F2; every block holds 8 bytes, aligned to 8.
        unsafe { LEVELS.deferred.push(block) };
    }
}

pub(crate) fn class_at(addr: usize) -> ClassId {
    LEVELS.pages.page_map().class_of(addr)
}

/// Gives a block back. The gate has been entered.
#[inline]
fn release_inside(addr: usize, class: ClassId, call: Call) {
    if class == ClassId::NONE {
        return release_unclassed(addr, LEVELS.pages.page_map().span_of(addr), call);
    }
    if start::counting() {
        counters::on_free(call, class, 0);
    }
    put_small(addr, class);
}

/// Gives a block back for good that was freed by its size and found in a cache, where it must not stay: a watched one, as a rule. The
/// gate has been entered, and no lock is held.
#[cold]
#[inline(never)]
pub(crate) fn release_low(addr: usize) {
    release_unclassed(addr, LEVELS.pages.page_map().span_of(addr), Call::Inner);
}

/// Gives a block of a slab back that the program never had. The gate has been entered.
pub(crate) fn put_back(addr: usize) {
    if let Some(span) = LEVELS.pages.page_map().span_of(addr) {
        put_small(addr, span.class());
    }
}

/// Puts a block into the cache, or passes some on. The gate has been entered.
pub(crate) fn put_small(addr: usize, class: ClassId) {
    let (pages, centrals) = (&LEVELS.pages, &CENTRALS);
    match start::mode() {
        Mode::Cpu => {
            if CpuAccess::push(class, addr) {
                return;
            }
            pages.watch().on_flush();
            if let Some(access) = CpuAccess::current() {
                return timed(|| cache::flush(access, centrals, pages, class, addr));
            }
        }
        Mode::Thread => {
            if put_small_of_thread(addr, class) {
                return;
            }
        }
        Mode::None => pages.watch().on_flush(),
    }
    timed(|| centrals[class.index()].give_back(class, pages, &[addr]));
}

/// Gives back what is in no slab of the global allocator; `span` is what the page map has for the address. The gate has been
/// entered.
pub(crate) fn release_unclassed(addr: usize, span: Option<SpanRef>, call: Call) {
    match span {
        Some(span) if span.state() == SpanState::Large && span.first_block() == addr => {
            if start::counting() {
                counters::on_free(call, ClassId::NONE, span.usable_bytes());
            }
            timed(|| LEVELS.pages.free(span));
        }
        Some(span) if matches!(span.state(), SpanState::HeapSlab | SpanState::HeapLarge) => {
            heap::release(span, addr);
        }
        Some(span) if span.state().is_watched() => {
            let freed = watched::release(span, addr);
            if start::counting() {
                counters::on_free(call, freed.class, freed.bytes);
            }
            profile::release_proxy(freed.proxy);
        }
        Some(span) if span.state() != SpanState::Hole => Fault::InvalidFree.abort(addr, ClassId::NONE),
        _ => {
            let block = core::ptr::with_exposed_provenance_mut(addr);
            if !emergency::free(block) && !linux::control::is_brk_heap(addr) {
                Fault::InvalidFree.abort(addr, ClassId::NONE);
            }
            // A block that libc's own allocator made on the brk heap before us: left to it.
        }
    }
}

/// The place for the slab that serves everybody without one of their own.
pub(crate) fn shared_filling(class: ClassId) -> &'static AtomicPtr<Span> {
    &LEVELS.uncached[class.index()]
}

/// Does what could not be done where it was asked for. The gate has been entered.
#[inline]
pub(crate) fn free_deferred() {
    if !LEVELS.deferred.is_empty() {
        take_deferred();
    }
    heap::destroy_doomed();
}

#[cold]
#[inline(never)]
fn take_deferred() {
    LEVELS.deferred.take_all(|block| {
        let addr = block.expose_provenance();
        if harden::is_on() {
            return harden::release_deferred(addr);
        }
        if debug::owns(addr) {
            return debug::release(addr, &Told::nothing(Call::Malloc));
        }
        release_inside(addr, class_at(addr), Call::Malloc);
    });
}

/// Frees a block of our own, made by `front::alloc`. The gate has been entered.
pub(crate) fn release_record(block: *mut u8) {
    let addr = block.expose_provenance();
    if record::is_on() {
        record::on_free(addr);
    }
    if harden::is_on() {
        return harden::release(addr, None, Call::Inner);
    }
    if debug::owns(addr) {
        return debug::release(addr, &Told::nothing(Call::Inner));
    }
    release_inside(addr, class_at(addr), Call::Inner);
}

/// The most that a block of libc's own allocator can hold that lies at `addr`; `None` when it cannot be one.
pub(crate) fn libc_block_bytes(addr: usize) -> Option<usize> {
    linux::control::is_brk_heap(addr).then(|| linux::control::program_break() - addr)
}

/// Bytes that the block at `addr` holds; 0 when it is none of ours. O(1).
pub(crate) fn usable_size_of(addr: usize) -> usize {
    if start::changes_blocks()
        && let Some(size) = instrumented::usable_size(addr)
    {
        return size;
    }
    let class = class_at(addr);
    if class != ClassId::NONE {
        return class_info(class).size as usize;
    }
    match LEVELS.pages.page_map().span_of(addr) {
        Some(span) if matches!(span.state(), SpanState::HeapSlab | SpanState::WatchedSlab) => {
            class_info(span.class()).size as usize
        }
        Some(span) if span.state().is_large() && span.first_block() == addr => match span.guarded() {
            Some(number) => guard::size(number, addr),
            None => usable_of_large(span),
        },
        Some(span) if span.state() != SpanState::Hole => 0,
        _ => {
            let block = core::ptr::with_exposed_provenance_mut(addr);
            if emergency::owns(block) { emergency::size_of_block(block) } else { 0 }
        }
    }
}

/// Bytes that a large block holds: all of its span, unless there are guard pages behind it.
fn usable_of_large(span: SpanRef) -> usize {
    if LEVELS.pages.policy().guards() || span.guarded().is_some() {
        span.requested()
    } else {
        span.usable_bytes()
    }
}

/// Whether what is in use or waits for reuse is limited.
pub(crate) fn is_limited() -> bool {
    LEVELS.pages.watch().limit() != usize::MAX
}

/// Whether the block at `addr` is a guarded one, which shall not stay when it is resized.
pub(crate) fn is_guarded(addr: usize) -> bool {
    LEVELS.pages.page_map().span_of(addr).is_some_and(|span| span.guarded().is_some())
}

/// Whether the block at `addr` is a large one that holds `new_size` bytes and would keep its pages, and nobody wants to know of it. One
/// of up to 256 KiB keeps them down to half, as blocks of a class do, unless its `used` bytes were told: see `resize.rs`.
#[inline]
pub(crate) fn stays_large(addr: usize, new_size: usize, used: usize) -> bool {
    if !start::is_plain() {
        return false;
    }
    let Some(span) = LEVELS.pages.page_map().span_of(addr) else { return false };
    let usable = span.usable_bytes();
    if !span.is(SpanState::Large) || span.first_block() != addr || new_size > usable {
        return false;
    }
    // Who fills a block asks for no less.
    if usable - new_size >= PAGE_SIZE {
        let kept = LEVELS.pages.kept(usable);
        let kept = if usable <= KEPT_TO_HALF && used == 0 && kept > 0 { usable / 2 } else { kept };
        if usable - new_size >= kept {
            return false;
        }
    }
    span.set_requested(new_size);
    true
}

/// Resizes a live large block without copying, if that can be: in place, or by moving its pages.
/// `None`: allocate, copy and free instead.
pub(crate) fn resize_large(addr: usize, new_size: usize, may_move: bool) -> Option<*mut u8> {
    if start::watches_resizes() {
        if harden::is_on() {
            return None;
        }
        if may_move && record::is_on() {
            record::on_moving(addr);
        }
    }
    let inside = gate::enter()?;
    let span = LEVELS.pages.page_map().span_of(addr)?;
    let watched = span.state() == SpanState::WatchedLarge;
    if !watched && span.state() != SpanState::Large || span.first_block() != addr {
        return None;
    }
    if span.guarded().is_some() {
        return None;
    }
    let old_bytes = span.usable_bytes();
    let resized = LEVELS.pages.resize(span, new_size, may_move)?;
    if watched || observe::is_on() {
        observe::on_resize(addr, watched, resized, new_size);
    }
    if start::counting() {
        counters::on_resize(old_bytes, resized.usable_bytes());
    }
    drop(inside);
    look_after();
    Some(core::ptr::with_exposed_provenance_mut(resized.first_block()))
}

/// Enters the gate, waiting for a fork to end. Only where nothing of libc's is held, as at a thread's end.
pub(crate) fn enter_at_last() -> Inside {
    loop {
        match gate::enter() {
            Some(inside) => return inside,
            None => linux::control::yield_now(),
        }
    }
}
