//! The central list of one size class: its slabs, and what passes between caches.
//!
//! Slabs with free blocks are bucketed by fullness. Refills draw from the fullest, so that the emptiest
//! can empty themselves and go back to the page heap. A slab from which a cache is being filled is in no
//! bucket and serves that cache alone, until it is exhausted: no two caches carve from one cache line. But for larger blocks of a heap that is
//! small for its many caches: there one slab serves them all.
//!
//! Slabs only empty themselves if blocks come back to them. Most never do: what is freed waits in a cache, and is what the next
//! request gets, wherever it lies. So a class of which much stays free in slabs is *scattered*: it keeps nothing in transfer, and
//! caches hold few of its blocks, until its sparse slabs are gone.
//!
//! Lock order: the lock of a class, then the page heap's. Never two classes at once.

mod gather;
pub(crate) mod rooms;
pub(crate) mod slab;
mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;
mod whole;

use core::ptr::null_mut;

use freestone_base::{ClassId, ClassInfo, MAX_SHARING, class_info};

use self::rooms::Room;
pub(crate) use self::sweep::Effort;
use self::transfer::{Stock, Transfer};
use self::whole::Whole;
use crate::harden::random;
use crate::message::Fault;
use crate::pageheap::{Span, SpanList, SpanRef, SpanState};
use crate::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use crate::sync::{Guard, Lock};

/// Where slabs come from and go back to.
pub(crate) trait SlabSource {
    /// A new slab, all blocks free; `None` when memory is refused.
    fn take_slab(&self, class: ClassId) -> Option<SpanRef>;
    /// A class has so many slabs now.
    fn note_slabs(&self, _class: ClassId, _slabs: usize) {}
    /// Takes back a slab whose blocks are all free.
    fn return_slab(&self, span: SpanRef);
    /// Gives the memory of OS pages back that lie in a slab and hold no live block; false when that was refused.
    fn purge_pages(&self, span: SpanRef, addr: usize, len: usize) -> bool;
    /// Whether purging pages of the slab would break a huge page.
    fn is_in_huge_page(&self, _span: SpanRef) -> bool {
        false
    }
    /// Bytes in an OS page.
    fn os_page_size(&self) -> usize;
    /// The span that contains `addr`.
    fn span_of(&self, addr: usize) -> Option<SpanRef>;
    /// The slots of a room, as of [`rooms::take`]; once.
    fn room(&self, room: Room) -> Option<&'static mut [usize]>;
    /// About how many bytes are in use, or free and resident.
    fn footprint(&self) -> usize;
    /// Whether caches draw from the same slabs, rather than from one each.
    fn shares_slabs(&self) -> bool {
        false
    }
    /// Much lies in transfer that somebody should look after.
    fn note_stock(&self);
    /// Whether these blocks may pass from one cache to another. Not where one of them has to be looked at first.
    fn may_move(&self, _class: ClassId, _blocks: &[usize]) -> bool {
        true
    }
    /// Takes a block that got into a cache by its size alone: one of the emergency allocator's, or a watched one.
    fn take_foreign(&self, block: usize) -> bool;
}

/// Whether batches may wait between the caches.
static TRANSFERS: AtomicBool = AtomicBool::new(true);

/// Whether batches of blocks may wait between the caches.
#[inline]
pub(crate) fn transfers() -> bool {
    TRANSFERS.load(Ordering::Relaxed)
}

/// Lets batches of blocks wait between the caches, or not; those that wait stay until they are taken or found idle.
pub(crate) fn set_transfers(transfers: bool) {
    TRANSFERS.store(transfers, Ordering::Relaxed);
}

/// Whether slabs stay with their class when they are empty.
static KEEPS: AtomicBool = AtomicBool::new(false);
/// Whether blocks are taken out of slabs at random.
static SHUFFLES: AtomicBool = AtomicBool::new(false);

