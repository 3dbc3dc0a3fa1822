//! Where the addresses of blocks in transfer lie. Each class of which programs hold many has a mapping of its own, made when the first batch
//! is to stay; all the others share one, side by side, since most of them need some hundred bytes.
//!
//! Not among the image's data, though that would cost no system call. Collectors of garbage that look for pointers wherever there
//! may be some (libgc, under Guile and others) take all writable data of a library for roots: they would read these megabytes at each
//! collection, and let as much more garbage come together before it. Nor all in one: a process with little room for addresses needs few
//! of them.
//!
//! # Safety
//!
//! - Z1: a mapping is zeroed, never unmapped once its address is stored, and a class's room in it handed out once, by whoever stored the
//!   room's address.
//! - Z2: the rooms in the common mapping lie apart from each other.
#![allow(unsafe_code)]

use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::size_class::CLASSES;
use freestone_base::{CLASS_COUNT, ClassId, PAGE_SIZE};
use freestone_sys::System;

use super::transfer::{MANY_SLOTS, usual_limit};
use crate::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

/// Slots in the room where a cache is put in order: for the most blocks that it holds of a class and one, twice.
pub(crate) const SORTING_SLOTS: usize = 2 * (2048 + 1);

/// Where they are: null for classes that keep nothing in transfer. The first is for who puts a cache in order (`cache/order.rs`).
struct Places {
    rooms: [AtomicPtr<usize>; CLASS_COUNT],
    common: AtomicPtr<usize>,
}

static PLACES: Places = Places::new();

/// Slots in the room of a class of which programs hold few: what is kept, and a batch behind that. Whole cache lines, since each class has its
/// own lock.
const fn few_slots(class: usize) -> usize {
    (usual_limit(&CLASSES[class]) + CLASSES[class].batch as usize).next_multiple_of(8)
}

/// Where in the common mapping the rooms of such classes begin, in slots, and how many it has.
static FEW_STARTS: [u16; CLASS_COUNT] = FEW.0;
const FEW_SLOTS: usize = FEW.1;
const FEW: ([u16; CLASS_COUNT], usize) = {
    let (mut starts, mut next, mut class) = ([0; CLASS_COUNT], 0, 1);
    while class < CLASS_COUNT {
        if is_one_of_few(ClassId(class as u8)) {
            starts[class] = next as u16;
            next += few_slots(class);
            assert!(next <= u16::MAX as usize);
        }
        class += 1;
    }
    (starts, next)
};

const fn is_one_of_few(class: ClassId) -> bool {
    class.index() != 0 && class.among_many().is_none()
}

/// Slots in the room of `class`.
fn slots(class: ClassId) -> usize {
    if class == ClassId::NONE {
        SORTING_SLOTS
    } else if is_one_of_few(class) {
        few_slots(class.index())
    } else {
        MANY_SLOTS
    }
}

/// Bytes of a mapping for so many slots.
const fn len(slots: usize) -> usize {
    (slots * size_of::<usize>()).next_multiple_of(PAGE_SIZE)
}

impl Places {
    const fn new() -> Places {
        Places {
            rooms: [const { AtomicPtr::new(null_mut()) }; CLASS_COUNT],
            common: AtomicPtr::new(null_mut()),
        }
    }

    fn take(&self, system: &impl System, class: ClassId) -> Option<&'static mut [usize]> {
        let place = &self.rooms[class.index()];
        if !place.load(Relaxed).is_null() {
            return None;
        }
        let room = if is_one_of_few(class) {
            let common = self.common.load(Acquire);
            let common = if common.is_null() { map(system, FEW_SLOTS, &self.common)?.0 } else { common };
            let room = common.wrapping_add(FEW_STARTS[class.index()] as usize);
            place.compare_exchange(null_mut(), room, Relaxed, Relaxed).ok()?;
            room
        } else {
            let (room, is_ours) = map(system, slots(class), place)?;
            is_ours.then_some(room)?
        };
        // SAFETY: Z1, Z2: whoever stored the address gets here, once.
        Some(unsafe { core::slice::from_raw_parts_mut(room, slots(class)) })
    }
}

/// Maps room for so many slots and stores its address. If another thread was faster, its address, and false.
fn map(system: &impl System, slots: usize, place: &AtomicPtr<usize>) -> Option<(*mut usize, bool)> {
    let at = system.map(len(slots)).ok()?;
    let room = with_exposed_provenance_mut(at);
    match place.compare_exchange(null_mut(), room, AcqRel, Acquire) {
        Ok(_) => Some((room, true)),
        Err(theirs) => {
            // SAFETY: mapped just now, and nobody knows of it. If it stays, only addresses are lost.
            let _ = unsafe { system.release(at, len(slots)) };
            Some((theirs, false))
        }
    }
}

/// The room for the blocks of `class` on their way between caches; once, and none where the system refuses memory. There are
/// [`MANY_SLOTS`] for classes of which programs hold many, [`SORTING_SLOTS`] for [`ClassId::NONE`], else as many as may be kept and a batch.
/// Whoever passes it on to another thread orders that himself.
#[cold]
pub(crate) fn take(system: &impl System, class: ClassId) -> Option<&'static mut [usize]> {
    PLACES.take(system, class)
}

/// From where to where the mappings lie.
pub(crate) fn memory() -> impl Iterator<Item = (usize, usize)> {
    let all = core::iter::once(ClassId::NONE).chain(ClassId::all()).filter(|&class| !is_one_of_few(class));
    let own = all.map(|class| (&PLACES.rooms[class.index()], len(slots(class))));
    let mappings = own.chain(core::iter::once((&PLACES.common, len(FEW_SLOTS))));
    let starts = mappings.map(|(place, len)| (place.load(Relaxed).addr(), len));
    starts.filter(|&(start, _)| start != 0).map(|(start, len)| (start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::class_of;
    use freestone_sys::sim::Simulated;

    #[test]
    fn each_class_has_one_room_as_long_as_it_needs() {
        let places = Places::new();
        let system = Simulated::new();
        let (few, many) = (class_of(100 << 10).unwrap(), class_of(64).unwrap());
        let taken = [few, many].map(|class| places.take(&system, class).unwrap());
        let info = freestone_base::class_info(few);
        assert!(taken[0].len() >= usual_limit(info) + info.batch as usize);
        assert_eq!(taken[1].len(), MANY_SLOTS);
        assert!(places.take(&system, few).is_none() && places.take(&system, many).is_none());
        assert_eq!(system.calls().map, 2);
    }

    #[test]
    fn classes_of_few_share_a_mapping_and_no_cache_lines() {
        let places = Places::new();
        let system = Simulated::new();
        let mut rooms: Vec<_> = ClassId::all()
            .filter(|&class| is_one_of_few(class))
            .map(|class| places.take(&system, class).unwrap().as_ptr_range())
            .collect();
        rooms.sort_by_key(|room| room.start);
        assert!(rooms.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(rooms.iter().all(|room| room.start.addr().is_multiple_of(64)));
        let common = places.common.load(Relaxed);
        assert_eq!(rooms[0].start, common.cast_const());
        assert!(rooms.last().unwrap().end.addr() <= common.addr() + len(FEW_SLOTS));
        assert_eq!(system.calls().map, 1);
    }
}
