//! Watched blocks: in spans of their own kind, which the page map ascribes to no class. So the free of one of them misses the
//! fast path and comes here, and the free of any other block pays nothing.
//!
//! Few blocks are watched at a time: one lock guards all, and a slab goes back as soon as it is empty. Lock order: this
//! lock, then the page heap's.

use freestone_base::{CLASS_COUNT, ClassId, class_info};

use crate::central::slab;
use crate::guard;
use crate::message::Fault;
use crate::observe;
use crate::pageheap::{SpanList, SpanRef, SpanState};
use crate::slow::LEVELS;
use crate::sync::Lock;

struct State {
    /// Slabs with free blocks.
    partial: [SpanList; CLASS_COUNT],
    /// Those below all other spans, empty ones too.
    low: [SpanList; CLASS_COUNT],
    blocks: usize,
    /// Of those, the ones in slabs, and the bytes in them.
    small: usize,
    small_bytes: usize,
}

static STATE: Lock<State> = Lock::new(State {
    partial: [const { SpanList::new() }; CLASS_COUNT],
    low: [const { SpanList::new() }; CLASS_COUNT],
    blocks: 0,
    small: 0,
    small_bytes: 0,
});

/// A watched block of `class`; `None` when memory is refused, or nobody observes any more. The gate has been entered.
pub(crate) fn take(class: ClassId) -> Option<usize> {
    let class = class.first();
    let mut state = STATE.lock();
    if !observe::is_on() {
        return None;
    }
    let low = if observe::must_lie_low(class) { state.low_slab(class) } else { None };
    let (list, span) = match low {
        Some(span) => (&mut state.low[class.index()], span),
        None => {
            let list = &mut state.partial[class.index()];
            let span = match list.first() {
                Some(span) => span,
                None => {
                    let span = LEVELS.pages.alloc_watched_slab(class)?;
                    list.push(span);
                    span
                }
            };
            (list, span)
        }
    };
    let mut block = [0];
    slab::take(span, class_info(class), &mut block);
    if span.free_blocks() == 0 {
        list.remove(span);
    }
    state.blocks += 1;
    state.small += 1;
    state.small_bytes += class_info(class).size as usize;
    Some(block[0])
}

/// Has a large block be watched from now on; false when nobody observes any more. The gate has been entered.
pub(crate) fn mark_large(span: SpanRef, was: bool, watched: bool) -> bool {
    if was == watched {
        return true;
    }
    let mut state = STATE.lock();
    if watched && !observe::is_on() {
        return false;
    }
    LEVELS.pages.mark_watched(span, watched);
    if watched {
        state.blocks += 1;
    } else {
        state.leave();
    }
    true
}

/// A watched block that was freed.
pub(crate) struct Released {
    /// Its class, or none.
    pub(crate) class: ClassId,
    pub(crate) bytes: usize,
    /// What [`observe::on_release`] returned.
    pub(crate) proxy: usize,
}

/// Frees the block at `addr`, which lies in a span of watched blocks. The gate has been entered.
pub(crate) fn release(span: SpanRef, addr: usize) -> Released {
    let class = span.class();
    if let Some(number) = span.guarded() {
        let bytes = guard::check(number, addr);
        let proxy = observe::on_release(addr);
        STATE.lock().leave();
        if let Some(span) = guard::shut(number) {
            LEVELS.pages.free(span);
        }
        return Released { class: ClassId::NONE, bytes, proxy };
    }
    if span.state() == SpanState::WatchedLarge {
        if span.first_block() != addr {
            Fault::InvalidFree.abort(addr, ClassId::NONE);
        }
        let bytes = span.usable_bytes();
        // Told before the address can be another block's.
        let proxy = observe::on_release(addr);
        STATE.lock().leave();
        LEVELS.pages.free(span);
        return Released { class: ClassId::NONE, bytes, proxy };
    }
    let mut state = STATE.lock();
    let bytes = class_info(class).size as usize;
    let was_full = span.free_blocks() == 0;
    if let Err(misuse) = slab::put(span, class_info(class), addr) {
        Fault::from(misuse).abort(addr, class);
    }
    let proxy = observe::on_release(addr);
    let low = observe::is_low(addr);
    let list = if low { &mut state.low[class.index()] } else { &mut state.partial[class.index()] };
    if was_full {
        list.push(span);
    }
    if span.free_blocks() == span.blocks() {
        if !low {
            list.remove(span);
            LEVELS.pages.free(span);
        } else if list.first() != Some(span) {
            // Another one serves next.
            LEVELS.pages.purge_unused(span, span.start(), span.bytes());
        }
    }
    state.small -= 1;
    state.small_bytes -= bytes;
    state.leave();
    Released { class, bytes, proxy }
}

impl State {
    /// A low slab of `class` with a free block. Where there is no room for one any more, blocks are freed by their addresses from now on.
    fn low_slab(&mut self, class: ClassId) -> Option<SpanRef> {
        let list = &mut self.low[class.index()];
        if let Some(span) = list.first() {
            return Some(span);
        }
        match LEVELS.pages.alloc_low_watched_slab(class) {
            Some(span) => list.push(span),
            None => observe::shut_sized_frees(),
        }
        list.first()
    }

    fn leave(&mut self) {
        self.blocks -= 1;
        if self.blocks == 0 && !observe::is_on() && observe::by_address() {
            observe::open_sized_frees();
        }
    }
}

/// Nobody observes any more: calls `done` at once if no block is watched; the last one to be freed calls it else.
pub(crate) fn settle(done: impl FnOnce()) {
    let state = STATE.lock();
    if state.blocks == 0 {
        done();
    }
}

/// Watched blocks that lie in slabs, and the bytes in them as the classes round them.
pub(crate) fn small_blocks() -> (usize, usize) {
    let state = STATE.lock();
    (state.small, state.small_bytes)
}