/// Whether slabs stay with their class when they are whole: when they have no block in use.
#[inline]
fn keeps() -> bool {
    KEEPS.load(Ordering::Relaxed)
}

/// Has slabs stay with their class for ever, so that no address serves two of them. Before the first slab.
pub(crate) fn keep_slabs() {
    KEEPS.store(true, Ordering::Relaxed);
}

/// Has blocks taken out of slabs at random places, in random order.
pub(crate) fn shuffle() {
    SHUFFLES.store(true, Ordering::Relaxed);
}

/// Whether blocks are handed out in random order.
#[inline]
pub(crate) fn shuffles() -> bool {
    SHUFFLES.load(Ordering::Relaxed)
}

/// Blocks of up to so many bytes come from slabs of their cache's own in any case: many neighbours share a cache line.
const MOST_APART: usize = 128;

const BUCKETS: usize = 8;
/// The last list, of slabs that have no block in use: only where they stay with their class.
const WHOLE: usize = BUCKETS;
const LISTS: usize = BUCKETS + 1;

/// A class is sparse when more than one in so many of its blocks lies free in a slab; scattered, when it stays so.
const SCATTERED_PART: usize = 12;
/// The same where memory is dearer than time.
const SCATTERED_PART_LEAN: usize = 32;
/// Free bytes below which there is nothing to gain: so many parts of them make a megabyte.
const SCATTERED_LEAST: usize = 1 << 20;
/// Most batches in a row that come, or go, while blocks are replaced. More mean that the program gives up what it has, or wants
/// more: then slabs empty or fill by themselves.
const REPLACED_RUN: u8 = 64;

/// Batches in a row that come, from which on a program is taken to free much of what it has, not to replace it.
const LONG_RUN: u8 = 4;

/// Memory is dearer than time.
static LEAN: AtomicBool = AtomicBool::new(false);

/// Has classes count as scattered early, at the price of more misses.
pub(crate) fn be_lean() {
    LEAN.store(true, Ordering::Relaxed);
}

/// The central list of one class.
#[repr(align(128))]
pub(crate) struct Central {
    state: Lock<State>,
    /// Whether the class was scattered when blocks came or went last.
    scattered: AtomicBool,
}

struct State {
    /// Slabs with free blocks, fullest first, none being filled from.
    partial: [SpanList; LISTS],
    /// The same, of those that were swept.
    swept: [SpanList; LISTS],
    slabs: usize,
    /// Blocks whose free bits are set, in all slabs.
    free_blocks: usize,
    whole: Whole,
    flow: Flow,
    /// Much was free in slabs when the scavenger looked last, and has been since.
    stays_sparse: bool,
    transfer: Transfer,
}

/// Which way batches go.
struct Flow {
    /// They are given back, else fetched. So that all of it is zero at first, and takes no page of the file.
    back: bool,
    /// So many did so in a row, since the scavenger looked last.
    run: u8,
}

impl Flow {
    fn note(&mut self, back: bool) {
        self.run = if self.back == back { self.run.saturating_add(1) } else { 1 };
        self.back = back;
    }
}

/// What a class's slabs hold, for the report.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CentralStats {
    pub(crate) slabs: usize,
    /// Of those, the ones that have no block in use.
    pub(crate) whole: usize,
    pub(crate) free_in_slabs: usize,
    pub(crate) in_transfer: usize,
}

impl Central {
    pub(crate) const fn new() -> Central {
        let [partial, swept] = [const { [const { SpanList::new() }; LISTS] }; 2];
        let transfer = Transfer::new();
        let state = Lock::new(State {
            partial,
            swept,
            slabs: 0,
            free_blocks: 0,
            whole: Whole::new(),
            flow: Flow { back: false, run: 0 },
            stays_sparse: false,
            transfer,
        });
        Central { state, scattered: AtomicBool::new(false) }
    }

