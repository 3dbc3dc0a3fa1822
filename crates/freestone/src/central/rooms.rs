//! Where addresses of blocks lie that are in nobody's cache and not yet in their slabs. For those in transfer each class of which programs hold
//! many has a mapping of its own, made when the first batch is to stay; all the others share one, side by side, since most of them need some
//! hundred bytes. Those that are sorted, and those that idle caches held, have one each.
//!
//! Not among the image's data, though that would cost no system call. Collectors of garbage that look for pointers wherever there
//! may be some (libgc, under Guile and others) take all writable data of a library for roots: they would read these megabytes at each
//! collection, and let as much more garbage come together before it. Nor all in one: a process with little room for addresses needs few
//! of them.
//!
//! # Safety
//!
//! - Z1: a mapping is zeroed, never unmapped once its address is stored, and each room in it handed out once, by whoever stored the
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

/// Slots in the room for what caches held that are emptied.
pub(crate) const HAULING_SLOTS: usize = 8 << 10;

/// What a room is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// The blocks of a class on their way between caches.
    Transfer(ClassId),
    /// Putting a cache in order (`cache/order.rs`).
    Sorting,
    /// The blocks of caches that are emptied while the program is at work (`slow/emptying.rs`).
    Hauling,
}

const COUNT: usize = CLASS_COUNT + 2;

/// Where they are: null for those that nobody needed.
struct Places {
    rooms: [AtomicPtr<usize>; COUNT],
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
        if ClassId(class as u8).among_many().is_none() {
            starts[class] = next as u16;
            next += few_slots(class);
            assert!(next <= u16::MAX as usize);
        }
        class += 1;
    }
    (starts, next)
};

impl Room {
    fn all() -> impl Iterator<Item = Room> {
        ClassId::all().map(Room::Transfer).chain([Room::Sorting, Room::Hauling])
    }

    fn index(self) -> usize {
        match self {
            Room::Transfer(class) => class.index(),
            Room::Sorting => CLASS_COUNT,
            Room::Hauling => CLASS_COUNT + 1,
        }
    }

    fn slots(self) -> usize {
        match self {
            Room::Transfer(class) if class.among_many().is_none() => few_slots(class.index()),
            Room::Transfer(_) => MANY_SLOTS,
            Room::Sorting => SORTING_SLOTS,
            Room::Hauling => HAULING_SLOTS,
        }
    }

    /// Where it begins in the common mapping, in slots; none where it has a mapping of its own.
    fn common_start(self) -> Option<usize> {
        match self {
            Room::Transfer(class) if class.among_many().is_none() => Some(FEW_STARTS[class.index()] as usize),
            _ => None,
        }
    }
}

/// Bytes of a mapping for so many slots.
const fn len(slots: usize) -> usize {
    (slots * size_of::<usize>()).next_multiple_of(PAGE_SIZE)
}

impl Places {
    const fn new() -> Places {
        Places { rooms: [const { AtomicPtr::new(null_mut()) }; COUNT], common: AtomicPtr::new(null_mut()) }
    }

    fn take(&self, system: &impl System, room: Room) -> Option<&'static mut [usize]> {
        let place = &self.rooms[room.index()];
        if !place.load(Relaxed).is_null() {
            return None;
        }
        let at = if let Some(start) = room.common_start() {
            let common = self.common.load(Acquire);
            let common = if common.is_null() { map(system, FEW_SLOTS, &self.common)?.0 } else { common };
            let at = common.wrapping_add(start);
            place.compare_exchange(null_mut(), at, Relaxed, Relaxed).ok()?;
            at
        } else {
            let (at, is_ours) = map(system, room.slots(), place)?;
            is_ours.then_some(at)?
        };
        // SAFETY: Z1, Z2: whoever stored the address gets here, once.
        Some(unsafe { core::slice::from_raw_parts_mut(at, room.slots()) })
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

/// The slots of a room; once, and none where the system refuses memory. There are [`MANY_SLOTS`] for the blocks in transfer of classes of which
/// programs hold many, for those of others as many as may be kept and a batch, [`SORTING_SLOTS`] and [`HAULING_SLOTS`]. Whoever passes them on to
/// another thread orders that himself.
#[cold]
pub(crate) fn take(system: &impl System, room: Room) -> Option<&'static mut [usize]> {
    PLACES.take(system, room)
}

/// From where to where the mappings lie.
pub(crate) fn memory() -> impl Iterator<Item = (usize, usize)> {
    let own = Room::all().filter(|room| room.common_start().is_none());
    let own = own.map(|room| (&PLACES.rooms[room.index()], len(room.slots())));
    let mappings = own.chain(core::iter::once((&PLACES.common, len(FEW_SLOTS))));
    let starts = mappings.map(|(place, len)| (place.load(Relaxed).addr(), len));
    starts.filter(|&(start, _)| start != 0).map(|(start, len)| (start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::{class_info, class_of};
    use freestone_sys::sim::Simulated;

    #[test]
    fn each_use_has_one_room_as_long_as_it_needs() {
        let places = Places::new();
        let system = Simulated::new();
        let [few, many] = [100 << 10, 64].map(|size| class_of(size).unwrap());
        let rooms = [Room::Transfer(many), Room::Sorting, Room::Hauling, Room::Transfer(few)];
        let taken = rooms.map(|room| places.take(&system, room).unwrap().len());
        assert_eq!(taken[..3], [MANY_SLOTS, SORTING_SLOTS, HAULING_SLOTS]);
        let info = class_info(few);
        assert!(taken[3] >= usual_limit(info) + info.batch as usize);
        assert!(rooms.iter().all(|&room| places.take(&system, room).is_none()));
        assert_eq!(system.calls().map, 4);
    }

    #[test]
    fn no_two_rooms_share_a_place() {
        assert!(Room::all().map(Room::index).eq(1..COUNT));
    }

    #[test]
    fn classes_of_few_share_a_mapping_and_no_cache_lines() {
        let places = Places::new();
        let system = Simulated::new();
        let mut rooms: Vec<_> = Room::all()
            .filter(|room| room.common_start().is_some())
            .map(|room| places.take(&system, room).unwrap().as_ptr_range())
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
