//! What gives back what is free but kept: caches, slabs that stay with their class, the page heap's dirty pages.

use core::sync::atomic::Ordering;

use freestone_base::ClassId;
use freestone_sys::linux;

use super::{CENTRALS, LEVELS, Levels};
use crate::cache::region::Region;
use crate::cache::{Access, SHORT_BATCH, cpu, thread};
use crate::central::Effort;
use crate::central::rooms::{self, Room};
use crate::start::{self, Mode};
use crate::sync::{Guard, Lock};
use crate::{harden, scavenge};

/// Memory was refused: returns every cached block to its slab, so that whole spans can serve.
pub(crate) fn reclaim() {
    empty_caches();
    if harden::is_on() {
        sweep_kept_slabs();
    }
    LEVELS.pages.purge_all();
}

/// Returns what one region holds to the central lists. The caller has the region to itself.
pub(crate) fn empty_region(region: Region) {
    ClassId::all().for_each(|class| empty_class(region, class));
}

/// The same of one class.
pub(crate) fn empty_class(region: Region, class: ClassId) {
    let (pages, central) = (&LEVELS.pages, &CENTRALS[class.index()]);
    let mut blocks = [0; SHORT_BATCH];
    loop {
        let taken = region.pop_batch(class, &mut blocks);
        if taken == 0 {
            break;
        }
        central.give_back(class, pages, &blocks[..taken]);
    }
    let filling = &region.state().filling[class.index()];
    // Central lists that never served are better left untouched.
    if !filling.load(Ordering::Relaxed).is_null() {
        central.stop_filling(pages, filling);
    }
}

/// Blocks that were taken out of caches while these were stopped, to be given back when they are at work again: to copy an address takes
/// a nanosecond, to give a block back ten and more, and a wait wherever the program's threads, which have no caches, hold the lock.
///
/// Each run of blocks begins with a word that says whose they are: the number of the cache, how many, and the class.
pub(crate) struct Haul {
    len: usize,
    words: &'static mut [usize],
}

static HAUL: Lock<Haul> = Lock::new(Haul { len: 0, words: &mut [] });

/// The haul of who empties caches in the midst of the program's work, locked inside the gate; none where memory for it is refused.
pub(crate) fn haul() -> Option<Guard<'static, Haul>> {
    let mut haul = HAUL.lock();
    // In the kernel's strict mode the call would end the program.
    if haul.words.is_empty() && !linux::control::is_strict() {
        haul.words = rooms::take(LEVELS.pages.system(), Room::Hauling).unwrap_or_default();
    }
    (!haul.words.is_empty()).then_some(haul)
}

impl Haul {
    /// One that has room for so many words.
    #[cfg(test)]
    pub(crate) fn with_room(words: usize) -> Haul {
        Haul { len: 0, words: vec![0; words].leak() }
    }

    /// Takes what one region holds; false where there was no room for all of it. The caller has the region to itself.
    pub(crate) fn take_region(&mut self, region: Region) -> bool {
        ClassId::all().all(|class| self.take(region, class))
    }

    /// The same of one class.
    pub(crate) fn take(&mut self, region: Region, class: ClassId) -> bool {
        let held = region.header(class).len(class);
        // Central lists that never served are better left untouched.
        if held == 0 && region.state().filling[class.index()].load(Ordering::Relaxed).is_null() {
            return true;
        }
        let Some([first, room @ ..]) = self.words.get_mut(self.len..) else { return false };
        let taken = region.pop_batch(class, room);
        *first = cpu::number_of(region) << 32 | taken << 8 | class.index();
        self.len += 1 + taken;
        taken == held
    }

    /// Gives all back to the central lists.
    pub(crate) fn give_back(&mut self) {
        let pages = &LEVELS.pages;
        let mut left = &self.words[..self.len];
        while let [first, rest @ ..] = left {
            let (blocks, next) = rest.split_at(*first >> 8 & 0xff_ffff);
            let class = ClassId(*first as u8);
            let central = &CENTRALS[class.index()];
            blocks.chunks(SHORT_BATCH).for_each(|batch| central.give_back(class, pages, batch));
            if let Some(region) = cpu::region(*first >> 32) {
                central.stop_filling(pages, &region.state().filling[class.index()]);
            }
            left = next;
        }
        self.len = 0;
    }
}

/// Returns every cached block that can be reached to its slab. The gate has been entered.
pub(crate) fn empty_caches() {
    let (Levels { pages, uncached, .. }, centrals) = (&LEVELS, &CENTRALS);
    match start::mode() {
        Mode::Cpu => {
            cpu::with_stopped(|| {
                cpu::regions().for_each(empty_region);
                if harden::is_on() {
                    harden::empty_yards();
                }
            });
        }
        Mode::Thread => {
            thread::find_orphans();
            let mut came = thread::may_close();
            if came {
                thread::in_batches(
                    |_| true,
                    |batch| {
                        came = thread::with_closed(batch, empty_region);
                        came
                    },
                );
            }
            if !came && let Some(own) = thread::enter(pages.system()) {
                empty_region(own.access().region());
            }
        }
        Mode::None => {}
    }
    if harden::is_on() {
        harden::empty_shared();
    }
    for class in scavenge::served_classes() {
        let central = &centrals[class.index()];
        central.stop_filling(pages, &uncached[class.index()]);
        central.drain(class, pages);
    }
}

/// Returns the memory of all pages without live blocks in slabs that stay with their class; the bytes returned. The gate has
/// been entered.
pub(crate) fn sweep_kept_slabs() -> usize {
    let mut purged = 0;
    for class in scavenge::served_classes() {
        // The first look finds out which slabs are at rest; nobody has to wait for that here.
        for _ in 0..2 {
            let mut effort = Effort { slabs: usize::MAX, calls: usize::MAX, wanted: true, breaks: true };
            purged += CENTRALS[class.index()].sweep(class, &LEVELS.pages, &mut effort);
        }
    }
    purged
}