    /// Takes up to `want` blocks, at most `N`: returns one, and hands the others to `keep`, which says how many it took, to be handed
    /// out from the last one on; the rest comes back. `None` only when memory was refused. What lies in transfer is not copied in
    /// between. `filling` is the asking cache's place for the slab that it is being filled from.
    pub(crate) fn refill<const N: usize>(
        &self,
        class: ClassId,
        source: &impl SlabSource,
        filling: &AtomicPtr<Span>,
        want: usize,
        keep: impl FnOnce(&[usize]) -> usize,
    ) -> Option<usize> {
        let mut state = self.state.lock();
        state.flow.note(false);
        let held = state.transfer.len();
        let mut got = want;
        if held < want {
            // The others are written beside those, and leave with them.
            let Some(room) = state.transfer.lend(want - held) else {
                return self.refill_without_room::<N>(state, class, source, filling, want, keep);
            };
            let out = &mut room[held..want];
            let taken = self.fetch_from_slabs(&mut state, class, source, filling, held == 0, out);
            state.transfer.return_with(room, taken);
            got = held + taken;
        }
        let (&block, rest) = state.transfer.top(got).split_last()?;
        let kept = keep(rest);
        state.transfer.remove(got, kept);
        self.scattered.store(state.look_for_scatter(class_info(class)), Ordering::Relaxed);
        Some(block)
    }

    /// The same where there is no room yet. Not inlined: the array shall burden no other path's stack.
    #[inline(never)]
    fn refill_without_room<const N: usize>(
        &self,
        mut state: Guard<'_, State>,
        class: ClassId,
        source: &impl SlabSource,
        filling: &AtomicPtr<Span>,
        want: usize,
        keep: impl FnOnce(&[usize]) -> usize,
    ) -> Option<usize> {
        let mut blocks = [0; N];
        let got = self.fetch_locked(&mut state, class, source, filling, &mut blocks[..want]);
        drop(state);
        let (&block, rest) = blocks[..got].split_last()?;
        let kept = keep(rest);
        if kept < rest.len() {
            self.give_back(class, source, &rest[kept..]);
        }
        Some(block)
    }

    /// Takes up to `out.len()` blocks, to be handed out from the last one on; returns how many, 0 only when memory was
    /// refused. `filling` is the asking cache's place for the slab that it is being filled from.
    pub(crate) fn fetch(
        &self,
        class: ClassId,
        source: &impl SlabSource,
        filling: &AtomicPtr<Span>,
        out: &mut [usize],
    ) -> usize {
        let mut state = self.state.lock();
        state.flow.note(false);
        self.fetch_locked(&mut state, class, source, filling, out)
    }

    fn fetch_locked(
        &self,
        state: &mut State,
        class: ClassId,
        source: &impl SlabSource,
        filling: &AtomicPtr<Span>,
        out: &mut [usize],
    ) -> usize {
        let got = state.transfer.take(out);
        let got = got + self.fetch_from_slabs(state, class, source, filling, got == 0, &mut out[got..]);
        self.scattered.store(state.look_for_scatter(class_info(class)), Ordering::Relaxed);
        got
    }

    /// Takes up to `out.len()` blocks out of slabs, out of new ones only where there is no other block and `may_grow`.
    fn fetch_from_slabs(
        &self,
        state: &mut State,
        class: ClassId,
        source: &impl SlabSource,
        filling: &AtomicPtr<Span>,
        may_grow: bool,
        out: &mut [usize],
    ) -> usize {
        let info = class_info(class);
        let mut got = 0;
        while got < out.len() {
            let span = match SpanRef::from_ptr(filling.load(Ordering::Relaxed)) {
                Some(span) => span,
                None => {
                    let may_grow = may_grow && got == 0;
                    let next =
                        state.fullest().or_else(|| if may_grow { state.grow(class, source) } else { None });
                    let Some(span) = next else { break };
                    span.begin_filling();
                    filling.store(span.as_ptr(), Ordering::Relaxed);
                    span
                }
            };
            let taken = if shuffles() {
                slab::take_random(span, info, &mut out[got..], random::next)
            } else {
                slab::take(span, info, &mut out[got..])
            };
            got += taken;
            state.free_blocks -= taken;
            if span.free_blocks() == 0 {
                span.end_filling();
                filling.store(null_mut(), Ordering::Relaxed);
            } else if info.size as usize > MOST_APART && source.shares_slabs() {
                filling.store(null_mut(), Ordering::Relaxed);
                span.end_filling();
                state.file(source, span, None);
            }
        }
        got
    }

