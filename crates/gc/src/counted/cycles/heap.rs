//! Where the objects come from, and who collects.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::time::Instant;

use freestone_kit::Alloc;

use super::core::{Core, CycleStats, Phase};
use super::handle::Cc;
use super::links::Links;
use crate::counted::block::refused;
use crate::counted::{Global, LeanRc};

/// When to collect without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// A collection begins with an allocation when there are so many candidates, and at least a quarter of the objects. `usize::MAX`
    /// for never.
    pub candidates: usize,
    /// While a collection is under way each allocation does so many units of its work. An object that is gone through takes some four
    /// units in all, and one for each handle that it has.
    pub units: usize,
}

impl Config {
    /// From 10,000 candidates on, 100 units an allocation.
    pub const DEFAULT: Config = Config { candidates: 10_000, units: 100 };
    /// Never: [`Cycles::collect`] is called by the program.
    pub const BY_HAND: Config = Config { candidates: usize::MAX, units: 0 };

    /// The same with another number of candidates.
    pub const fn candidates(self, candidates: usize) -> Config {
        Config { candidates, ..self }
    }

    /// The same with another number of units.
    pub const fn units(self, units: usize) -> Config {
        Config { units, ..self }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::DEFAULT
    }
}

/// Units between two looks at the clock.
const UNITS_A_LOOK: usize = 64;

/// A family of counted objects among which cycles are found. See [the module](super).
///
/// The last thing it does, when it is dropped, is to collect. Objects with handles live on; circles among those that become garbage
/// later stay.
///
/// The collector's table comes from the program's allocator, the objects from `A`.
pub struct Cycles<A: Alloc + 'static = Global> {
    core: LeanRc<Core, A>,
    config: Config,
    /// Of one thread, as its objects.
    here: PhantomData<*const ()>,
}

impl Cycles {
    /// Objects from the program's allocator, collected now and then ([`Config::DEFAULT`]).
    pub fn new() -> Cycles {
        Cycles::new_in(Global, Config::DEFAULT)
    }
}

impl Default for Cycles {
    fn default() -> Cycles {
        Cycles::new()
    }
}

impl<A: Alloc + 'static> Cycles<A> {
    /// Objects from `alloc`.
    ///
    /// ```
    /// use freestone_gc::counted::cycles::{Config, Cycles};
    /// use freestone_kit::{Bins, Page};
    ///
    /// let cycles = Cycles::new_in(Bins::new(Page), Config::BY_HAND);
    /// assert_eq!(*cycles.alloc(1), 1);
    /// ```
    pub fn new_in(alloc: A, config: Config) -> Cycles<A> {
        Cycles { core: LeanRc::new_in(Core::new(), alloc), config, here: PhantomData }
    }

    /// A new object, with one handle.
    ///
    /// Now and then it does some of the work of a collection first ([`Config`]), and so may call destructors of garbage.
    #[inline]
    pub fn alloc<T: Links + 'static>(&self, value: T) -> Cc<T, A> {
        let core = &*self.core;
        if core.waiting.get() >= self.config.candidates || core.phase.get() != Phase::Idle {
            self.work();
        }
        match Cc::new_at_home(&self.core, value) {
            Ok(object) => object,
            Err(_) => refused(Layout::new::<T>()),
        }
    }

    #[cold]
    fn work(&self) {
        let under_way = self.core.phase.get() != Phase::Idle;
        if self.config.units != 0 && (under_way || self.core.waiting.get() >= self.core.objects.get() / 4) {
            self.core.slice(self.config.units);
        }
    }

    /// A whole collection, or two where one is under way already: after it no garbage is left that was there before.
    ///
    /// From inside of a destructor or an implementation of [`Links`] that a collection called, it does nothing.
    ///
    /// # Panics
    ///
    /// When a destructor panics, or [`Links::links`]; the next call goes on.
    pub fn collect(&self) {
        if self.core.phase.get() != Phase::Idle {
            self.core.slice(usize::MAX);
        }
        self.core.slice(usize::MAX);
    }

    /// A slice: so many units of work, or less if the collection comes to its end. Whether it did.
    ///
    /// One unit is an object or a handle. What user code does meanwhile, and a single object with all its handles, comes on top.
    ///
    /// ```
    /// use freestone_gc::counted::cycles::{Cc, Cycles, Slot};
    ///
    /// struct Ring(Slot<Option<Cc<Ring>>>);
    /// freestone_gc::links!(Ring { 0 });
    ///
    /// let cycles = Cycles::new();
    /// let first = cycles.alloc(Ring(Slot::default()));
    /// let last = (0..1000).fold(first.clone(), |next, _| cycles.alloc(Ring(Slot::new(Some(next)))));
    /// first.0.set(Some(last));
    /// drop(first);
    /// let mut slices = 1;
    /// while !cycles.collect_slice(100) {
    ///     slices += 1;
    /// }
    /// assert_eq!(cycles.stats().objects, 0);
    /// assert!(slices > 30);
    /// ```
    pub fn collect_slice(&self, units: usize) -> bool {
        self.core.slice(units)
    }

    /// As [`collect_slice`](Cycles::collect_slice), until that moment has come.
    pub fn collect_until(&self, moment: Instant) -> bool {
        loop {
            if self.core.slice(UNITS_A_LOOK) {
                return true;
            }
            if Instant::now() >= moment {
                return false;
            }
        }
    }

    /// The figures at this moment.
    pub fn stats(&self) -> CycleStats {
        CycleStats {
            objects: self.core.objects.get(),
            candidates: self.core.waiting.get(),
            ..self.core.stats.get()
        }
    }

    /// The allocator of the objects.
    pub fn allocator(&self) -> &A {
        LeanRc::allocator(&self.core)
    }
}

impl<A: Alloc + 'static> Drop for Cycles<A> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.collect();
        }
    }
}
