//! Growing tables over a parent that comes with every call: the debug allocator's records must not come from the
//! program's global allocator, which it may itself be.
//!
//! # Safety
//!
//! *Table*: `at` is a live block of the parent for `capacity` items, of which the first `len` are initialised; with a
//! capacity of zero it is dangling.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::{Alloc, AllocError};

/// A growing array of plain items.
pub(super) struct List<T> {
    at: NonNull<T>,
    len: usize,
    capacity: usize,
}

impl<T: Copy> List<T> {
    pub(super) const fn new() -> List<T> {
        List { at: NonNull::dangling(), len: 0, capacity: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn as_slice(&self) -> &[T] {
        // SAFETY: *table*.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: *table*.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }

    pub(super) fn get(&self, index: u32) -> &T {
        &self.as_slice()[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.as_mut_slice()[index as usize]
    }

    /// Makes room for `more` items.
    pub(super) fn reserve<A: Alloc>(&mut self, more: usize, parent: &A) -> Result<(), AllocError> {
        let wanted =
            self.len.checked_add(more).filter(|&items| items < u32::MAX as usize).ok_or(AllocError)?;
        if wanted <= self.capacity {
            return Ok(());
        }
        let capacity = wanted.max(self.capacity * 2).max(64);
        let new = Layout::array::<T>(capacity).map_err(|_| AllocError)?;
        let at = if self.capacity == 0 {
            parent.allocate(new)?
        } else {
            let old = Layout::array::<T>(self.capacity).map_err(|_| AllocError)?;
            // SAFETY: *table*.
            unsafe { parent.grow(self.at.cast(), old, new) }?
        };
        self.at = at.cast();
        self.capacity = capacity;
        Ok(())
    }

    /// Appends an item for which there is room, and returns its index.
    pub(super) fn push_reserved(&mut self, item: T) -> u32 {
        assert!(self.len < self.capacity, "room was made before");
        // SAFETY: *table*: there is room.
        let end = unsafe { self.at.add(self.len) };
        // SAFETY: *table*.
        unsafe { end.write(item) };
        self.len += 1;
        (self.len - 1) as u32
    }

    /// Gives the memory back.
    pub(super) fn release<A: Alloc>(&mut self, parent: &A) {
        if self.capacity > 0
            && let Ok(layout) = Layout::array::<T>(self.capacity)
        {
            // SAFETY: *table*; it is empty from here on.
            unsafe { parent.deallocate(self.at.cast(), layout) };
        }
        *self = List::new();
    }
}

/// An empty place of an [`Index`].
const EMPTY: u32 = u32::MAX;

/// A hash table of indices into a [`List`]: linear probing, at most half full. The keys stay in the list.
pub(super) struct Index {
    places: List<u32>,
    used: usize,
}

impl Index {
    pub(super) const fn new() -> Index {
        Index { places: List::new(), used: 0 }
    }

    fn place_of(&self, hash: usize) -> usize {
        // The upper bits are the best mixed; the number of places is a power of two.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize);
        (mixed >> 20) & (self.places.len() - 1)
    }

    /// The index with that hash of which `same` is true.
    pub(super) fn find(&self, hash: usize, same: impl Fn(u32) -> bool) -> Option<u32> {
        if self.used == 0 {
            return None;
        }
        let places = self.places.as_slice();
        let mut place = self.place_of(hash);
        loop {
            match places[place] {
                EMPTY => return None,
                index if same(index) => return Some(index),
                _ => place = (place + 1) & (places.len() - 1),
            }
        }
    }

    /// Makes room for `items` in all; `hash_of` gives the hash of an index.
    pub(super) fn reserve<A: Alloc>(
        &mut self,
        items: usize,
        parent: &A,
        hash_of: impl Fn(u32) -> usize,
    ) -> Result<(), AllocError> {
        if items * 2 <= self.places.len() {
            return Ok(());
        }
        let mut bigger = Index::new();
        let count = (items * 2).next_power_of_two().max(128);
        bigger.places.reserve(count, parent)?;
        for _ in 0..count {
            bigger.places.push_reserved(EMPTY);
        }
        for &index in self.places.as_slice().iter().filter(|&&index| index != EMPTY) {
            bigger.insert_reserved(hash_of(index), index);
        }
        self.places.release(parent);
        *self = bigger;
        Ok(())
    }

    /// Enters an index that is not there and for which there is room.
    pub(super) fn insert_reserved(&mut self, hash: usize, index: u32) {
        let mut place = self.place_of(hash);
        let places = self.places.as_mut_slice();
        while places[place] != EMPTY {
            place = (place + 1) & (places.len() - 1);
        }
        places[place] = index;
        self.used += 1;
    }

    /// Takes an index out.
    pub(super) fn remove(&mut self, hash: usize, index: u32, hash_of: impl Fn(u32) -> usize) {
        let mut place = self.place_of(hash);
        let mask = self.places.len() - 1;
        while self.places.as_slice()[place] != index {
            if self.places.as_slice()[place] == EMPTY {
                return;
            }
            place = (place + 1) & mask;
        }
        // What follows moves up, unless it would move before its own place.
        let mut next = place;
        loop {
            next = (next + 1) & mask;
            let follower = self.places.as_slice()[next];
            if follower == EMPTY {
                break;
            }
            let home = self.place_of(hash_of(follower));
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(place) & mask) {
                self.places.as_mut_slice()[place] = follower;
                place = next;
            }
        }
        self.places.as_mut_slice()[place] = EMPTY;
        self.used -= 1;
    }

    /// Gives the memory back.
    pub(super) fn release<A: Alloc>(&mut self, parent: &A) {
        self.places.release(parent);
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Allocated;
    use proptest::prelude::*;
    use std::alloc::{GlobalAlloc, System};
    use std::collections::BTreeMap;

    struct Plain;

    // SAFETY: the system's allocator keeps the contract; no size here is zero.
    unsafe impl Alloc for Plain {
        fn allocate(&self, layout: Layout) -> Allocated {
            // SAFETY: the size is not zero.
            let block = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
            Ok(NonNull::slice_from_raw_parts(block, layout.size()))
        }

        unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(block.as_ptr(), layout) }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a map: keys are few, so that they collide and come again.
        #[test]
        fn an_index_is_a_map(steps in prop::collection::vec((0_usize..80, any::<bool>()), 0..400)) {
            let (mut keys, mut index, mut model) = (List::new(), Index::new(), BTreeMap::new());
            // Hashes in eight groups only.
            let hash = |key: usize| (key % 8) << 20;
            for (key, enter) in steps {
                let found = index.find(hash(key), |at| *keys.get(at) == key);
                prop_assert_eq!(found, model.get(&key).copied());
                match (enter, found) {
                    (true, None) => {
                        keys.reserve(1, &Plain).unwrap();
                        index.reserve(model.len() + 1, &Plain, |at| hash(*keys.get(at))).unwrap();
                        let at = keys.push_reserved(key);
                        index.insert_reserved(hash(key), at);
                        model.insert(key, at);
                    }
                    (false, Some(at)) => {
                        index.remove(hash(key), at, |at| hash(*keys.get(at)));
                        model.remove(&key);
                    }
                    _ => {}
                }
            }
            index.release(&Plain);
            keys.release(&Plain);
        }
    }
}