    /// Whether much of the class is free in slabs, so that blocks should go back to theirs, and others come from the fullest. No
    /// lock is taken.
    #[inline]
    pub(crate) fn is_scattered(&self) -> bool {
        self.scattered.load(Ordering::Relaxed)
    }

    /// Takes blocks back. A misused address ends the process with a message.
    pub(crate) fn give_back(&self, class: ClassId, source: &impl SlabSource, blocks: &[usize]) {
        let mut state = self.state.lock();
        state.flow.note(true);
        self.give_back_locked(&mut state, class, source, blocks, false);
    }

    /// Takes blocks back from a cache that hands out the class itself, in batches of `batch`. A misused address ends the process with a message.
    pub(crate) fn give_back_batches(
        &self,
        class: ClassId,
        source: &impl SlabSource,
        blocks: &[usize],
        batch: usize,
    ) {
        let mut state = self.state.lock();
        state.flow.note(true);
        for blocks in blocks.chunks(batch) {
            self.give_back_locked(&mut state, class, source, blocks, true);
        }
    }

    /// Takes `block` back from a cache, and up to `most - 1` others, at most `N - 1`, which `pop` writes and counts. `own` says that the
    /// cache hands out blocks of the class, and has too many. What passes on is copied once.
    pub(crate) fn flush<const N: usize>(
        &self,
        class: ClassId,
        source: &impl SlabSource,
        (block, most): (usize, usize),
        own: bool,
        pop: impl FnOnce(&mut [usize]) -> usize,
    ) {
        let mut state = self.state.lock();
        state.flow.note(true);
        let Some(room) = state.transfer.lend(most) else {
            return self.flush_through::<N>(state, class, source, (block, most), own, pop);
        };
        // The block goes behind those that were freed before it: so a batch freed in a row lies in a row.
        let spare = &mut room[state.transfer.len()..];
        let popped = pop(&mut spare[..most - 1]);
        spare[popped] = block;
        let (blocks, count) = (&spare[..=popped], popped + 1);
        let passes = self.passes(&state, class, source, blocks, own);
        match passes.and_then(|many| state.transfer.admit(class_info(class), count, many)) {
            Some(stock) => note(source, stock),
            None => self.put_back(&mut state, class, source, blocks),
        }
        state.transfer.return_room(room);
    }

    /// The same where there is no room yet, or not enough. Not inlined: the array shall burden no other path's stack.
    #[inline(never)]
    fn flush_through<const N: usize>(
        &self,
        mut state: Guard<'_, State>,
        class: ClassId,
        source: &impl SlabSource,
        (block, most): (usize, usize),
        own: bool,
        pop: impl FnOnce(&mut [usize]) -> usize,
    ) {
        let mut blocks = [0; N];
        let popped = pop(&mut blocks[..most - 1]);
        blocks[popped] = block;
        self.give_back_locked(&mut state, class, source, &blocks[..=popped], own);
    }

    fn give_back_locked(
        &self,
        state: &mut State,
        class: ClassId,
        source: &impl SlabSource,
        blocks: &[usize],
        own: bool,
    ) {
        let room = || source.room(Room::Transfer(class));
        let passes = self.passes(state, class, source, blocks, own);
        match passes.and_then(|many| state.transfer.put(class_info(class), blocks, many, room)) {
            Some(stock) => note(source, stock),
            None => self.put_back(state, class, source, blocks),
        }
    }

