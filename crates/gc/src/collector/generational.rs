//! Generational: the young are copied, the old are marked and swept.
//!
//! # What it is
//!
//! Objects begin in a nursery, by a pointer. When it is full, what is live in it is copied: into one of two small spaces the first
//! time, among the old the second time (or if that space is full). Most objects die before, and those cost nothing. The old lie in
//! spans and are collected by mark-sweep, when they have grown by so much.
//!
//! **The barrier** notes old objects that are opened for writing, each once between two collections, of long arrays the part: they may
//! point to young ones, so they are roots of the next young collection. What still points to the young afterwards stays noted.
//!
//! # Where it comes from
//!
//! Lieberman and Hewitt 1983, Ungar 1984; ageing in two spaces after Ungar and Jackson 1988; the remembered objects after Ungar, with
//! Sobalvarro's cards (1988) for arrays.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | an addition and a comparison |
//! | open a cell for writing | a comparison; of an old object, a look at its header |
//! | a young collection | in proportion to what survives, the roots and what was noted |
//! | a full one | in proportion to what is live |
//! | memory | the nursery, and as in mark-sweep |
//!
//! Large objects are old from the beginning. `collect` makes all old that lives. When the parent has no memory for what becomes
//! old, even after all old ones were swept, the collection panics, and the heap is of no use any more; its destructors still run.
//!
//! # Safety
//!
//! *Young*: between collections all young objects lie in the nursery and none is forwarded; an old object that points to one is
//! noted. *Reached*, as in [`marker`](super::marker), when the old are marked: then nobody is young.
#![allow(unsafe_code)]

use freestone_kit::Alloc;

use super::base::Base;
use super::kind::{Fixed, Kind, PART, ShapeOf, extent_of, lies_apart, shape_of, size_in_chunk, size_of_new};
use super::marker::Marker;
use super::object::{NOTED, Object, WORD};
use super::semi_space::copy;
use super::space::Space;
use super::{Collector, GcConfig, Pending, Roots, Visitor, attempt_all, sealed};
use crate::allocator::Global;
use crate::allocator::nursery::Nursery;

/// Copies the young, marks and sweeps the old.
pub struct Generational<A: Alloc + 'static = Global> {
    young: Young<A>,
    marker: Marker<false>,
    /// Young objects with a destructor.
    drops: Vec<Object>,
    /// A young collection is under way: objects are being moved.
    moving: bool,
}

/// The heap, as a young collection sees it.
#[doc(hidden)]
pub struct Young<A: Alloc> {
    base: Base,
    nursery: Nursery,
    old: Space<A>,
    /// Old objects that may point to young ones.
    noted: Vec<Object>,
    /// Of long arrays the part.
    noted_parts: Vec<(Object, usize)>,
    /// Copies whose pointers have not been followed yet.
    work: Vec<Object>,
    pending: Vec<Pending<Young<A>>>,
    /// A young object was seen in what is being traced.
    saw_young: bool,
    /// Whoever survives becomes old.
    promote_all: bool,
}

impl<A: Alloc> sealed::Sealed for Young<A> {}

impl<A: Alloc + 'static> Visitor for Young<A> {
    #[inline]
    fn edge<K: Kind>(&mut self, place: &mut Object) {
        let object = *place;
        if !self.nursery.holds(object) {
            return;
        }
        // Of what was noted twice, as a whole and in parts, the pointers are followed twice.
        if self.nursery.is_copy(object) {
            self.saw_young = true;
            return;
        }
        if let Some(to) = object.header().forwarded() {
            *place = to;
            self.saw_young |= self.nursery.holds(to);
            return;
        }
        *place = self.evacuate::<K>(object);
    }

    fn fate(&self, object: Object, _tiny: bool) -> Option<Object> {
        let may_move = self.nursery.holds(object) && !self.nursery.is_copy(object);
        if may_move { object.header().forwarded() } else { Some(object) }
    }

    fn ephemeron(&mut self, pending: Pending<Self>) {
        if !(pending.attempt)(pending.object, self) {
            self.pending.push(pending);
        }
        // Its key may be young, and has to be followed when it moves.
        self.saw_young |= !self.promote_all;
    }

    fn touched(&mut self, object: Object) {
        if !self.nursery.holds(object) && !self.promote_all {
            self.note(object);
        }
    }
}

