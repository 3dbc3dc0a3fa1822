//! Where addresses of blocks lie that are in nobody's cache and not yet in their slabs: those in transfer for each class in a mapping of its
//! own, made when the first batch is to stay; those that are sorted, and those that idle caches held, in one each.
//!
//! Not among the image's data, though that would cost no system call. Collectors of garbage that look for pointers wherever there
//! may be some (libgc, under Guile and others) take all writable data of a library for roots: they would read these megabytes at each
//! collection, and let as much more garbage come together before it. Nor all in one: a process with little room for addresses needs few
//! of them.
//!
//! # Safety
//!
//! Invariant Z1: a class's mapping is zeroed, never unmapped once its address is stored, and handed out once, by whoever stored it.
#![allow(unsafe_code)]

use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::{CLASS_COUNT, ClassId, PAGE_SIZE};
use freestone_sys::System;

use super::transfer::{MANY_SLOTS, SLOTS};
use crate::sync::atomic::{AtomicPtr, Ordering::Relaxed};

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
struct Places([AtomicPtr<usize>; COUNT]);

static PLACES: Places = Places([const { AtomicPtr::new(null_mut()) }; COUNT]);

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
            Room::Transfer(class) if class.among_many().is_some() => MANY_SLOTS,
            Room::Transfer(_) => SLOTS,
            Room::Sorting => SORTING_SLOTS,
            Room::Hauling => HAULING_SLOTS,
        }
    }

    /// Bytes of its mapping.
    fn len(self) -> usize {
        (self.slots() * size_of::<usize>()).next_multiple_of(PAGE_SIZE)
    }
}

impl Places {
    fn take(&self, system: &impl System, room: Room) -> Option<&'static mut [usize]> {
        let place = &self.0[room.index()];
        if !place.load(Relaxed).is_null() {
            return None;
        }
        let at = system.map(room.len()).ok()?;
        let slots = with_exposed_provenance_mut(at);
        if place.compare_exchange(null_mut(), slots, Relaxed, Relaxed).is_err() {
            // SAFETY: mapped just now, and nobody knows of it. If it stays, only addresses are lost.
            let _ = unsafe { system.release(at, room.len()) };
            return None;
        }
        // SAFETY: Z1.
        Some(unsafe { core::slice::from_raw_parts_mut(slots, room.slots()) })
    }
}

/// The slots of a room; once, and none where the system refuses memory. There are [`MANY_SLOTS`] for classes of which programs hold many,
/// [`SLOTS`] for others, [`SORTING_SLOTS`] and [`HAULING_SLOTS`]. Whoever passes them on to another thread orders that himself.
#[cold]
pub(crate) fn take(system: &impl System, room: Room) -> Option<&'static mut [usize]> {
    PLACES.take(system, room)
}

/// From where to where the rooms lie.
pub(crate) fn memory() -> impl Iterator<Item = (usize, usize)> {
    let starts = Room::all().map(|room| (room, PLACES.0[room.index()].load(Relaxed).addr()));
    starts.filter(|&(_, start)| start != 0).map(|(room, start)| (start, start + room.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::class_of;
    use freestone_sys::sim::Simulated;

    #[test]
    fn each_use_has_one_room_as_long_as_it_needs() {
        let places = Places([const { AtomicPtr::new(null_mut()) }; COUNT]);
        let system = Simulated::new();
        let rooms = [100 << 10, 64].map(|size| Room::Transfer(class_of(size).unwrap()));
        let rooms = [rooms[0], rooms[1], Room::Sorting, Room::Hauling];
        let taken = rooms.map(|room| places.take(&system, room).unwrap().len());
        assert_eq!(taken, [SLOTS, MANY_SLOTS, SORTING_SLOTS, HAULING_SLOTS]);
        assert!(rooms.iter().all(|&room| places.take(&system, room).is_none()));
        assert_eq!((system.calls().map, rooms[1].len()), (4, MANY_SLOTS * 8));
    }

    #[test]
    fn no_two_rooms_share_a_place() {
        assert!(Room::all().map(Room::index).eq(1..COUNT));
    }
}
