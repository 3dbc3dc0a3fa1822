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
//! **The pacer**: for each byte that is allocated so many are to be marked that marking is done when half of the growth that is
//! allowed is used up. A slice does what is missing of that, but ends when its time is up; what it could not do is left to the
//! next. Should the program be the faster one nevertheless, so that all of the growth is used up, slices are not ended by the clock any
//! more but do twice as much for each byte. So a slice is never longer than the time that is allowed *and* in proportion to what the
//! program has allocated and opened since the last; and before the growth is used up twice, marking is done.
//!
//! Sweeping goes by slices, too: 32 spans and large objects for each 32 KiB that were allocated.
//!
//! # Where it comes from
//!
//! Steele 1975, Dijkstra and others 1978; the names of the barriers after Pirinen 1998. The pacer is Go's, simplified.
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | as in mark-sweep; it sweeps 16 spans at most (all, before the parent's refusal is believed) |
//! | open a cell for writing | a test; while marking, a look at the mark |
//! | a slice | [`pause_micros`](crate::GcConfig::pause_micros), and what cannot be cut: one object (long arrays are cut) |
//! | the first and the last of marking | besides, the roots |
//! | the last of marking | besides, a look at each weak pointer, at each ephemeron whose key has died, and at what guardians watch |
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
use super::marker::{Marker, PART_COUNTS};
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
const BETWEEN: usize = 32 << 10;
/// So many spans, and as many large objects, are swept for each [`BETWEEN`] bytes that were allocated.
const SWEPT: usize = 32;
/// No object that is followed is shorter.
const SHORTEST: usize = 16;

/// When a slice of marking has done enough.
struct Enough {
    bytes: usize,
    followed: u64,
    until: Option<Instant>,
}

impl Enough {
    const NEVER: Enough = Enough { bytes: usize::MAX, followed: u64::MAX, until: None };

    /// When `bytes` more have been marked, or as many objects followed as can be that long together, and `again` besides.
    fn after(marker: &Marker<true>, bytes: usize, again: u64) -> Enough {
        let followed = (bytes / SHORTEST) as u64 + again + 1;
        Enough {
            bytes: marker.bytes.saturating_add(bytes),
            followed: marker.followed.saturating_add(followed),
            until: None,
        }
    }

    fn is_it(&self, marker: &Marker<true>) -> bool {
        marker.bytes >= self.bytes
            || marker.followed >= self.followed
            || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

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
    /// What the barrier has turned grey again since the last slice, as [`Marker::followed`] counts.
    again: u64,
    /// Spans that were looked at to be swept, since the heap began.
    swept: u64,
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

    /// Marks until it is `enough`; says whether marking is finished. `ending`: the same for what turns up at the end.
    fn mark(
        &mut self,
        roots: &mut dyn Roots<Self>,
        enough: &Enough,
        ending: impl FnOnce(&Marker<true>) -> Enough,
    ) -> bool {
        if !self.marker.drain::<Self>(|marker| enough.is_it(marker)) {
            return false;
        }
        // The roots are grey as long as marking lasts. What they turn up may be followed now, but then the program cannot have run.
        roots.trace(&mut self.marker);
        let enough = ending(&self.marker);
        let enough = |marker: &Marker<true>| enough.is_it(marker);
        if !self.marker.drain::<Self>(enough) {
            return false;
        }
        // Who is rescued here is in its guardian's queue, and grey. If what hangs on it is too much for now, the program may run.
        if roots.rescue(&mut self.marker) && !self.marker.drain::<Self>(enough) {
            return false;
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
        let before = self.marker.followed + self.swept;
        match self.phase {
            Phase::Idle => self.begin(roots),
            Phase::Marking => self.mark_slice(roots, since.max(BETWEEN)),
            Phase::Sweeping => self.sweep_slice(since.max(BETWEEN)),
        }
        let work = self.marker.followed + self.swept - before;
        let longest = &mut self.base.stats.longest_slice;
        *longest = work.max(*longest);
    }

    fn pause(&self) -> Duration {
        Duration::from_micros(u64::from(self.base.config.pause_micros))
    }

    fn mark_slice(&mut self, roots: &mut dyn Roots<Self>, since: usize) {
        let pause = self.pause();
        let until = Instant::now() + pause;
        let growth = self.base.growth(self.estimate);
        let gone = self.sliced_at.saturating_sub(self.began_at) as usize;
        let late = gone > growth;
        let quota = if self.base.config.stress && !late { 1 } else { since.saturating_mul(self.ratio()) };
        let missing = if self.base.config.stress || late {
            quota.saturating_mul(2)
        } else {
            gone.saturating_mul(self.ratio()).saturating_sub(self.marker.bytes)
        };
        let again = core::mem::take(&mut self.again);
        let mut enough = Enough::after(&self.marker, missing, 2 * again);
        enough.until = (!late).then_some(until);
        let done = self.mark(roots, &enough, |marker| {
            let mut enough = Enough::after(marker, quota, again);
            // The roots may have taken all the time that there was, and would do so again.
            enough.until = (!late).then(|| until.max(Instant::now() + pause / 4));
            enough
        });
        if done {
            self.finish();
        }
    }

    fn sweep_slice(&mut self, since: usize) {
        let until = Instant::now() + self.pause();
        let quota = if self.base.config.stress { 1 } else { SWEPT * (since / BETWEEN) };
        for _ in 0..quota {
            self.swept += 1;
            if self.space.sweep::<Self>(&mut self.base, 1) {
                self.phase = Phase::Idle;
                return;
            }
            if Instant::now() >= until {
                return;
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
            again: 0,
            swept: 0,
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
            self.again += 1;
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
                self.again += PART_COUNTS;
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
            _ => allocated >= self.sliced_at + BETWEEN as u64,
        };
        due || self.base.config.stress
    }

    unsafe fn step(&mut self, roots: &mut dyn Roots<Self>) {
        self.slice(roots);
    }

    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>) {
        // What is being marked may be dead by now: that cycle is ended first.
        if self.phase == Phase::Marking {
            self.mark(roots, &Enough::NEVER, |_| Enough::NEVER);
            self.finish();
        }
        self.space.sweep::<Self>(&mut self.base, usize::MAX);
        self.begin(roots);
        self.mark(roots, &Enough::NEVER, |_| Enough::NEVER);
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