impl<A: Alloc + 'static> Young<A> {
    fn evacuate<K: Kind>(&mut self, object: Object) -> Object {
        let size = size_in_chunk::<K>(object);
        let stays = !self.promote_all && !self.nursery.has_survived(object);
        let to = match if stays { self.nursery.allocate_survivor(size, K::ALIGN > WORD) } else { None } {
            Some(to) => {
                self.saw_young = true;
                copy(object, to, size);
                to
            }
            None => {
                let len = if K::STRIDE == 0 { 0 } else { object.length() };
                let Some(to) = self.old.allocate::<Generational<A>, K>(&mut self.base, len) else {
                    no_room(size)
                };
                self.base.stats.promoted_bytes += size as u64;
                copy(object, to, size);
                to
            }
        };
        self.base.stats.moved_bytes += size as u64;
        object.forward(to);
        if K::TRACES {
            self.work.push(to);
        }
        to
    }

    fn follow(&mut self) {
        while let Some(object) = self.work.pop() {
            self.follow_one(object);
        }
    }

    /// The same, and follows the values of ephemerons whose keys turn out to be alive.
    fn complete(&mut self) {
        loop {
            self.follow();
            if !attempt_all(self, |young| &mut young.pending) {
                return;
            }
        }
    }

    /// Follows the pointers of an object; notes it if it is old and points to young ones.
    fn follow_one(&mut self, object: Object) {
        self.saw_young = false;
        // SAFETY: a live object, of which nobody has a reference.
        unsafe { (shape_of::<Generational<A>>(object).trace_young)(object, self) };
        if self.saw_young && !self.nursery.holds(object) {
            self.note(object);
        }
    }

    fn follow_noted(&mut self, noted: Vec<Object>) {
        for object in noted {
            object.untag(NOTED);
            self.follow_one(object);
            self.follow();
        }
        let mut parts = core::mem::take(&mut self.noted_parts);
        parts.sort_unstable_by_key(|&(array, from)| (array.address(), from));
        parts.dedup();
        for (array, from) in parts {
            self.saw_young = false;
            // SAFETY: as above.
            unsafe { (shape_of::<Generational<A>>(array).trace_part_young)(array, from, self) };
            if self.saw_young {
                self.noted_parts.push((array, from));
            }
            self.follow();
        }
    }

    #[inline]
    fn note(&mut self, object: Object) {
        if !object.header().has(NOTED) {
            object.tag(NOTED);
            self.noted.push(object);
        }
    }
}

/// Half of the young have moved, so there is no way back: the heap says that it is broken, but the program goes on.
#[cold]
#[inline(never)]
fn no_room(size: usize) -> ! {
    panic!("no memory for an object of {size} bytes that has become old: the parent allocator refused")
}

impl<A: Alloc + 'static> Generational<A> {
    fn collect_young(&mut self, roots: &mut dyn Roots<Self>, promote_all: bool) {
        self.moving = true;
        let young = &mut self.young;
        young.promote_all = promote_all;
        young.old.parent().lift(true);
        young.nursery.flip();
        // Whoever becomes old from here on is followed as a copy, and noted for the next collection.
        let noted = core::mem::take(&mut young.noted);
        roots.trace_young(young);
        young.follow();
        young.follow_noted(noted);
        young.complete();
        if roots.rescue_young(young) {
            young.complete();
        }
        young.base.clear_ephemerons(young.pending.drain(..));
        roots.settle(&|object, tiny| young.fate(object, tiny));
        self.moving = false;
        self.drop_dead();
        let young = &mut self.young;
        young.nursery.clear(young.old.parent());
        young.old.parent().lift(false);
        young.base.stats.young_collections += 1;
        young.base.stats.collections += 1;
    }

    /// Runs the destructors of what was left behind.
    fn drop_dead(&mut self) {
        let mut drops = core::mem::take(&mut self.drops);
        let young = &mut self.young;
        drops.retain_mut(|object| match object.header().forwarded() {
            Some(to) => {
                *object = to;
                // The old ones' spans know.
                young.nursery.holds(to)
            }
            None => {
                young.base.drop_object::<Self>(*object);
                false
            }
        });
        self.drops = drops;
    }

    /// Marks and sweeps the old. Nobody is young.
    fn collect_old(&mut self, roots: &mut dyn Roots<Self>) {
        let Young { base, old, .. } = &mut self.young;
        old.sweep::<Self>(base, usize::MAX);
        old.retire();
        self.marker.clear();
        roots.trace(&mut self.marker);
        self.marker.finish(roots, base);
        old.begin_sweep();
        base.stats.collections += 1;
        base.pace(self.marker.bytes, old.taken_bytes());
    }

    fn old_is_due(&self) -> bool {
        self.young.old.taken_bytes() >= self.young.base.due_at
    }
}

