//! Where the addresses of blocks in transfer lie: for each class in a mapping of its own, made when the first batch is to stay.
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

/// Where they are: null for classes that keep nothing in transfer. The first is for who puts a cache in order (`cache/order.rs`).
struct Places([AtomicPtr<usize>; CLASS_COUNT]);

static PLACES: Places = Places([const { AtomicPtr::new(null_mut()) }; CLASS_COUNT]);

/// Slots in the room of `class`.
fn slots(class: ClassId) -> usize {
    if class == ClassId::NONE {
        SORTING_SLOTS
    } else if class.among_many().is_some() {
        MANY_SLOTS
    } else {
        SLOTS
    }
}

/// Bytes of its mapping.
fn len(class: ClassId) -> usize {
    (slots(class) * size_of::<usize>()).next_multiple_of(PAGE_SIZE)
}

impl Places {
    fn take(&self, system: &impl System, class: ClassId) -> Option<&'static mut [usize]> {
        let place = &self.0[class.index()];
        if !place.load(Relaxed).is_null() {
            return None;
        }
        let at = system.map(len(class)).ok()?;
        let room = with_exposed_provenance_mut(at);
        if place.compare_exchange(null_mut(), room, Relaxed, Relaxed).is_err() {
            // SAFETY: mapped just now, and nobody knows of it. If it stays, only addresses are lost.
            let _ = unsafe { system.release(at, len(class)) };
            return None;
        }
        // SAFETY: Z1.
        Some(unsafe { core::slice::from_raw_parts_mut(room, slots(class)) })
    }
}

/// The room for the blocks of `class` on their way between caches; once, and none where the system refuses memory. There are
/// [`MANY_SLOTS`] for classes of which programs hold many, [`SORTING_SLOTS`] for [`ClassId::NONE`], else [`SLOTS`]. Whoever passes it on to another thread orders that himself.
#[cold]
pub(crate) fn take(system: &impl System, class: ClassId) -> Option<&'static mut [usize]> {
    PLACES.take(system, class)
}

/// From where to where the rooms lie.
pub(crate) fn memory() -> impl Iterator<Item = (usize, usize)> {
    let all = core::iter::once(ClassId::NONE).chain(ClassId::all());
    let starts = all.map(|class| (class, PLACES.0[class.index()].load(Relaxed).addr()));
    starts.filter(|&(_, start)| start != 0).map(|(class, start)| (start, start + len(class)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::class_of;
    use freestone_sys::sim::Simulated;

    #[test]
    fn each_class_has_one_room_as_long_as_it_needs() {
        let places = Places([const { AtomicPtr::new(null_mut()) }; CLASS_COUNT]);
        let system = Simulated::new();
        let (few, many) = (class_of(100 << 10).unwrap(), class_of(64).unwrap());
        let taken = [few, many].map(|class| places.take(&system, class).unwrap());
        assert_eq!(taken.map(|room| room.len()), [SLOTS, MANY_SLOTS]);
        assert!(places.take(&system, few).is_none() && places.take(&system, many).is_none());
        assert_eq!((system.calls().map, len(many)), (2, MANY_SLOTS * 8));
    }
}
