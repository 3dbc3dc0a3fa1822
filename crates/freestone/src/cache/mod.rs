//! Caches of free blocks in front of the central lists: one a concurrency id (or CPU), or one a thread.
//!
//! Both kinds are regions (`region.rs`) and miss in the same way (this file). They differ in who may touch a
//! region: `cpu.rs` does it by restartable sequences, `thread.rs` by owning it.

pub(crate) mod cpu;
mod custody;
pub(crate) mod order;
pub(crate) mod region;
#[cfg(target_arch = "x86_64")]
pub(crate) mod rseq;
#[cfg(not(target_arch = "x86_64"))]
#[path = "rseq_absent.rs"]
pub(crate) mod rseq;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;
pub(crate) mod thread;

use freestone_base::{ClassId, ClassInfo, MAX_SMALL, class_info};

use self::region::{Header, NEAR, Region, capacity_limit};
use crate::central::{Central, SlabSource};
use crate::pageheap::Span;
use crate::sync::atomic::{AtomicPtr, Ordering};

/// The most blocks that move at once.
pub(crate) const MAX_BATCH: usize = 256;
/// Up to so many, a batch passes through a short array, since clearing a long one would cost more than the blocks.
pub(crate) const SHORT_BATCH: usize = 32;
/// Blocks of a first refill: a class that is used once should not hold a batch.
const FIRST_REFILL: usize = 4;

/// Blocks that a cache holds of a scattered class. The more there are, the fewer of the freed blocks get back to their slabs
/// before they serve again; the fewer, the more misses.
const SCATTERED_MAX: usize = 16;

/// Most blocks that wait in one cache for the caches that hand out their variant.
const FOREIGN_MAX: usize = 256;

/// How one kind of cache touches a region. Every method may find that the region is not the caller's any
/// more (the thread moved to another CPU); it then does nothing and says so.
pub(crate) trait Access: Copy {
    /// The region, as it was when the caller looked.
    fn region(self) -> Region;
    /// Takes the topmost blocks, up to `out.len()`, the topmost last.
    fn pop_batch(self, class: ClassId, out: &mut [usize]) -> usize;
    /// Puts blocks, returns how many found room.
    fn push_batch(self, class: ClassId, blocks: &[usize]) -> usize;
    /// Replaces a header if it still is `old`.
    fn replace_header(self, class: ClassId, old: Header, new: Header) -> bool;
    /// More bytes for the region's capacities, 0 when there are none.
    fn more_bytes(self) -> isize;
    /// Whether this cache never hands out blocks of the class, but takes those freed here on their way to others.
    fn is_foreign(self, _class: ClassId) -> bool {
        false
    }
    /// The place for the slab from which this cache is being filled.
    fn filling(self, class: ClassId) -> &'static AtomicPtr<Span> {
        &self.region().state().filling[class.index()]
    }
}

/// A pop missed: refills the cache and returns one block, or `None` when memory was refused.
pub(crate) fn refill(
    access: impl Access,
    centrals: &[Central],
    source: &impl SlabSource,
    class: ClassId,
) -> Option<usize> {
    let info = class_info(class);
    let state = access.region().state();
    state.refills.fetch_add(1, Ordering::Relaxed);
    order::note_refill(access.region(), class);
    let central = &centrals[class.index()];
    let capacity = access.region().header(class).capacity(class);
    let want = capacity.max(FIRST_REFILL).min(info.batch as usize);
    let most = wanted_at_most(central, info);
    if capacity > most {
        cut(access, class, most);
    } else {
        grow(access, centrals, source, class, want.min(most - capacity));
    }

    // One block to hand out, and what finds room.
    let header = access.region().header(class);
    let (capacity, room) = (header.capacity(class), header.capacity(class) - header.len(class));
    // Only half of a cache that does not grow: it may as well be given blocks next.
    let want = want.min(1 + room).min((1 + capacity / 2).max(FIRST_REFILL));

    let (filling, keep) = (access.filling(class), |blocks: &[usize]| access.push_batch(class, blocks));
    if want <= SHORT_BATCH {
        central.refill::<SHORT_BATCH>(class, source, filling, want, keep)
    } else {
        central.refill::<MAX_BATCH>(class, source, filling, want, keep)
    }
}

/// So many blocks of the class a cache should hold at most: few of a scattered class, whose blocks should go through their slabs.
fn wanted_at_most(central: &Central, info: &ClassInfo) -> usize {
    if central.is_scattered() { SCATTERED_MAX.min(info.batch as usize).max(FIRST_REFILL) } else { usize::MAX }
}

