//! A heap: a root, a collector, and the rule that they are not used at once.
//!
//! # Safety
//!
//! *Apart*: handles are made under a brand that is over when the closure returns, and while it runs, the heap is borrowed. So
//! whenever the heap itself runs, nobody has a handle or a reference into it, but its root, its objects and its table of roots.
//! *Root*: the root is kept as an `R::Of<'static>` and shown under the brand of the moment only; types that differ in a lifetime
//! have one representation.
#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use super::mutation::{Mutation, ObjectId};
use super::rooted::RootTable;
use super::{Branded, Trace};
use crate::collector::survey::{Survey, Surveyed, Surveyor};
use crate::collector::{Collector, Fate, GcConfig, GcStats, Roots};

/// A heap with a root of the type `R`, looked after by a collector `C`.
///
/// What can be reached from the root, or from a [`Rooted`](crate::Rooted), lives; everything else dies, sooner or later. All work
/// happens at the end of [`mutate`](Heap::mutate), if it is due, and in [`collect`](Heap::collect).
///
/// # Panics
///
/// A panic in a destructor is kept until the collection is over and goes on then, from `mutate` or `collect`; of several the first.
/// After a panic in a `trace` (written by hand: a derived one does not panic) the collection is given up. Where objects do not move,
/// the heap can be used as before. Where they do, it cannot, and says so at the next call; its destructors still run when it is dropped.
/// It is the same when the parent of a generational heap has no memory for what becomes old.
pub struct Heap<R: Branded, C: Collector> {
    /// Before the mutation, so that it is dropped first.
    root: ManuallyDrop<R::Of<'static>>,
    mutation: ManuallyDrop<Box<Mutation<'static, C>>>,
    broken: bool,
}

struct AllRoots<'h, R: Branded, C: Collector> {
    root: &'h mut R::Of<'static>,
    table: &'h mut RootTable<C>,
}

impl<R: Branded, C: Collector> Roots<C> for AllRoots<'_, R, C> {
    fn trace(&mut self, marker: &mut C::Marker) {
        self.root.trace(marker);
        self.table.trace(marker);
    }

    fn trace_young(&mut self, young: &mut C::Young) {
        self.root.trace(young);
        self.table.trace_young(young);
    }

    fn rescue(&mut self, marker: &mut C::Marker) -> bool {
        self.table.rescue(marker)
    }

    fn rescue_young(&mut self, young: &mut C::Young) -> bool {
        self.table.rescue_young(young)
    }

    fn settle(&mut self, fate: Fate<'_>) {
        self.table.settle(fate, true);
    }

    fn settle_before_move(&mut self, fate: Fate<'_>) {
        self.table.settle(fate, false);
    }
}

impl<R: Branded, C: Collector> Heap<R, C> {
    /// A heap on the program's allocator, with the root that `root` makes.
    pub fn new(root: impl for<'gc> FnOnce(&Mutation<'gc, C>) -> R::Of<'gc>) -> Self
    where
        C::Parent: Default,
    {
        Self::with_config(GcConfig::default(), C::Parent::default(), root)
    }