    /// Whether blocks that come back may pass to another cache as they are, if they find room; and whether they come in a long run of
    /// the cache's own.
    fn passes(
        &self,
        state: &State,
        class: ClassId,
        source: &impl SlabSource,
        blocks: &[usize],
        own: bool,
    ) -> Option<bool> {
        let info = class_info(class);
        let may = blocks.len() > 1
            && blocks.len() >= info.batch as usize / 2
            && state.transfer.may_admit(info, blocks.len())
            && transfers()
            && !self.is_scattered()
            && source.may_move(class, blocks);
        if !may {
            return None;
        }
        // What others freed, the class's own cache will ask for little by little: no more of it than usual, whatever its order.
        let shares = info.size as usize <= MAX_SHARING;
        let together = own && transfer::lie_together(blocks);
        let many = together && class.among_many().is_some() && state.flow.run > LONG_RUN;
        (together || !own || !shares).then_some(many)
    }

    /// Puts blocks back into their slabs.
    fn put_back(&self, state: &mut State, class: ClassId, source: &impl SlabSource, blocks: &[usize]) {
        state.put_all(class, source, blocks);
        self.scattered.store(state.look_for_scatter(class_info(class)), Ordering::Relaxed);
    }

    /// Moves the blocks in transfer to their slabs, so that empty slabs go back.
    pub(crate) fn drain(&self, class: ClassId, source: &impl SlabSource) {
        let mut state = self.state.lock();
        let mut batch = [0; 64];
        loop {
            let taken = state.transfer.take(&mut batch);
            if taken == 0 {
                // What was emptied into the slabs is none of the program's doing.
                state.flow.run = 0;
                return;
            }
            state.put_all(class, source, &batch[..taken]);
        }
    }

    /// Moves the blocks in transfer that nobody has asked for since this was called last to their slabs; whether there were any, or there are
    /// more than usual.
    /// Notes whether the class is sparse, and which whole slabs may be swept: all where memory is `short`.
    pub(crate) fn trim(&self, class: ClassId, source: &impl SlabSource, short: bool) -> bool {
        let mut state = self.state.lock();
        state.whole.look(short);
        let unused = state.transfer.unused();
        let mut left = unused;
        let mut batch = [0; 64];
        while left > 0 {
            let taken = state.transfer.take(&mut batch[..left.min(64)]);
            state.put_all(class, source, &batch[..taken]);
            left -= taken;
        }
        state.stays_sparse = state.is_sparse(class_info(class));
        state.flow.run = 0;
        self.scattered.store(state.stays_sparse, Ordering::Relaxed);
        // What grew beyond the usual since the last look rang no bell, and is found unused by the next.
        unused > 0 || state.transfer.len() > transfer::usual_limit(class_info(class))
    }

    /// Ends the filling of a cache from its present slab, which others may then use, or which goes back.
    pub(crate) fn stop_filling(&self, source: &impl SlabSource, filling: &AtomicPtr<Span>) {
        let mut state = self.state.lock();
        let Some(span) = SpanRef::from_ptr(filling.swap(null_mut(), Ordering::Relaxed)) else { return };
        span.end_filling();
        state.file(source, span, None);
    }

    pub(crate) fn stats(&self) -> CentralStats {
        let state = self.state.lock();
        CentralStats {
            slabs: state.slabs,
            whole: state.whole.count(),
            free_in_slabs: state.free_blocks,
            in_transfer: state.transfer.blocks().len(),
        }
    }

