//! The slow path where it is not plain: before the start, and while calls are counted, recorded, observed, hardened or debugged.
//! None of them costs the others, or the plain path, more than the one test that leads here.
//!
//! # Safety
//!
//! F2 of `front.rs`: what is given back was handed out by this allocator and is live.
#![allow(unsafe_code)]

use freestone_base::ClassId;

use super::{
    LEVELS, allocate_elsewhere, class_at, class_max, defer, finish, free_deferred, large, look_after,
    release_below, serve, serve_inside, timed, usable_of_large,
};
use crate::cache::cpu::{self, CpuAccess};
use crate::cache::thread;
use crate::counters::{self, Call};
use crate::debug::{self, Told};
use crate::observe::{self, Drawn, Observer, Request};
use crate::pageheap::SpanState;
use crate::start;
use crate::{gate, guard, harden, merged, record, watched};

/// Serves a request; null when memory is refused.
#[cold]
#[inline(never)]
pub(crate) fn allocate(request: &Request) -> *mut u8 {
    let &Request { class, size, align, zeroed, call } = request;
    if !start::is_started() {
        // The block may be freed by a fast path.
        cpu::shut();
        let Some(inside) = gate::enter_patiently() else {
            return allocate_elsewhere(class.filter(|_| size <= class_max()), size, align, zeroed);
        };
        start::ensure();
        drop(inside);
        return super::allocate(class, size, align, zeroed, call);
    }
    if debug::is_on()
        && let Some(block) = debug::allocate(size, align, call)
    {
        return block;
    }
    let served = if observe::is_on() {
        observe::serve(request)
    } else if start::only_records() {
        record::before_alloc();
        class.filter(|_| size <= class_max()).and_then(|class| from_cache(class, size, align, zeroed))
    } else {
        None
    };
    let block = served.unwrap_or_else(|| allocate_counted(request));
    if record::is_on() && call != Call::Inner {
        record::on_alloc(call, size, align, zeroed, block);
    }
    block
}

/// malloc of a small block where calls are recorded and nothing else is on: out of the CPU's cache, as if they were not; null where it
/// has none. Its class stands at `entry`, as `front::entry_of` has it.
#[cold]
#[inline(never)]
pub(crate) fn allocate_recorded(size: usize, entry: usize) -> *mut u8 {
    record::before_alloc();
    let block = CpuAccess::pop_at(entry);
    if block != 0 {
        record::on_malloc(size, block);
    }
    core::ptr::with_exposed_provenance_mut(block)
}

/// The same for a request that is not observed, or was counted down already.
#[cold]
#[inline(never)]
pub(crate) fn allocate_counted(request: &Request) -> *mut u8 {
    let &Request { class, size, align, zeroed, call } = request;
    if harden::is_on() {
        harden::allocate(size, align, zeroed, call)
    } else if start::sees_every_call() {
        let class = class.map(|class| merged::serving_at(class, align));
        serve_inside(class, size, align, zeroed, start::counting().then_some(call))
    } else {
        serve(class, size, align, zeroed)
    }
}

/// Serves a request that was drawn by a watched block; `None` where that cannot be, and others would be.
#[cold]
#[inline(never)]
pub(crate) fn allocate_watched(request: &Request, drawn: Drawn) -> Option<*mut u8> {
    let &Request { size, align, zeroed, .. } = request;
    if size > isize::MAX as usize {
        return None;
    }
    // The one that would serve it else: what stands for a sample lies where the block would.
    let class = request.class.filter(|_| size <= class_max()).map(|class| merged::serving_at(class, align));
    let inside = gate::enter()?;
    free_deferred();
    let guarded = if drawn.is_for(Observer::Guard) { guard::take(size, align) } else { None };
    if guarded.is_none() && drawn.is_only_for(Observer::Guard) {
        return None;
    }
    let addr = match (guarded, class) {
        (Some(addr), _) => addr,
        (None, Some(class)) => watched::take(class)?,
        (None, None) => timed(|| large::or_reclaim(size, align, zeroed)),
    };
    if addr == 0 {
        return None;
    }
    let mut bytes = 0;
    let mut is_watched = true;
    if (class.is_none() || guarded.is_some())
        && let Some(span) = LEVELS.pages.page_map().span_of(addr)
    {
        bytes = usable_of_large(span);
        is_watched = watched::mark_large(span, false, true);
        if !is_watched && guarded.is_some() {
            // Freed like any other, it would leave its guard pages to whoever gets its pages next.
            guard::give_up(span);
            return None;
        }
        if !is_watched && harden::is_on() {
            // Freed like any other, it would lack what that looks for.
            LEVELS.pages.free(span);
            return None;
        }
    }
    if is_watched {
        observe::on_watched(drawn, addr, size, class);
    }
    if start::counting() {
        let class = class.filter(|_| guarded.is_none());
        counters::on_alloc(request.call, class.unwrap_or(ClassId::NONE), size, bytes);
    }
    drop(inside);
    look_after();
    Some(finish(addr, size, zeroed && (class.is_some() || guarded.is_some())))
}