/// Cuts the capacity of a class down to `most` blocks, or to those that it holds.
fn cut(access: impl Access, class: ClassId, most: usize) {
    let region = access.region();
    let header = region.header(class);
    let most = most.max(header.len(class));
    let over = header.capacity(class).saturating_sub(most);
    if over > 0 && access.replace_header(class, header, header.with_capacity(class, most)) {
        let bytes = over as isize * class_info(class).size as isize;
        region.state().spare.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A push missed: makes room in the cache, or passes a batch on to the central list.
pub(crate) fn flush(
    access: impl Access,
    centrals: &[Central],
    source: &impl SlabSource,
    class: ClassId,
    block: usize,
) {
    let info = class_info(class);
    let central = &centrals[class.index()];
    access.region().state().flushes.fetch_add(1, Ordering::Relaxed);
    // Only refills raise a capacity beyond a batch: a cache that frees what others allocate would fill for nothing.
    let (most, batch) = (wanted_at_most(central, info), info.batch as usize);
    let capacity = access.region().header(class).capacity(class);
    if capacity < batch.min(most) {
        grow(access, centrals, source, class, batch.min(most - capacity));
        if access.push_batch(class, &[block]) == 1 {
            return;
        }
    }
    if capacity > most {
        empty(access, central, source, class, block, MAX_BATCH.min(capacity - most / 2));
        return cut(access, class, most);
    }
    if order::flush(access, central, source, class, block) {
        return;
    }
    // Of a small cache only half: what was freed last is wanted first.
    let most = (info.batch as usize).min(access.region().header(class).capacity(class) / 2).max(1);
    empty(access, central, source, class, block, most);
}

/// Gives `block` and cached ones back, `most` in all.
fn empty(
    access: impl Access,
    central: &Central,
    source: &impl SlabSource,
    class: ClassId,
    block: usize,
    most: usize,
) {
    let own = !access.is_foreign(class);
    let pop = |out: &mut [usize]| access.pop_batch(class, out);
    if most <= SHORT_BATCH {
        central.flush::<SHORT_BATCH>(class, source, (block, most), own, pop);
    } else {
        central.flush::<MAX_BATCH>(class, source, (block, most), own, pop);
    }
}

/// Raises the class's capacity by up to `by` blocks, from the region's spare bytes or from another class.
fn grow(access: impl Access, centrals: &[Central], source: &impl SlabSource, class: ClassId, by: usize) {
    let (size, batch) = (class_info(class).size as isize, class_info(class).batch as usize);
    let region = access.region();
    let header = region.header(class);
    let capacity = header.capacity(class);
    let limit = if access.is_foreign(class) { FOREIGN_MAX } else { capacity_limit(class) };
    let mut wanted = limit.min(capacity + by).saturating_sub(capacity);
    if size as usize > MAX_SMALL {
        wanted = wanted.min(room_for_medium(region, source.footprint()) / size as usize);
    } else if capacity + wanted > batch {
        let room = room_beyond_batches(region, source.footprint()) / size as usize;
        wanted = wanted.min(room.max(batch.saturating_sub(capacity)));
    }
    if wanted == 0 {
        return;
    }
    let spare = &region.state().spare;
    let footprint = source.footprint();
    let crowd = cpu::crowd(footprint);
    let room = || spare.load(Ordering::Relaxed).min(room_in_crowd(region, crowd, footprint));
    let mut left = room();
    if left < wanted as isize * size && left == spare.load(Ordering::Relaxed) {
        spare.fetch_add(access.more_bytes(), Ordering::Relaxed);
        left = room();
    }
    if left < wanted as isize * size {
        // What is taken from other classes they will want back: a little at a time, or all of them would do nothing else.
        let little = (capacity / 4).max(FIRST_REFILL).max((left.max(0) / size) as usize);
        wanted = wanted.min(little);
    }
    if left < wanted as isize * size {
        shrink_another(access, centrals, source, class, wanted as isize * size - left);
        left = room();
    }
    let granted = wanted.min((left.max(0) / size) as usize);
    // A cache of one or two blocks saves little and pins their slabs: many threads would each keep some.
    if granted < wanted.min(FIRST_REFILL) {
        return;
    }
    spare.fetch_sub(granted as isize * size, Ordering::Relaxed);
    // A class that outgrows its near array takes its blocks along.
    let mut blocks = [0; NEAR];
    let cramped = header.is_cramped(class, capacity + granted);
    let moving = if cramped { access.pop_batch(class, &mut blocks) } else { 0 };
    let header = if cramped { region.header(class) } else { header };
    let grown = !header.is_cramped(class, capacity + granted)
        && header.capacity(class) == capacity
        && access.replace_header(class, header, header.with_capacity(class, capacity + granted));
    if !grown {
        spare.fetch_add(granted as isize * size, Ordering::Relaxed);
    }
    if moving > 0 {
        let put = access.push_batch(class, &blocks[..moving]);
        if put < moving {
            centrals[class.index()].give_back(class, source, &blocks[put..moving]);
        }
    }
}

/// Bytes by which medium classes may still grow. There are so many that, each with a few blocks, they would hold more than a small heap
/// has live: there they share an eighth of it.
fn room_for_medium(region: Region, footprint: usize) -> usize {
    const LEAST: usize = 256 << 10;
    const SMALL_HEAP: usize = 16 << 20;
    if footprint >= SMALL_HEAP {
        return usize::MAX;
    }
    let bytes = |class| region.header(class).capacity(class) * class_info(class).size as usize;
    let held = ClassId::medium().map(bytes).sum();
    (footprint / 8).max(LEAST).saturating_sub(held)
}

/// Bytes by which small classes may still grow beyond a batch. Where blocks pass from thread to thread, larger caches only hold more:
/// each thread fills its own in turn. So in a small heap all caches together have a quarter of it beyond what is each one's own.
fn room_beyond_batches(region: Region, footprint: usize) -> usize {
    const OWN: usize = 512 << 10;
    const TOGETHER: usize = 1536 << 10;
    const SMALL_HEAP: usize = 16 << 20;
    // Caches of threads have no bytes of the CPUs' budget.
    if footprint >= SMALL_HEAP || region.state().granted.load(Ordering::Relaxed) == 0 {
        return usize::MAX;
    }
    let all: usize = cpu::active_regions().map(held).sum();
    (footprint / 4).max(TOGETHER).saturating_sub(all).max(OWN.saturating_sub(held(region)))
}

/// Bytes by which one of so many caches may still grow, batches included, where they are a [crowd](cpu::crowd): all together have a quarter of the
/// heap, or half a MiB each. Two are none.
fn room_in_crowd(region: Region, crowd: Option<usize>, footprint: usize) -> isize {
    const OWN: usize = 512 << 10;
    match crowd {
        Some(caches) if caches > 2 && region.state().granted.load(Ordering::Relaxed) > 0 => {
            (footprint / 4 / caches).max(OWN) as isize - held(region) as isize
        }
        _ => isize::MAX,
    }
}

/// Bytes of capacity that a region's classes have.
fn held(region: Region) -> usize {
    let state = region.state();
    (state.granted.load(Ordering::Relaxed) - state.spare.load(Ordering::Relaxed)).max(0) as usize
}

/// Classes looked at for capacity to take over, each time it is wanted.
const VICTIMS: usize = 8;

/// Takes capacity from other classes of the region, round robin, until it is `bytes`.
#[inline(never)]
fn shrink_another(
    access: impl Access,
    centrals: &[Central],
    source: &impl SlabSource,
    keep: ClassId,
    bytes: isize,
) {
    let region = access.region();
    let state = region.state();
    let mut taken_over = 0;
    for _ in 0..VICTIMS {
        let next = (state.victim.load(Ordering::Relaxed) + 1) % freestone_base::CLASS_COUNT as u16;
        state.victim.store(next, Ordering::Relaxed);
        let victim = ClassId(next as u8);
        let header = region.header(victim);
        let capacity = header.capacity(victim);
        if victim == keep || capacity == 0 {
            continue;
        }
        let info = class_info(victim);
        let cut = (capacity / 4).clamp(1, info.batch as usize);
        let room = capacity - header.len(victim);
        let mut over = cut.saturating_sub(room);
        while over > 0 {
            let mut blocks = [0; SHORT_BATCH];
            let taken = access.pop_batch(victim, &mut blocks[..over.min(SHORT_BATCH)]);
            centrals[victim.index()].give_back(victim, source, &blocks[..taken]);
            over = if taken == 0 { 0 } else { over - taken };
        }
        let header = region.header(victim);
        let cut = cut.min(header.capacity(victim) - header.len(victim));
        let smaller = header.with_capacity(victim, header.capacity(victim) - cut);
        if cut > 0 && access.replace_header(victim, header, smaller) {
            let freed = cut as isize * info.size as isize;
            state.spare.fetch_add(freed, Ordering::Relaxed);
            taken_over += freed;
            if taken_over >= bytes {
                return;
            }
        }
    }
}