    /// Checks the buckets, their slabs, and that no block in transfer is marked free.
    pub(crate) fn verify(&self, class: ClassId, source: &impl SlabSource) -> Result<(), &'static str> {
        let info = class_info(class);
        let state = self.state.lock();
        let buckets = state.partial.iter().enumerate().map(|(bucket, list)| (bucket, list, false));
        let swept = state.swept.iter().enumerate().map(|(bucket, list)| (bucket, list, true));
        for (bucket, list, swept) in buckets.chain(swept) {
            for span in list.iter() {
                if span.is_swept() != swept {
                    return Err("a slab is in a list of swept ones, and is not, or the other way round");
                }
                if !span.is_slab_of(class) || span.is_filling() {
                    return Err("a central list holds a span that is no idle slab of its class");
                }
                if span.free_blocks() == 0
                    || span.free_blocks() == span.blocks() && !keeps()
                    || bucket_of(span, info) != Some(bucket)
                {
                    return Err("a slab is in the wrong bucket");
                }
                let last = span.border().wrapping_sub(1).min(span.blocks() - 1);
                if span.free_blocks() < span.blocks()
                    && (last < span.free_blocks() || bucket_for(span, last, info) != Some(bucket))
                {
                    return Err("a slab is not filed anew when its bucket changes");
                }
                slab::verify(span)?;
            }
        }
        for &block in state.transfer.blocks() {
            match source.span_of(block) {
                Some(span) if span.class() == class && !slab::is_free(span, info, block) => {}
                None => {}
                Some(_) => return Err("a block in transfer is free or of another class"),
            }
        }
        Ok(())
    }
}

impl State {
    /// Whether much of the class is free in slabs.
    fn is_sparse(&self, info: &ClassInfo) -> bool {
        let part = if LEAN.load(Ordering::Relaxed) { SCATTERED_PART_LEAN } else { SCATTERED_PART };
        let a_slab = info.blocks as usize;
        // Whole ones are pinned by nobody.
        let free = self.free_blocks.saturating_sub(self.whole.count() * a_slab);
        // Two slabs' worth may be what is being filled, and chance.
        free > 2 * a_slab
            && free * part > self.slabs * a_slab
            && free * part * info.size as usize > SCATTERED_LEAST
    }

    /// Whether the class is scattered, now that blocks came or went.
    fn look_for_scatter(&mut self, info: &ClassInfo) -> bool {
        self.stays_sparse = self.stays_sparse && self.is_sparse(info);
        self.stays_sparse && self.flow.run <= REPLACED_RUN
    }

    fn fullest(&mut self) -> Option<SpanRef> {
        let lists = self.partial.iter_mut().zip(&mut self.swept);
        let span = lists.into_iter().find_map(|(partial, swept)| partial.pop().or_else(|| swept.pop()))?;
        if span.free_blocks() == span.blocks() {
            self.whole.leave(span.is_swept());
        }
        span.set_swept(false);
        Some(span)
    }

    fn grow(&mut self, class: ClassId, source: &impl SlabSource) -> Option<SpanRef> {
        let span = source.take_slab(class)?;
        self.slabs += 1;
        self.free_blocks += span.blocks();
        source.note_slabs(class, self.slabs);
        Some(span)
    }

    /// Puts blocks back into their slabs. Blocks that come in a row from one slab cost one look at it.
    fn put_all(&mut self, class: ClassId, source: &impl SlabSource, blocks: &[usize]) {
        let info = class_info(class);
        let mut left = blocks;
        while let Some(&block) = left.first() {
            let put = match source.span_of(block) {
                Some(span) if span.is_slab_of(class) => {
                    let put = match slab::put_run(span, info, left) {
                        Ok(put) => put,
                        Err((misuse, block)) => misused(misuse, block, class),
                    };
                    self.free_blocks += put;
                    if span.free_blocks() >= span.border() {
                        self.file_fuller(source, span, put, &left[put..]);
                    }
                    put
                }
                span => put_foreign(class, source, span, block),
            };
            left = &left[put..];
        }
    }

