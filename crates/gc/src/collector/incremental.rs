//! Incremental mark-sweep: the work of a collection in slices between stretches of the program.
//!
//! # What it is
//!
//! Mark-sweep whose marking stops when its time is up and goes on at the end of the next `mutate`. An object is *white* (not
//! marked), *grey* (marked, its pointers still to be followed) or *black* (done). What must hold at the end is that no black object
//! points to a white one.
//!
//! **The barrier** is Steele's: before a marked object is written to, it turns grey again (of a long array, the part that is written
//! to). It needs to know the object, not the old or the new value, and the handle by which a cell is opened is just that. New
//! objects are white. That is enough: a black object cannot come to point to a white one without being opened, whatever the white
//! one's origin; and the roots, which are written without a barrier, count as grey for as long as marking lasts: they are traced once
//! more at the end of it. When that turns up nothing new, all that is white is dead.
//!
//! **The pacer**: a slice marks so many bytes for each byte that was allocated, as many as are needed to be done when half of the
//! growth that is allowed is used up; but it ends when its time is up. Should the program be the faster one nevertheless, so that
//! twice the growth is used up, marking is finished in one go.
//!
//! # Where it comes from
//!
//! Steele 1975, Dijkstra and others 1978; the names of the barriers after Pirinen 1998. The pacer is Go's, simplified.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | as in mark-sweep; it sweeps 16 spans at most |
//! | open a cell for writing | a test; while marking, a look at the mark |
//! | a slice | [`pause_micros`](crate::GcConfig::pause_micros), and what cannot be cut: the roots, one object (long arrays are cut) |
//!
//! # Safety
//!
//! *Reached*, as in [`marker`](super::marker). What is on the marker's stack between two slices is marked, so it is not freed: nothing is
//! swept while marking.
#![allow(unsafe_code)]

use core::time::Duration;
use std::time::Instant;

use freestone_kit::Alloc;

use super::base::Base;
use super::kind::{Kind, PART, extent_of};
use super::marker::Marker;
use super::object::{NOTED, Object};
use super::space::{self, Space};
use super::{Collector, GcConfig, Roots, sealed};
use crate::allocator::Global;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Marking,
    Sweeping,
}

/// So many bytes are allocated between two slices, at least.
const BETWEEN: u64 = 32 << 10;

/// Marks in slices, sweeps as it allocates. Objects do not move.
pub struct Incremental<A: Alloc + 'static = Global> {
    base: Base,
    space: Space<A>,
    marker: Marker<true>,
    phase: Phase,
    /// Allocated bytes at the end of the last slice.
    sliced_at: u64,
    /// Allocated bytes when marking began.
    began_at: u64,
    /// Allocated bytes when marking ended last.
    ended_at: u64,
    /// What may be live, as it looked when marking began: what was, and all that was allocated since.
    estimate: usize,
}