    /// A heap on any allocator of the kit.
    pub fn with_config(
        config: GcConfig,
        parent: C::Parent,
        root: impl for<'gc> FnOnce(&Mutation<'gc, C>) -> R::Of<'gc>,
    ) -> Self {
        let mutation = Box::new(Mutation::new(C::build(config, parent)));
        Self::begin(mutation, root)
    }

    fn begin<'gc>(
        mutation: Box<Mutation<'static, C>>,
        root: impl FnOnce(&Mutation<'gc, C>) -> R::Of<'gc>,
    ) -> Self {
        let root = ManuallyDrop::new(root(mutation.rebrand()));
        let place = core::ptr::from_ref(&root).cast::<ManuallyDrop<R::Of<'static>>>();
        // SAFETY: root: the types have one representation; the original is not dropped.
        let root = unsafe { place.read() };
        Heap { root, mutation: ManuallyDrop::new(mutation), broken: false }
    }

    /// Shows the root, and gives the right to allocate and to write. Afterwards the collector works, if that is due.
    ///
    /// Nothing is collected before `f` returns: what it allocates stays until then. A long computation returns now and then, when
    /// [`should_yield`](Mutation::should_yield) says so, and keeps its state in the root.
    ///
    /// # Panics
    ///
    /// When the heap broke before, see [`Heap`]; when `f` does, or a destructor.
    pub fn mutate<T>(&mut self, f: impl for<'gc> FnOnce(&Mutation<'gc, C>, &mut R::Of<'gc>) -> T) -> T {
        self.check();
        let result = self.enter(f);
        if self.mutation.shared().is_due() {
            self.pause(|collector, roots| {
                // SAFETY: apart.
                unsafe { collector.step(roots) };
            });
        }
        self.raise();
        result
    }

    fn enter<'gc, T>(&mut self, f: impl FnOnce(&Mutation<'gc, C>, &mut R::Of<'gc>) -> T) -> T {
        let place = core::ptr::from_mut(&mut self.root).cast::<R::Of<'gc>>();
        // SAFETY: root: the types have one representation; the place is borrowed for the call.
        let root = unsafe { &mut *place };
        f(self.mutation.rebrand(), root)
    }

    /// Collects all that is dead.
    ///
    /// # Panics
    ///
    /// When the heap broke before; when a destructor does.
    pub fn collect(&mut self) {
        self.check();
        self.pause(|collector, roots| {
            // SAFETY: apart.
            unsafe { collector.collect(roots) };
        });
        self.raise();
    }

    /// The figures.
    pub fn stats(&self) -> GcStats {
        let collector = self.mutation.shared();
        let mut stats = collector.base().stats.clone();
        stats.allocated_bytes = collector.allocated_bytes();
        stats.held_bytes = collector.held_bytes();
        stats
    }

    /// A picture of all that can be reached: what is there, by type, and what points to what. It takes as long as a collection in one
    /// go, and memory in proportion to the number of objects.
    ///
    /// # Panics
    ///
    /// When the heap broke before.
    pub fn survey(&mut self) -> Survey {
        self.check();
        let mut surveyor = Surveyor::default();
        self.root.trace(&mut surveyor);
        let root = surveyor.take_edges();
        self.mutation.collector_mut().1.survey(&mut surveyor);
        let rooted = surveyor.take_edges();
        surveyor.finish(root, rooted)
    }

    /// Why an object is alive: a shortest way to it from the root, or from a root outside, with both ends. The closure picks the
    /// object, by a weak pointer for instance. Empty if it can be reached by neither and has only not been collected yet.
    ///
    /// ```
    /// use freestone_gc::{Gc, GcWeak, Heap, MarkSweep, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Session<'gc> {
    ///     user: Gc<'gc, String>,
    /// }
    ///
    /// type Root = (Vec<Gc<'static, Session<'static>>>, GcWeak<'static, String>);
    /// let mut heap = Heap::<Root, MarkSweep>::new(|mc| {
    ///     let user = mc.alloc("ann".to_owned());
    ///     (vec![mc.alloc(Session { user })], GcWeak::new(mc, user))
    /// });
    /// let path = heap.why(|mc, (_, user)| user.upgrade().map(|user| mc.id(user)));
    /// assert!(path[0].kind.contains("Session") && path[1].kind.contains("String"));
    /// ```
    ///
    /// # Panics
    ///
    /// When the heap broke before; when the closure does.
    pub fn why(
        &mut self,
        pick: impl for<'gc> FnOnce(&Mutation<'gc, C>, &mut R::Of<'gc>) -> Option<ObjectId>,
    ) -> Vec<Surveyed> {
        self.check();
        // Nothing is collected in between, so the object is where it was.
        let Some(ObjectId(address)) = self.enter(pick) else { return Vec::new() };
        let survey = self.survey();
        let Some(number) = survey.objects.iter().position(|object| object.address == address) else {
            return Vec::new();
        };
        survey.path_to(number).into_iter().map(|number| survey.objects[number].clone()).collect()
    }

    pub(super) fn confined_kind(&self) -> Option<&'static str> {
        self.mutation.confined_kind.get()
    }

    pub(super) fn count_roots(&mut self) -> usize {
        self.mutation.collector_mut().1.count()
    }

    pub(super) fn set_travels(&self, travels: bool) {
        self.mutation.travels.set(travels);
    }

    fn check(&self) {
        assert!(
            !self.broken,
            "this heap cannot be used any more: while objects were being moved, a `trace` panicked, or the parent allocator refused"
        );
    }

    fn pause(&mut self, work: impl FnOnce(&mut C, &mut dyn Roots<C>)) {
        let begin = Instant::now();
        let (collector, table) = self.mutation.collector_mut();
        let mut roots = AllRoots::<R, C> { root: &mut self.root, table };
        // What a panic leaves behind is put in order, or the heap is not used any more.
        let worked = catch_unwind(AssertUnwindSafe(|| work(collector, &mut roots)));
        if let Err(payload) = worked {
            self.broken = !collector.abandon();
            collector.base_mut().stats.panics += 1;
            resume_unwind(payload);
        }
        collector.base_mut().stats.pauses.add(begin.elapsed());
    }

    /// Goes on with the panic of a destructor.
    fn raise(&mut self) {
        let (collector, _) = self.mutation.collector_mut();
        if let Some(payload) = collector.base_mut().panic.take() {
            resume_unwind(payload);
        }
    }
}

impl<R: Branded, C: Collector> Drop for Heap<R, C> {
    fn drop(&mut self) {
        // SAFETY: it is not used any more. Dropping a root looks through no handle, since it is `Trace`.
        unsafe { ManuallyDrop::drop(&mut self.root) };
        let (collector, _) = self.mutation.collector_mut();
        // SAFETY: apart.
        unsafe { collector.destroy() };
        let panic = collector.base_mut().panic.take();
        // SAFETY: it is not used any more.
        unsafe { ManuallyDrop::drop(&mut self.mutation) };
        if let Some(payload) = panic
            && !std::thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}
