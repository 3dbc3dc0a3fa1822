//! Blocks of no class: large ones, and what is none of ours.

use core::ptr::with_exposed_provenance_mut;

use freestone_base::PAGE_SIZE;

use super::{
    LEVELS, allocate_elsewhere, defer, free_deferred, look_after, reclaim, refused, release_unclassed, timed,
};
use crate::counters::Call;
use crate::gate;
use crate::pageheap::NEVER;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Large blocks from this size on get room for their colour; smaller ones only what their last page leaves.
const COLOURED: usize = 256 << 10;
/// So far they start behind their page at most.
const MOST_COLOUR: usize = 4096 - LINE;
/// Bytes of a cache line.
const LINE: usize = 64;

/// How far from its page a large block starts at most, so that the first lines of many of them do not all fall into one set of
/// a cache.
fn most_colour(size: usize, align: usize) -> usize {
    let slack = size.wrapping_neg() % PAGE_SIZE;
    let room = if size >= COLOURED { MOST_COLOUR } else { slack.min(MOST_COLOUR) };
    if align > LINE || room < LINE || !LEVELS.pages.policy().colours() {
        return 0;
    }
    room
}

/// How far a large block starts from the beginning of its span, `most` at most: each a cache line further than the one before. So whoever
/// frees a block twice rarely frees the one that got its place meanwhile.
fn next_colour(most: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Two threads may get the same one; a locked instruction would cost more than that.
    let next = NEXT.load(Ordering::Relaxed);
    NEXT.store(next.wrapping_add(1), Ordering::Relaxed);
    next % (most / LINE + 1) * LINE
}

/// Serves a request of no class; null when memory is refused. The allocator has started, and nobody wants to know of it.
#[inline(never)]
pub(super) fn serve(size: usize, align: usize, zeroed: bool) -> *mut u8 {
    if size > isize::MAX as usize {
        return refused(size);
    }
    let Some(inside) = gate::enter_patiently() else { return allocate_elsewhere(None, size, align, zeroed) };
    free_deferred();
    let ready = if zeroed { None } else { ready(size, align) };
    let block = ready.unwrap_or_else(|| timed(|| or_reclaim(size, align, zeroed)));
    drop(inside);
    look_after();
    if block == 0 { refused(size) } else { with_exposed_provenance_mut(block) }
}

/// A block that lies ready, for malloc.
#[inline(always)]
fn ready(size: usize, align: usize) -> Option<usize> {
    if align > LINE {
        return None;
    }
    let most = most_colour(size, align);
    let span = LEVELS.pages.take_ready(size, most, || next_colour(most))?;
    Some(span.first_block())
}

/// Gives back what is of no class: a large block, one of another allocator's kinds, or null.
#[inline(never)]
pub(super) fn release(addr: usize) {
    if addr == 0 {
        return;
    }
    let Some(inside) = gate::enter() else { return defer(addr) };
    free_deferred();
    if !LEVELS.pages.lay_ready(addr) {
        release_unclassed(addr, LEVELS.pages.page_map().span_of(addr), Call::Inner);
    }
    drop(inside);
    look_after();
}

/// A new large block, cleared where that is asked for; 0 when memory is refused. The gate has been entered.
#[cold]
#[inline(never)]
pub(super) fn or_reclaim(size: usize, align: usize, zeroed: bool) -> usize {
    let most = most_colour(size, align);
    let Some(room) = size.checked_add(most) else { return 0 };
    let attempt = || {
        let span = LEVELS.pages.alloc_large(room, align, zeroed)?;
        span.set_colour(next_colour(most));
        span.set_requested(size);
        Some(span.first_block())
    };
    attempt()
        .or_else(|| {
            // What no span can be is not there after any effort either.
            if room >= NEVER {
                return None;
            }
            reclaim();
            attempt()
        })
        .unwrap_or(0)
}
