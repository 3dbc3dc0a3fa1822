//! Marking: what was reached, and what its pointers are still to be followed of.
//!
//! # Safety
//!
//! *Reached*: the marker is shown live objects only, since it begins at the roots and what they point to is live; while it traces,
//! nobody has a reference into the heap.
#![allow(unsafe_code)]

use super::base::Base;
use super::kind::{Fixed, Kind, shape_of};
use super::object::{NOTED, Object};
use super::stack::Stack;
use super::waiting::Waiting;
use super::{Collector, Pending, Roots, Visitor, sealed, space};

/// As many noted parts of arrays as are looked through for the same ones first.
const PARTS: usize = 1024;
/// As much as following so many objects is following a part of a long array, which may be 256 pointers.
pub(super) const PART_COUNTS: u64 = 32;

/// Objects that are marked and whose pointers have not been followed yet. `CELLED`: tiny objects lie in cells.
#[doc(hidden)]
pub struct Marker<const CELLED: bool> {
    stack: Stack,
    /// Long arrays, and from which element on.
    arrays: Vec<(Object, usize)>,
    /// Parts of long arrays that were written to: these alone are followed again.
    parts: Vec<(Object, usize)>,
    /// As many parts as there may be before they are looked through for the same ones.
    parts_full_at: usize,
    waiting: Waiting<Marker<CELLED>>,
    /// Ephemerons whose keys were marked after all.
    ready: Vec<Pending<Marker<CELLED>>>,
    /// So many objects are followed before one asks whether it is enough.
    batch: usize,
    /// Bytes of what was marked.
    pub(crate) bytes: usize,
    /// Objects whose pointers were followed, some more than once, since the heap began; a part of a long array counts as
    /// [`PART_COUNTS`].
    pub(crate) followed: u64,
}

impl<const CELLED: bool> sealed::Sealed for Marker<CELLED> {}

impl<const CELLED: bool> Visitor for Marker<CELLED> {
    #[inline]
    fn edge<K: Kind>(&mut self, place: &mut Object) {
        if let Some(bytes) = space::mark::<K, CELLED>(*place) {
            self.bytes += bytes;
            if K::TRACES {
                self.stack.push(*place);
            }
            if !self.waiting.is_empty() {
                self.wake(*place, CELLED && Fixed::<K>::TINY);
            }
        }
    }

    fn fate(&self, object: Object, tiny: bool) -> Option<Object> {
        space::is_marked_as(object, CELLED && tiny).then_some(object)
    }

    fn ephemeron(&mut self, pending: Pending<Self>) {
        if !(pending.attempt)(pending.object, self) {
            let celled = CELLED && pending.tiny_key;
            self.waiting.insert(pending, celled);
        }
    }
}

impl<const CELLED: bool> Marker<CELLED> {
    /// Under stress it can be stopped behind every object.
    pub(crate) fn new(stress: bool) -> Self {
        Marker {
            stack: Stack::new(),
            arrays: Vec::new(),
            parts: Vec::new(),
            parts_full_at: PARTS,
            waiting: Waiting::new(),
            ready: Vec::new(),
            batch: if stress { 1 } else { 64 },
            bytes: 0,
            followed: 0,
        }
    }

    /// Follows pointers until none is left, or until `enough`, which is asked now and then. Says whether none is left.
    pub(crate) fn drain<C: Collector<Marker = Marker<CELLED>>>(
        &mut self,
        mut enough: impl FnMut(&Self) -> bool,
    ) -> bool {
        loop {
            for _ in 0..self.batch {
                self.followed += 1;
                if let Some(object) = self.stack.pop() {
                    self.follow::<C>(object);
                } else if let Some(ephemeron) = self.ready.pop() {
                    (ephemeron.attempt)(ephemeron.object, self);
                } else if let Some((array, from)) = self.parts.pop() {
                    self.followed += PART_COUNTS - 1;
                    // SAFETY: reached.
                    unsafe { (shape_of::<C>(array).trace_part)(array, from, self) };
                    break;
                } else if let Some((array, from)) = self.arrays.pop() {
                    self.followed += PART_COUNTS - 1;
                    // SAFETY: reached.
                    let next = unsafe { (shape_of::<C>(array).trace_part)(array, from, self) };
                    self.arrays.extend(next.map(|next| (array, next)));
                    break;
                } else {
                    self.followed -= 1;
                    return true;
                }
            }
            if enough(self) {
                return false;
            }
        }
    }

    /// A key that ephemerons may have been waiting for is alive.
    #[cold]
    #[inline(never)]
    fn wake(&mut self, key: Object, celled: bool) {
        let ready = self.waiting.take(key, celled);
        self.ready.extend(ready);
    }

    /// Follows everything, for a collection in one go.
    pub(crate) fn finish<C: Collector<Marker = Marker<CELLED>>>(
        &mut self,
        roots: &mut dyn Roots<C>,
        base: &mut Base,
    ) {
        self.drain::<C>(|_| false);
        if roots.rescue(self) {
            self.drain::<C>(|_| false);
        }
        self.settle(roots, base);
    }

    /// When all that lives is marked: weak pointers and ephemerons to the dead are cleared.
    pub(crate) fn settle<C: Collector<Marker = Marker<CELLED>>>(
        &mut self,
        roots: &mut dyn Roots<C>,
        base: &mut Base,
    ) {
        base.clear_ephemerons(self.waiting.drain());
        roots.settle(&|object, tiny| self.fate(object, tiny));
    }

    #[inline]
    fn follow<C: Collector<Marker = Marker<CELLED>>>(&mut self, object: Object) {
        if object.header().has(NOTED) {
            object.untag(NOTED);
        }
        let shape = shape_of::<C>(object);
        if shape.extent.in_parts(object) {
            self.arrays.push((object, 0));
            return;
        }
        // SAFETY: reached.
        unsafe { (shape.trace)(object, self) };
    }

    /// Follows the pointers of a marked object again.
    pub(crate) fn again(&mut self, object: Object) {
        self.stack.push(object);
    }

    /// Follows the pointers of a part of a marked array again.
    pub(crate) fn again_part(&mut self, array: Object, from: usize) {
        if self.parts.last() == Some(&(array, from)) {
            return;
        }
        if self.parts.len() >= self.parts_full_at {
            self.parts.sort_unstable_by_key(|&(array, from)| (array.address(), from));
            self.parts.dedup();
            self.parts_full_at = PARTS.max(2 * self.parts.len());
        }
        self.parts.push((array, from));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        // What keeps the tag would never be noted again.
        while let Some(object) = self.stack.pop() {
            object.untag(NOTED);
        }
        self.arrays.clear();
        self.parts.clear();
        self.waiting.drain().for_each(drop);
        self.ready.clear();
        self.bytes = 0;
    }
}