/// Serves an observed or a recorded request, which a shut gate kept from it, out of the CPU's cache.
pub(crate) fn from_cache(class: ClassId, size: usize, align: usize, zeroed: bool) -> Option<*mut u8> {
    loop {
        let block = CpuAccess::pop(CpuAccess::own_now(merged::serving_at(class, align)));
        if block == 0 {
            return None;
        }
        if observe::is_low(block)
            && let Some(inside) = gate::enter()
        {
            super::release_low(block);
            drop(inside);
            continue;
        }
        return Some(finish(block, size, zeroed));
    }
}

/// Gives a block back, of which the caller has told this much.
#[cold]
#[inline]
pub(super) fn release(block: *mut u8, class: Option<ClassId>, told: &Told) {
    if start::only_hardened() && !block.is_null() {
        harden::release(block.expose_provenance(), told.size, told.call);
    } else if start::records_alone() && !block.is_null() {
        release_recorded(block.expose_provenance(), class, told.call);
    } else {
        release_otherwise(block, class, told);
    }
}

/// The same where calls are recorded, and nothing else is on.
#[cold]
#[inline(never)]
pub(crate) fn release_recorded(addr: usize, class: Option<ClassId>, call: Call) {
    let class = class.unwrap_or_else(|| class_at(addr));
    if call != Call::Inner {
        record_free(addr, class);
    }
    if class != ClassId::NONE && CpuAccess::push(class, addr) {
        return;
    }
    release_below(addr, class, call);
}

#[cold]
#[inline(never)]
fn release_otherwise(block: *mut u8, class: Option<ClassId>, told: &Told) {
    if block.is_null() {
        return;
    }
    let addr = block.expose_provenance();
    if !start::is_started() {
        let Some(inside) = gate::enter() else { return defer(addr) };
        start::ensure();
        drop(inside);
    }
    if debug::owns(addr) {
        return debug::release(addr, told);
    }
    if harden::is_on() {
        return harden::release(addr, told.size, told.call);
    }
    let by_address = observe::by_address();
    let class = class.filter(|_| !by_address).unwrap_or_else(|| class_at(addr));
    if record::is_on() && told.call != Call::Inner {
        record_free(addr, class);
    }
    // A sized free, which had to be looked up; or any that came here only to be recorded.
    let cached = by_address && observe::uses_caches() || start::only_records();
    if cached && class != ClassId::NONE && CpuAccess::push(class, addr) {
        return;
    }
    if !start::sees_every_call() && thread::give(class, addr) {
        return;
    }
    release_below(addr, class, told.call);
}

/// Has a free recorded, unless it is one of a first-class heap's blocks, which are not.
#[cold]
fn record_free(addr: usize, class: ClassId) {
    if class != ClassId::NONE {
        return record::on_free(addr);
    }
    match LEVELS.pages.page_map().span_of(addr) {
        Some(span) if span.heap() != 0 => {}
        Some(span) if span.state() == SpanState::Large && span.first_block() == addr => {
            record::on_free_large(addr, span.usable_bytes());
        }
        _ => record::on_free(addr),
    }
}

/// Bytes that the block at `addr` holds in hardened and debug mode; `None` where it is a block like any other.
#[cold]
pub(super) fn usable_size(addr: usize) -> Option<usize> {
    if harden::is_on() {
        return harden::usable_size(addr);
    }
    debug::owns(addr).then(|| debug::usable_size(addr))
}
