//! Mark-sweep over spans: objects stay where they are.
//!
//! # What it is
//!
//! From the roots, every object that can be reached is marked, by a bit in its span's record, and its pointers are followed. Then
//! every span is due to be swept, and is when allocation comes to it: what is allocated and not marked is free.
//!
//! # Where it comes from
//!
//! McCarthy 1960; bits aside, size classes and lazy sweeping after Hughes 1982, Zorn 1989 and the collector of Boehm and Weiser
//! (1988); runs of free blocks as in Go's and in Immix (Blackburn and McKinley 2008).
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | an addition and a comparison; at the end of a run a search in the bits, at the end of a span a sweep |
//! | collect | in proportion to what is live |
//! | memory | a header word an object, 1/64 at most for the bits, up to 12.5 % for rounding |
//!
//! # Safety
//!
//! *Reached*, as in [`marker`](super::marker).
#![allow(unsafe_code)]

use freestone_kit::Alloc;

use super::base::Base;
use super::kind::Kind;
use super::marker::Marker;
use super::object::Object;
use super::space::Space;
use super::{Collector, GcConfig, Roots, sealed};
use crate::allocator::Global;

/// Marks from the roots, sweeps as it allocates. Objects do not move.
pub struct MarkSweep<A: Alloc + 'static = Global> {
    base: Base,
    space: Space<A>,
    marker: Marker<true>,
}

impl<A: Alloc + 'static> sealed::Sealed for MarkSweep<A> {}

// SAFETY: all that can be reached is marked before anything is swept; nothing moves.
unsafe impl<A: Alloc + 'static> Collector for MarkSweep<A> {
    type Parent = A;
    type Marker = Marker<true>;
    type Young = Marker<true>;
    const NAME: &'static str = "mark-sweep";
    const MOVES: bool = false;

    fn build(config: GcConfig, parent: A) -> Self {
        MarkSweep {
            base: Base::new(config),
            space: Space::new(parent, config.hard_limit),
            marker: Marker::new(config.stress),
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
        self.space.allocate_in_place::<Self, K>(&mut self.base, len)
    }

    fn allocated_bytes(&self) -> u64 {
        self.space.taken_bytes()
    }

    fn held_bytes(&self) -> usize {
        self.space.held_bytes()
    }

    #[inline]
    fn barrier(&mut self, _object: Object) {}

    unsafe fn step(&mut self, roots: &mut dyn Roots<Self>) {
        self.space.sweep::<Self>(&mut self.base, usize::MAX);
        self.space.retire();
        self.marker.clear();
        roots.trace(&mut self.marker);
        self.marker.finish(roots, &mut self.base);
        self.space.begin_sweep();
        self.base.stats.collections += 1;
        self.base.pace(self.marker.bytes, self.space.taken_bytes());
    }

    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>) {
        // SAFETY: the caller's promise.
        unsafe { self.step(roots) };
        self.space.sweep::<Self>(&mut self.base, usize::MAX);
    }

    fn abandon(&mut self) -> bool {
        self.marker.clear();
        self.space.clear_marks();
        true
    }

    unsafe fn destroy(&mut self) {
        self.space.drop_all::<Self>(&mut self.base);
    }
}