impl<A: Alloc + 'static> Incremental<A> {
    fn begin(&mut self, roots: &mut dyn Roots<Self>) {
        self.space.retire();
        self.marker.clear();
        roots.trace(&mut self.marker);
        self.phase = Phase::Marking;
        self.began_at = self.space.taken_bytes();
        self.estimate = self.base.stats.live_bytes + self.began_at.saturating_sub(self.ended_at) as usize;
    }

    /// Marks until `enough`; says whether marking is finished.
    fn mark(&mut self, roots: &mut dyn Roots<Self>, mut enough: impl FnMut(usize) -> bool) -> bool {
        if !self.marker.drain::<Self>(&mut enough) {
            return false;
        }
        // The roots are grey as long as marking lasts. What they turn up may be followed now, but then the program cannot have run.
        roots.trace(&mut self.marker);
        if !self.marker.complete::<Self>(&mut enough) {
            return false;
        }
        if roots.rescue(&mut self.marker) {
            // Rare, and what a guardian watches is little as a rule: followed in one go.
            self.marker.complete::<Self>(&mut |_| false);
        }
        self.marker.settle(roots, &mut self.base);
        true
    }

    fn finish(&mut self) {
        self.space.begin_sweep();
        self.phase = Phase::Sweeping;
        self.base.stats.collections += 1;
        self.ended_at = self.space.taken_bytes();
        self.base.pace(self.marker.bytes, self.space.taken_bytes());
    }

    /// How many bytes are to be marked for each that is allocated.
    fn ratio(&self) -> usize {
        1 + 2 * self.estimate / self.base.growth(self.estimate)
    }

    fn slice(&mut self, roots: &mut dyn Roots<Self>) {
        let allocated = self.space.taken_bytes();
        let since = allocated.saturating_sub(self.sliced_at) as usize;
        self.sliced_at = allocated;
        let until = Instant::now() + Duration::from_micros(u64::from(self.base.config.pause_micros));
        match self.phase {
            Phase::Idle => self.begin(roots),
            Phase::Marking => {
                let work =
                    if self.base.config.stress { 1 } else { since.max(BETWEEN as usize) * self.ratio() };
                let wanted = self.marker.bytes + work;
                let growth = self.base.growth(self.estimate) as u64;
                let late = allocated.saturating_sub(self.began_at) > 2 * growth;
                let done = self.mark(roots, |bytes| !late && (bytes >= wanted || Instant::now() >= until));
                if done {
                    self.finish();
                }
            }
            Phase::Sweeping => {
                // A span is 64 KiB, and twice as many are swept as are allocated.
                while Instant::now() < until {
                    if self.space.sweep::<Self>(&mut self.base, 8) {
                        self.phase = Phase::Idle;
                        break;
                    }
                }
            }
        }
    }
}

impl<A: Alloc + 'static> sealed::Sealed for Incremental<A> {}

// SAFETY: see the module: all that can be reached is marked before anything is swept; nothing moves.
unsafe impl<A: Alloc + 'static> Collector for Incremental<A> {
    type Parent = A;
    type Marker = Marker<true>;
    type Young = Marker<true>;
    const NAME: &'static str = "incremental";
    const MOVES: bool = false;

    fn build(config: GcConfig, parent: A) -> Self {
        Incremental {
            base: Base::new(config),
            space: Space::new(parent, config.hard_limit),
            marker: Marker::new(config.stress),
            phase: Phase::Idle,
            sliced_at: 0,
            began_at: 0,
            ended_at: 0,
            estimate: 0,
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
    fn barrier(&mut self, object: Object) {
        if self.phase == Phase::Marking && !object.header().has(NOTED) && space::is_marked(object) {
            object.tag(NOTED);
            self.marker.again(object);
        }
    }

    #[inline]
    fn barrier_element(&mut self, array: Object, index: usize) {
        if self.phase != Phase::Marking {
            return;
        }
        if extent_of(array).in_parts(array) {
            if space::is_marked(array) {
                self.marker.again_part(array, index - index % PART);
            }
        } else {
            self.barrier(array);
        }
    }

    fn is_due(&self) -> bool {
        let allocated = self.space.taken_bytes();
        let due = match self.phase {
            Phase::Idle => allocated >= self.base.due_at,
            _ => allocated >= self.sliced_at + BETWEEN,
        };
        due || self.base.config.stress
    }

    unsafe fn step(&mut self, roots: &mut dyn Roots<Self>) {
        self.slice(roots);
    }

    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>) {
        // What is being marked may be dead by now: that cycle is ended first.
        if self.phase == Phase::Marking {
            self.mark(roots, |_| false);
            self.finish();
        }
        self.space.sweep::<Self>(&mut self.base, usize::MAX);
        self.begin(roots);
        self.mark(roots, |_| false);
        self.finish();
        self.space.sweep::<Self>(&mut self.base, usize::MAX);
        self.phase = Phase::Idle;
    }

    fn abandon(&mut self) -> bool {
        if self.phase == Phase::Marking {
            self.marker.clear();
            self.space.clear_marks();
            self.phase = Phase::Idle;
        }
        true
    }

    unsafe fn destroy(&mut self) {
        self.space.drop_all::<Self>(&mut self.base);
    }
}
