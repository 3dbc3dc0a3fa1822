//! Semi-space copying: what is live is copied, what is left behind is free.
//!
//! # What it is
//!
//! Objects are allocated by a pointer that moves through chunks. A collection copies what the roots point to into fresh chunks, leaves
//! the new address in the old header, and then goes through the copies from the first to the last, copying what they point to,
//! until it has caught up with itself. The old chunks are then empty.
//!
//! # Where it comes from
//!
//! Cheney 1970; two spaces Fenichel and Yochelson 1969.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | an addition and a comparison |
//! | collect | in proportion to what is live; the dead cost nothing but their destructors |
//! | memory | a header word an object; during a collection twice what is live |
//!
//! Large objects lie apart and do not move.
//!
//! # Safety
//!
//! *From*: during a collection each object that is reached lies in a chunk of the old space, until it is forwarded; places that were
//! visited point into the new one, and no place is visited twice.
#![allow(unsafe_code)]

use core::ptr::null_mut;

use freestone_kit::Alloc;

use super::base::Base;
use super::kind::{
    Fixed, Kind, ShapeOf, extent_of, is_large, lies_apart, shape_of, size_in_chunk, size_of_new,
};
use super::object::{Object, WORD};
use super::{Collector, GcConfig, Pending, Roots, Visitor, attempt_all, sealed};
use crate::allocator::Global;
use crate::allocator::chunk::{CHUNK, Chunk, Chunks};
use crate::allocator::large::{self, LargeObjects};
use crate::allocator::metered::Metered;

/// Copies what is live into fresh chunks.
pub struct SemiSpace<A: Alloc + 'static = Global> {
    base: Base,
    copier: Copier<A>,
    /// Objects with a destructor.
    drops: Vec<Object>,
    large: LargeObjects,
    large_taken: u64,
    /// Bytes of all chunks that were filled, less what was live at each collection.
    taken: u64,
    /// The old space, while a collection is under way.
    from: Vec<Chunk>,
}

/// The space in which objects are allocated, which during a collection is the new one.
#[doc(hidden)]
pub struct Copier<A: Alloc> {
    parent: Metered<A>,
    to: Chunks,
    /// Large objects that are marked and whose pointers have not been followed yet.
    large: Vec<Object>,
    large_bytes: usize,
    pending: Vec<Pending<Copier<A>>>,
    /// How far the copies have been gone through: the chunk, and where in it.
    scanned: (usize, *mut u8),
}

impl<A: Alloc> sealed::Sealed for Copier<A> {}

impl<A: Alloc> Visitor for Copier<A> {
    #[inline]
    fn edge<K: Kind>(&mut self, place: &mut Object) {
        let object = *place;
        if is_large::<K>(object) {
            if large::mark(object) {
                self.large_bytes += size_in_chunk::<K>(object);
                if K::TRACES {
                    self.large.push(object);
                }
            }
            return;
        }
        let header = object.header();
        if let Some(to) = header.forwarded() {
            *place = to;
            return;
        }
        let size = size_in_chunk::<K>(object);
        let to = self.to.allocate(&self.parent, size, K::ALIGN > WORD);
        // As many chunks as there can be need of were reserved before.
        let to = to.expect("the space was reserved");
        copy(object, to, size);
        object.forward(to);
        *place = to;
    }

    fn fate(&self, object: Object, _tiny: bool) -> Option<Object> {
        // Whoever is asked about lies in the old space, or apart.
        if let Some(to) = object.header().forwarded() {
            return Some(to);
        }
        (extent_of(object).is_large(object) && large::is_marked(object)).then_some(object)
    }

    fn ephemeron(&mut self, pending: Pending<Self>) {
        if !(pending.attempt)(pending.object, self) {
            self.pending.push(pending);
        }
    }
}

/// Copies an object with its header.
#[inline]
pub(super) fn copy(from: Object, to: Object, size: usize) {
    // SAFETY: the header is the word before the payload.
    let source = unsafe { from.payload().sub(WORD) };
    // SAFETY: as above.
    let destination = unsafe { to.payload().sub(WORD) };
    // SAFETY: both are that long and apart: the one is new.
    unsafe { destination.copy_from_nonoverlapping(source, size) };
}

impl<A: Alloc + 'static> SemiSpace<A> {
    /// Goes through the copies, from where it left off, and copies what they point to.
    fn scan(&mut self) {
        loop {
            self.scan_chunks();
            if let Some(object) = self.copier.large.pop() {
                // SAFETY: from: a live object, which nobody else looks at.
                unsafe { (shape_of::<Self>(object).trace)(object, &mut self.copier) };
            } else if !attempt_all(&mut self.copier, |copier| &mut copier.pending) {
                return;
            }
        }
    }

    fn scan_chunks(&mut self) {
        let (mut number, mut at) = self.copier.scanned;
        while number < self.copier.to.count() {
            if at.is_null() {
                at = self.copier.to.start(number);
            }
            while let Some(object) = self.copier.to.object_at(number, at) {
                let shape = shape_of::<Self>(object);
                at = object.payload().as_ptr().wrapping_add(shape.extent.size_in_chunk(object) - WORD);
                if shape.traces {
                    // SAFETY: from: a copy, which nobody else looks at.
                    unsafe { (shape.trace)(object, &mut self.copier) };
                }
            }
            if number + 1 == self.copier.to.count() {
                break;
            }
            (number, at) = (number + 1, null_mut());
        }
        self.copier.scanned = (number, at);
    }

    /// Runs the destructors of what was left behind.
    fn drop_dead(&mut self) {
        let mut drops = core::mem::take(&mut self.drops);
        drops.retain_mut(|object| match object.header().forwarded() {
            Some(to) => {
                *object = to;
                true
            }
            None => {
                self.base.drop_object::<Self>(*object);
                false
            }
        });
        self.drops = drops;
    }
}