    /// Files a slab whose fullness changed that much when `put` blocks came; `rest` are to be put back next. Not inlined: most blocks come
    /// without.
    #[inline(never)]
    fn file_fuller(&mut self, source: &impl SlabSource, span: SpanRef, put: usize, rest: &[usize]) {
        let (class, free) = (span.class(), span.free_blocks());
        if free == span.blocks() {
            // The slab forgets whose bits are set when it goes back.
            let inside = |block: usize| block.wrapping_sub(span.start()) < span.bytes();
            if let Some(&stray) = rest.iter().find(|&&block| inside(block)) {
                let is_block = slab::is_free(span, class_info(class), stray);
                let fault = if is_block { Fault::DoubleFree } else { Fault::InvalidFree };
                fault.abort(stray, class);
            }
        }
        self.file(source, span, bucket_for(span, free - put, class_info(class)));
    }

    /// Puts an idle slab where its fullness wants it; `before` is the bucket it lies in.
    #[inline]
    fn file(&mut self, source: &impl SlabSource, span: SpanRef, before: Option<usize>) {
        let info = class_info(span.class());
        let after = bucket_of(span, info);
        span.set_border(border_of(span, info, after));
        if before == after && after.is_some() && !span.is_swept() {
            return;
        }
        if let Some(bucket) = before {
            let lists = if span.is_swept() { &mut self.swept } else { &mut self.partial };
            lists[bucket].remove(span);
        }
        span.set_swept(false);
        if let Some(bucket) = after {
            self.partial[bucket].push(span);
            if bucket == WHOLE {
                self.whole.come();
            }
        }
        let free = span.free_blocks();
        if free == span.blocks() && !keeps() {
            self.slabs -= 1;
            self.free_blocks -= free;
            source.return_slab(span);
        }
    }
}

/// The bucket for a slab's fullness; none when it has no free block, or nothing else and does not stay.
fn bucket_of(span: SpanRef, info: &ClassInfo) -> Option<usize> {
    bucket_for(span, span.free_blocks(), info)
}

/// The same, were so many of its blocks free.
fn bucket_for(span: SpanRef, free: usize, info: &ClassInfo) -> Option<usize> {
    if free == span.blocks() {
        return keeps().then_some(WHOLE);
    }
    (free > 0).then(|| info.eighths(free).min(BUCKETS - 1))
}

/// How many free blocks take a slab out of the bucket that it is in, or into one: the least number, so that [`State::put_all`] compares
/// instead of looking for a bucket with each block.
fn border_of(span: SpanRef, info: &ClassInfo, bucket: Option<usize>) -> usize {
    match bucket {
        None => span.free_blocks() + 1,
        Some(bucket) if bucket >= BUCKETS - 1 => span.blocks(),
        Some(bucket) => info.least_with_eighths(bucket + 1).min(span.blocks()),
    }
}

/// Says that much lies in transfer now, if that is new.
fn note(source: &impl SlabSource, stock: Stock) {
    if stock == Stock::Grown {
        source.note_stock();
    }
}

/// Puts a block back that lies in no slab of its class: it got into a cache by its size alone. A misused address ends the process with a
/// message. Always 1.
#[cold]
#[inline(never)]
fn put_foreign(class: ClassId, source: &impl SlabSource, span: Option<SpanRef>, block: usize) -> usize {
    // The emergency allocator's memory may lie where a span was given up.
    let may_be = span.is_none_or(|span| span.state() == SpanState::Hole || span.state().is_watched());
    if !may_be || !source.take_foreign(block) {
        Fault::InvalidFree.abort(block, class);
    }
    1
}

/// Ends the process with a message.
#[cold]
#[inline(never)]
fn misused(misuse: slab::Misuse, block: usize, class: ClassId) -> ! {
    Fault::from(misuse).abort(block, class)
}

impl From<slab::Misuse> for Fault {
    fn from(misuse: slab::Misuse) -> Fault {
        match misuse {
            slab::Misuse::NotABlock => Fault::InvalidFree,
            slab::Misuse::AlreadyFree => Fault::DoubleFree,
        }
    }
}
