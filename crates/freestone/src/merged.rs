//! Size classes that are merged while few blocks need them.
//!
//! A class keeps as many blocks as it ever had live at a time, since its slabs serve nobody else. Of many classes with a few
//! blocks each, that is a multiple of what is live: chance has each at its most at another time. So above 1 KiB, where classes
//! lie close together, neighbours begin as one: the largest of each [group](freestone_base::size_class::MERGED_CLASSES) serves the
//! sizes of all of them. Only when it has so many blocks that rounding costs more than chance does the group *part* for good, and
//! each size gets the class of its own; blocks from before keep theirs.
//!
//! Which class serves a size is thus no property of the size, but each block's address tells its class. Only the sizes up
//! to [`TELLING_MAX`](freestone_base::size_class::TELLING_MAX) tell theirs. A thread that learns late that a group has parted
//! is served by a class that is too large, to no harm. Only the caches' tables must not keep what they were: their fast paths would go on
//! asking a class that nobody refills. So they are written under a lock.

use freestone_base::size_class::{MALLOC_ALIGN, MERGED_GROUPS, merged_group};
use freestone_base::{ClassId, class_info};

use crate::cache::cpu;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Blocks from which on a class need not serve its neighbours' sizes; or fewer, if they are of so many bytes.
const ENOUGH_BLOCKS: usize = 128;
const ENOUGH_BYTES: usize = 1 << 20;

/// The groups that have not parted: a bit each. None before the start.
static TOGETHER: AtomicU32 = AtomicU32::new(0);

/// Held while a group parts, and while a cache's table is written.
static TABLES: Lock<()> = Lock::new(());

/// All groups.
pub(crate) const ALL: u32 = u32::MAX >> (32 - MERGED_GROUPS);

/// Merges the groups. Before the first cache is set up.
pub(crate) fn begin() {
    TOGETHER.store(ALL, Relaxed);
}

/// Runs `write` with the groups that have parted, or never were merged; none parts meanwhile.
pub(crate) fn with_parted(write: impl FnOnce(u32)) {
    let _writing = TABLES.lock();
    write(ALL & !TOGETHER.load(Relaxed));
}

/// The class that serves requests at present whose own is `class`. One of more than malloc's alignment needs that: the largest
/// of a group may be coloured. O(1).
#[inline]
pub(crate) fn serving_at(class: ClassId, align: usize) -> ClassId {
    if align > MALLOC_ALIGN { class } else { serving(class) }
}

/// The same for malloc's alignment. O(1).
#[inline]
pub(crate) fn serving(class: ClassId) -> ClassId {
    match merged_group(class) {
        Some((group, largest)) if TOGETHER.load(Relaxed) >> group & 1 != 0 => largest,
        _ => class,
    }
}

/// A class has so many slabs: parts its group if it serves others whose own slabs would hold less for nothing.
pub(crate) fn note_slabs(class: ClassId, slabs: usize) {
    let Some((group, largest)) = merged_group(class) else { return };
    let (info, together) = (class_info(class), TOGETHER.load(Relaxed));
    let blocks = slabs * info.blocks as usize;
    let few = blocks < ENOUGH_BLOCKS && blocks * (info.size as usize) < ENOUGH_BYTES;
    if class != largest || few || together >> group & 1 == 0 {
        return;
    }
    let _writing = TABLES.lock();
    TOGETHER.fetch_and(!(1 << group), Relaxed);
    cpu::part_classes(1 << group);
}