impl<A: Alloc + 'static> sealed::Sealed for SemiSpace<A> {}

// SAFETY: all that can be reached is copied, and each place updated, before the old space is used again.
unsafe impl<A: Alloc + 'static> Collector for SemiSpace<A> {
    type Parent = A;
    type Marker = Copier<A>;
    type Young = Copier<A>;
    const NAME: &'static str = "semi-space";
    const MOVES: bool = true;

    fn build(config: GcConfig, parent: A) -> Self {
        SemiSpace {
            base: Base::new(config),
            copier: Copier {
                parent: Metered::new(parent, config.hard_limit),
                to: Chunks::new(),
                large: Vec::new(),
                large_bytes: 0,
                pending: Vec::new(),
                scanned: (0, null_mut()),
            },
            drops: Vec::new(),
            large: LargeObjects::new(),
            large_taken: 0,
            taken: 0,
            from: Vec::new(),
        }
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    #[inline]
    fn allocate<K: Kind>(&mut self, len: usize) -> Option<Object> {
        let (size, apart) = if K::STRIDE == 0 {
            (Fixed::<K>::IN_CHUNK, Fixed::<K>::LARGE)
        } else {
            let size = size_of_new::<K>(len);
            (size, lies_apart(size, K::ALIGN))
        };
        let shape = ShapeOf::<Self, K>::get();
        let object = if apart {
            self.large_taken += size as u64;
            self.large.allocate(&self.copier.parent, size - WORD)?
        } else {
            self.copier.to.allocate(&self.copier.parent, size, K::ALIGN > WORD)?
        };
        object.set_header(core::ptr::from_ref(shape).cast());
        if K::DROPS && !apart {
            self.drops.push(object);
        }
        Some(object)
    }

    fn allocated_bytes(&self) -> u64 {
        self.taken + self.copier.to.used_bytes() as u64 + self.large_taken
    }

    fn held_bytes(&self) -> usize {
        self.copier.parent.held_bytes()
    }

    #[inline]
    fn barrier(&mut self, _object: Object) {}

    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>) {
        // What lies in n chunks fits n chunks again if none is left with a gap longer than the longest object.
        let count = self.copier.to.count();
        self.copier.parent.lift(true);
        if !self.copier.to.reserve(&self.copier.parent, count + count / 16 + 1) {
            self.base.pace(self.copier.to.used_bytes() + self.large.bytes(), self.allocated_bytes());
            self.copier.parent.lift(false);
            return;
        }
        let allocated = self.allocated_bytes();
        self.copier.large_bytes = 0;
        self.copier.scanned = (0, null_mut());
        self.from = self.copier.to.take();
        roots.trace(&mut self.copier);
        self.scan();
        if roots.rescue(&mut self.copier) {
            self.scan();
        }
        self.base.clear_ephemerons(self.copier.pending.drain(..));
        roots.settle(&|object, tiny| self.copier.fate(object, tiny));
        self.drop_dead();
        self.large.begin_sweep();
        self.large.sweep(&self.copier.parent, usize::MAX, |object| self.base.drop_object::<Self>(object));
        self.copier.to.recycle(core::mem::take(&mut self.from));
        let small = self.copier.to.used_bytes();
        self.base.stats.moved_bytes += small as u64;
        self.taken = allocated - self.large_taken - small as u64;
        self.base.pace(small + self.copier.large_bytes, allocated);
        self.base.stats.collections += 1;
        // What is live now and what may come: the next collection needs that much.
        let growth = self.base.growth(small + self.copier.large_bytes) / CHUNK + 1;
        self.copier.to.trim(&self.copier.parent, growth + self.copier.to.count());
        self.copier.parent.lift(false);
        if self.copier.parent.is_beyond() {
            self.copier.to.trim(&self.copier.parent, 0);
        }
    }

    fn abandon(&mut self) -> bool {
        // Some places point to the old space, some to the new.
        false
    }

    unsafe fn destroy(&mut self) {
        let drops = core::mem::take(&mut self.drops);
        for object in drops {
            let object = object.header().forwarded().unwrap_or(object);
            self.base.drop_object::<Self>(object);
        }
        self.large.clear_marks();
        self.large.begin_sweep();
        self.large.sweep(&self.copier.parent, usize::MAX, |object| self.base.drop_object::<Self>(object));
        self.copier.to.recycle(core::mem::take(&mut self.from));
        self.copier.to.free(&self.copier.parent);
    }
}
