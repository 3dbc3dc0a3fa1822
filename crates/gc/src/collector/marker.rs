//! Marking: what was reached, and what its pointers are still to be followed of.
//!
//! # Safety
//!
//! *Reached*: the marker is shown live objects only, since it begins at the roots and what they point to is live; while it traces,
//! nobody has a reference into the heap.
#![allow(unsafe_code)]

use super::kind::{Kind, shape_of};
use super::object::{NOTED, Object};
use super::{Collector, Visitor, sealed, space};

/// Objects that are marked and whose pointers have not been followed yet.
#[doc(hidden)]
#[derive(Default)]
pub struct Marker {
    stack: Vec<Object>,
    /// Long arrays, and from which element on.
    arrays: Vec<(Object, usize)>,
    /// Bytes of what was marked.
    pub(crate) bytes: usize,
}

impl sealed::Sealed for Marker {}

impl Visitor for Marker {
    #[inline]
    fn edge<K: Kind>(&mut self, place: &mut Object) {
        if let Some(bytes) = space::mark::<K>(*place) {
            self.bytes += bytes;
            if K::TRACES {
                self.stack.push(*place);
            }
        }
    }
}

impl Marker {
    /// Follows pointers until none is left, or as many bytes have been marked as `enough` says, which is asked now and then.
    /// Says whether none is left.
    pub(crate) fn drain<C: Collector<Marker = Marker>>(
        &mut self,
        mut enough: impl FnMut(usize) -> bool,
    ) -> bool {
        loop {
            for _ in 0..64 {
                if let Some(object) = self.stack.pop() {
                    self.follow::<C>(object);
                } else if let Some((array, from)) = self.arrays.pop() {
                    // SAFETY: reached.
                    let next = unsafe { (shape_of::<C>(array).trace_part)(array, from, self) };
                    self.arrays.extend(next.map(|next| (array, next)));
                    break;
                } else {
                    return true;
                }
            }
            if enough(self.bytes) {
                return false;
            }
        }
    }

    #[inline]
    fn follow<C: Collector<Marker = Marker>>(&mut self, object: Object) {
        if object.header().has(NOTED) {
            object.untag(NOTED);
        }
        let shape = shape_of::<C>(object);
        if shape.in_parts(object) {
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
        if self.arrays.last() != Some(&(array, from)) {
            self.arrays.push((array, from));
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        // What keeps the tag would never be noted again.
        self.stack.drain(..).for_each(|object| object.untag(NOTED));
        self.arrays.clear();
        self.bytes = 0;
    }
}