impl<A: Alloc + 'static> sealed::Sealed for Generational<A> {}

// SAFETY: a young object that can be reached is reached from the roots, or by way of an old one that is noted, and copied, and each
// place updated, before the nursery is used again; all old ones that can be reached are marked before anything is swept.
unsafe impl<A: Alloc + 'static> Collector for Generational<A> {
    type Parent = A;
    type Marker = Marker<false>;
    type Young = Young<A>;
    const NAME: &'static str = "generational";
    const MOVES: bool = true;

    fn build(config: GcConfig, parent: A) -> Self {
        Generational {
            young: Young {
                base: Base::new(config),
                nursery: Nursery::new(config.nursery),
                old: Space::new(parent, config.hard_limit),
                noted: Vec::new(),
                noted_parts: Vec::new(),
                work: Vec::new(),
                pending: Vec::new(),
                saw_young: false,
                promote_all: false,
            },
            marker: Marker::new(config.stress),
            drops: Vec::new(),
            moving: false,
        }
    }

    fn base(&self) -> &Base {
        &self.young.base
    }

    fn base_mut(&mut self) -> &mut Base {
        &mut self.young.base
    }

    #[inline]
    fn allocate<K: Kind>(&mut self, len: usize) -> Option<Object> {
        let (size, apart) = if K::STRIDE == 0 {
            (Fixed::<K>::IN_CHUNK, Fixed::<K>::LARGE)
        } else {
            let size = size_of_new::<K>(len);
            (size, lies_apart(size, K::ALIGN))
        };
        if apart {
            let object = self.young.old.allocate::<Self, K>(&mut self.young.base, len)?;
            // What it is filled with may be young.
            if K::TRACES {
                self.young.note(object);
            }
            return Some(object);
        }
        let object = self.young.nursery.allocate(self.young.old.parent(), size, K::ALIGN > WORD)?;
        object.set_header(core::ptr::from_ref(ShapeOf::<Self, K>::get()).cast());
        if K::DROPS {
            self.drops.push(object);
        }
        Some(object)
    }

    fn allocated_bytes(&self) -> u64 {
        self.young.nursery.taken_bytes() + self.young.old.large_taken_bytes()
    }

    fn held_bytes(&self) -> usize {
        self.young.old.held_bytes()
    }

    #[inline]
    fn barrier(&mut self, object: Object) {
        if !self.young.nursery.holds(object) {
            self.young.note(object);
        }
    }

    #[inline]
    fn barrier_element(&mut self, array: Object, index: usize) {
        if self.young.nursery.holds(array) {
            return;
        }
        if !extent_of(array).in_parts(array) {
            return self.young.note(array);
        }
        let part = (array, index - index % PART);
        if self.young.noted_parts.last() != Some(&part) {
            self.young.noted_parts.push(part);
        }
    }

    #[inline]
    fn is_due(&self) -> bool {
        self.young.nursery.is_full() || self.old_is_due() || self.young.base.config.stress
    }

    unsafe fn step(&mut self, roots: &mut dyn Roots<Self>) {
        let full = self.old_is_due();
        self.collect_young(roots, full);
        if full {
            self.collect_old(roots);
        }
    }

    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>) {
        self.collect_young(roots, true);
        self.collect_old(roots);
        let Young { base, old, .. } = &mut self.young;
        old.sweep::<Self>(base, usize::MAX);
    }

    fn abandon(&mut self) -> bool {
        if self.moving {
            return false;
        }
        self.marker.clear();
        self.young.old.clear_marks();
        true
    }

    unsafe fn destroy(&mut self) {
        for object in core::mem::take(&mut self.drops) {
            // After a collection that a panic has ended: what was promoted is dropped with the old.
            match object.header().forwarded() {
                Some(to) if !self.young.nursery.holds(to) => {}
                Some(to) => self.young.base.drop_object::<Self>(to),
                None => self.young.base.drop_object::<Self>(object),
            }
        }
        let Young { base, nursery, old, .. } = &mut self.young;
        old.drop_all::<Self>(base);
        nursery.free(old.parent());
    }
}
