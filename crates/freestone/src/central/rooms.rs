//! Where the rooms of the transfer cache lie: in a mapping of their own, made when the first one is asked for.
//!
//! Not among the image's data, though that would cost no system call. Collectors of garbage that look for pointers wherever there
//! may be some (libgc, under Guile and others) take all writable data of a library for roots: they would read these megabytes at each
//! collection, and let as much more garbage come together before it.
//!
//! # Safety
//!
//! Invariant Z1: the mapping is zeroed, and never unmapped once its address is stored (Release; whoever reads it does so with Acquire, its
//! partner). Zeros are a valid value of every room.
#![allow(unsafe_code)]

use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::size_class::MANY_COUNT;
use freestone_base::{CLASS_COUNT, ClassId, PAGE_SIZE};
use freestone_sys::System;

use super::transfer::{MANY_SLOTS, Room, SLOTS};
use crate::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};

/// All rooms.
#[repr(C)]
struct Rooms {
    /// For each class, and unused for those of which programs hold many.
    usual: [Room<SLOTS>; CLASS_COUNT],
    /// For those.
    many: [Room<MANY_SLOTS>; MANY_COUNT],
}

/// Bytes of the mapping.
const LEN: usize = size_of::<Rooms>().next_multiple_of(PAGE_SIZE);

/// Where they are, once they are mapped.
struct Place(AtomicPtr<Rooms>);

static PLACE: Place = Place(AtomicPtr::new(null_mut()));

impl Place {
    fn take(&self, system: &impl System, class: ClassId) -> Option<&'static mut [usize]> {
        let mut rooms = self.0.load(Acquire);
        if rooms.is_null() {
            rooms = self.map(system)?;
        }
        // SAFETY: Z1.
        let rooms = unsafe { &*rooms };
        match class.among_many() {
            Some(place) => rooms.many[place].take(),
            None => rooms.usual[class.index()].take(),
        }
    }

    /// Maps all rooms, if nobody else does.
    #[cold]
    fn map(&self, system: &impl System) -> Option<*mut Rooms> {
        let at = system.map(LEN).ok()?;
        let rooms = with_exposed_provenance_mut(at);
        let Err(others) = self.0.compare_exchange(null_mut(), rooms, AcqRel, Acquire) else {
            return Some(rooms);
        };
        // SAFETY: mapped just now, and nobody knows of it. If it stays, only addresses are lost.
        let _ = unsafe { system.release(at, LEN) };
        Some(others)
    }
}

/// The room for the blocks of `class` on their way between caches; once, and none where the system refuses memory. There are
/// [`MANY_SLOTS`] for classes of which programs hold many, else [`SLOTS`].
pub(crate) fn take(system: &impl System, class: ClassId) -> Option<&'static mut [usize]> {
    PLACE.take(system, class)
}

/// From where to where the rooms lie; nothing before there are any.
pub(crate) fn memory() -> (usize, usize) {
    let start = PLACE.0.load(Acquire).addr();
    (start, if start == 0 { 0 } else { start + LEN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::class_of;
    use freestone_sys::sim::Simulated;

    #[test]
    fn each_class_has_one_room_of_its_own_in_one_mapping() {
        let place = Place(AtomicPtr::new(null_mut()));
        let system = Simulated::new();
        let (few, many) = (class_of(100 << 10).unwrap(), class_of(64).unwrap());
        let taken = [few, many].map(|class| place.take(&system, class).unwrap());
        assert_eq!(taken.map(|room| room.len()), [SLOTS, MANY_SLOTS]);
        assert!(place.take(&system, few).is_none() && place.take(&system, many).is_none());
        assert_eq!(system.calls().map, 1);
    }
}
