//! What decides which objects are dead.
//!
//! # Safety
//!
//! The contract of [`Collector`], which each collector's module argues for.
#![allow(unsafe_code)]

pub(crate) mod base;
mod config;
mod generational;
mod incremental;
#[doc(hidden)]
pub mod kind;
mod mark_compact;
mod mark_sweep;
pub(crate) mod marker;
#[doc(hidden)]
pub mod object;
mod semi_space;
pub(crate) mod space;
mod stack;
mod stats;
pub(crate) mod survey;
mod visitor;
mod waiting;

use freestone_kit::Alloc;

pub use config::GcConfig;
pub use generational::Generational;
pub use incremental::Incremental;
use kind::Kind;
pub use mark_compact::MarkCompact;
pub use mark_sweep::MarkSweep;
use object::Object;
pub use semi_space::SemiSpace;
pub use stats::{GcStats, Pauses};
pub use survey::{KindTotal, Survey, Surveyed};
pub(crate) use visitor::attempt_all;
pub(crate) use visitor::sealed;
pub use visitor::{Pending, Visitor};

/// Where an object is now, if it is alive; whether its kind is tiny.
#[doc(hidden)]
pub type Fate<'f> = &'f dyn Fn(Object, bool) -> Option<Object>;

/// The pointers into the heap from outside of it.
#[doc(hidden)]
pub trait Roots<C: Collector> {
    fn trace(&mut self, marker: &mut C::Marker);
    fn trace_young(&mut self, young: &mut C::Young);
    /// When all that can be reached is marked: lets what guardians watch live once more. Says whether that was any.
    fn rescue(&mut self, marker: &mut C::Marker) -> bool;
    fn rescue_young(&mut self, young: &mut C::Young) -> bool;
    /// Afterwards: weak pointers to the dead are cleared, and addresses follow who has moved.
    fn settle(&mut self, fate: Fate<'_>);
    /// The same when everybody is alive, and known where they will be, but still where they were.
    fn settle_before_move(&mut self, fate: Fate<'_>);
}

/// A collector, with the memory that it looks after. The type is the choice: [`Heap<R, C>`](crate::Heap).
///
/// Implemented in this crate only. A program is generic over it to run on each of them:
///
/// ```
/// use freestone_gc::{Collector, Gc, Mutation};
///
/// fn pair<'gc, C: Collector>(mc: &Mutation<'gc, C>, a: u32, b: u32) -> Gc<'gc, (u32, u32)> {
///     mc.alloc((a, b))
/// }
/// ```
///
/// # Safety
///
/// For the implementer: an object that can be reached from the roots is neither freed nor changed, and when it is moved, all pointers
/// to it are; `allocate` returns memory that is nobody's.
pub unsafe trait Collector: sealed::Sealed + Sized + 'static {
    /// Where its memory comes from.
    type Parent: Alloc;
    #[doc(hidden)]
    type Marker: Visitor;
    #[doc(hidden)]
    type Young: Visitor;

    /// Its name, for tables.
    const NAME: &'static str;

    /// Whether objects move.
    const MOVES: bool;

    #[doc(hidden)]
    fn build(config: GcConfig, parent: Self::Parent) -> Self;

    #[doc(hidden)]
    fn base(&self) -> &base::Base;

    #[doc(hidden)]
    fn base_mut(&mut self) -> &mut base::Base;

    /// An object whose payload the caller writes at once; of an array, with so many elements.
    #[doc(hidden)]
    fn allocate<K: Kind>(&mut self, len: usize) -> Option<Object>;

    /// Bytes allocated since the heap began.
    #[doc(hidden)]
    fn allocated_bytes(&self) -> u64;

    /// Bytes held from the parent.
    #[doc(hidden)]
    fn held_bytes(&self) -> usize;

    /// Called before a live object is written to.
    #[doc(hidden)]
    fn barrier(&mut self, object: Object);

    /// Called before an element of a live array is written to.
    #[doc(hidden)]
    #[inline]
    fn barrier_element(&mut self, array: Object, index: usize) {
        let _ = index;
        self.barrier(array);
    }

    /// Whether there is something to do for [`step`](Collector::step).
    #[doc(hidden)]
    fn is_due(&self) -> bool {
        let base = self.base();
        base.config.stress || self.allocated_bytes() >= base.due_at
    }

    /// # Safety
    ///
    /// Nobody holds a handle or a reference into the heap but `roots`. Both collect as little and as much as there is to collect.
    #[doc(hidden)]
    unsafe fn step(&mut self, roots: &mut dyn Roots<Self>) {
        // SAFETY: the caller's promise.
        unsafe { self.collect(roots) };
    }

    /// # Safety
    ///
    /// As [`step`](Collector::step).
    #[doc(hidden)]
    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>);

    /// A collection was left by a panic. Says whether the heap can still be used.
    #[doc(hidden)]
    fn abandon(&mut self) -> bool;

    /// Drops all objects and gives all memory back.
    ///
    /// # Safety
    ///
    /// As [`step`](Collector::step); and the heap is not used any more.
    #[doc(hidden)]
    unsafe fn destroy(&mut self);
}
