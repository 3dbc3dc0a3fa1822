//! What all collectors have: figures, the pacer, panics that wait.
//!
//! # Safety
//!
//! Drop: an object is dropped once, when nobody can reach it any more.
#![allow(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::config::GcConfig;
use super::kind::shape_of;
use super::object::Object;
use super::stats::GcStats;
use super::{Collector, Pending};

/// What all collectors have.
#[doc(hidden)]
pub struct Base {
    pub(crate) config: GcConfig,
    pub(crate) stats: GcStats,
    /// The count of allocated bytes at which a collection is due.
    pub(crate) due_at: u64,
    /// The first panic of a destructor that nobody has heard of yet.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
}

impl Base {
    pub(crate) fn new(config: GcConfig) -> Self {
        Base { config, stats: GcStats::default(), due_at: config.min_growth as u64, panic: None }
    }

    /// Says when the next collection is due, by what is live now: the pacer.
    pub(crate) fn pace(&mut self, live: usize, allocated: u64) {
        self.stats.live_bytes = live;
        self.due_at = allocated + self.growth(live) as u64;
    }

    /// By how much the heap may grow until the next collection.
    pub(crate) fn growth(&self, live: usize) -> usize {
        let config = &self.config;
        let wanted = (live as u128 * u128::from(config.growth_percent) / 100) as usize;
        let wanted = wanted.max(config.min_growth);
        let room = config.soft_limit.saturating_sub(live);
        wanted.min(room.max(wanted / 8)).max(1)
    }

    /// Runs the destructor of an object, if it has one. A panic waits until the collection is over.
    pub(crate) fn drop_object<C: Collector>(&mut self, object: Object) {
        let Some(drop) = shape_of::<C>(object).drop else { return };
        self.stats.dropped += 1;
        // SAFETY: drop.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { drop(object) }));
        if let Err(payload) = dropped {
            self.keep_panic(payload);
        }
    }

    /// Forgets the keys that have died, and drops their values.
    pub(crate) fn clear_ephemerons<V>(&mut self, pending: impl Iterator<Item = Pending<V>>) {
        for ephemeron in pending {
            let cleared = catch_unwind(AssertUnwindSafe(|| (ephemeron.clear)(ephemeron.object)));
            if let Err(payload) = cleared {
                self.keep_panic(payload);
            }
        }
    }

    fn keep_panic(&mut self, payload: Box<dyn Any + Send>) {
        self.stats.panics += 1;
        if self.panic.is_none() {
            self.panic = Some(payload);
        } else {
            // Its destructor might panic as well.
            core::mem::forget(payload);
        }
    }
}
