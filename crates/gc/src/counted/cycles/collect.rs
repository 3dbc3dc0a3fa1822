//! The collection, phase by phase.
//!
//! # Safety
//!
//! *Held*: while an object's handles are visited the collector has a handle of its own to it.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::core::{Core, Phase};
use super::links::{Aim, Visit};
use super::object::Bare;
use super::table::State;

/// A handle of the collector's.
struct Held<'a> {
    core: &'a Core,
    object: NonNull<Bare>,
}

impl<'a> Held<'a> {
    /// # Safety
    ///
    /// An object that is alive.
    unsafe fn new(core: &'a Core, object: NonNull<Bare>) -> Held<'a> {
        // SAFETY: the caller's promise.
        unsafe { object.as_ref() }.retain();
        Held { core, object }
    }

    /// Visits all handles of the object and returns how many there are.
    fn visit(&self, aim: Aim) -> usize {
        let mut visit = Visit { aim, core: Some(self.core), edges: 0 };
        // SAFETY: held.
        let kind = unsafe { self.object.as_ref() }.kind;
        // SAFETY: held.
        unsafe { kind.links(self.object, &mut visit) };
        visit.edges
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: held.
        if unsafe { self.object.as_ref() }.release() {
            // SAFETY: it was the last handle; whoever collects keeps the core.
            unsafe { self.core.dropped_last(self.object) };
        }
    }
}

/// Leaves the collector fit for the next slice when user code panics.
struct Slice<'a>(&'a Core);

impl Drop for Slice<'_> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.defer(false);
        if std::thread::panicking() {
            self.0.broken.set(true);
            if matches!(self.0.phase.get(), Phase::Trial | Phase::Scan) {
                // Somebody's handles are counted in part only: this collection comes to nothing.
                self.0.finish();
            }
        }
    }
}

impl Core {
    /// Works for `budget` units, or until the collection under way is over; begins one if there is none. Whether it is over.
    ///
    /// From inside of user code that the collector called it does nothing.
    pub(super) fn slice(&self, budget: usize) -> bool {
        if self.busy.replace(true) {
            return false;
        }
        self.defer(true);
        let _slice = Slice(self);
        if self.phase.get() == Phase::Idle {
            self.begin();
        }
        let mut done = 0_usize;
        while done < budget {
            match self.step() {
                Some(units) => done = done.saturating_add(units),
                None => return true,
            }
        }
        self.phase.get() == Phase::Idle
    }

    fn begin(&self) {
        self.waiting.set(0);
        self.broken.set(false);
        self.table.borrow_mut().begin();
        self.enter(Phase::Trial);
    }

    /// A piece of work, in units; nothing when all is done.
    fn step(&self) -> Option<usize> {
        match self.phase.get() {
            Phase::Idle => None,
            Phase::Trial => Some(self.trial()),
            Phase::Scan => Some(self.scan()),
            Phase::Unlink => Some(self.unlink()),
            Phase::Finish => Some(self.clear()),
        }
    }

    fn trial(&self) -> usize {
        let mut table = self.table.borrow_mut();
        if let Some(number) = table.found.pop() {
            let entry = table.entry(number);
            // It may be gone by now, or live.
            let Some(object) = entry.object.filter(|_| entry.state == State::Found) else { return 1 };
            entry.state = State::Traced;
            drop(table);
            self.count(|stats| stats.traced += 1);
            // SAFETY: objects in the table are alive.
            return 1 + unsafe { Held::new(self, object) }.visit(Aim::Trial);
        }
        if let Some(number) = table.root() {
            let entry = table.entry(number);
            if entry.object.is_none() {
                self.recycle(&mut table, number);
            } else if entry.state == State::Out {
                table.join(number);
            }
            return 1;
        }
        table.cursor = 0;
        drop(table);
        self.enter(Phase::Scan);
        1
    }

    fn scan(&self) -> usize {
        let mut table = self.table.borrow_mut();
        if let Some(number) = table.live.pop() {
            let Some(object) = table.entry(number).object else { return 1 };
            drop(table);
            // SAFETY: objects in the table are alive.
            return 1 + unsafe { Held::new(self, object) }.visit(Aim::Live);
        }
        if let Some(number) = table.next_member() {
            let entry = table.entry(number);
            if let Some(object) = entry.object.filter(|_| entry.state == State::Traced) {
                // SAFETY: objects in the table are alive.
                if unsafe { object.as_ref() }.strong.get() != entry.inner {
                    table.enliven(number);
                }
            }
            return 1;
        }
        table.cursor = 0;
        drop(table);
        // What is left as traced is garbage, and stays so.
        self.enter(Phase::Unlink);
        1
    }

    fn unlink(&self) -> usize {
        // Destructors of what has no handles any more.
        if self.destroy_one() {
            return 1;
        }
        let mut table = self.table.borrow_mut();
        if let Some(number) = table.next_member() {
            let entry = table.entry(number);
            if entry.state == State::Traced {
                self.count(|stats| stats.garbage += 1);
                if let Some(object) = entry.object {
                    drop(table);
                    // SAFETY: objects in the table are alive.
                    return 1 + unsafe { Held::new(self, object) }.visit(Aim::Unlink);
                }
            }
            return 1;
        }
        drop(table);
        self.finish();
        1
    }

    fn finish(&self) {
        self.table.borrow_mut().cursor = 0;
        self.enter(Phase::Finish);
    }

    fn clear(&self) -> usize {
        let mut table = self.table.borrow_mut();
        if let Some(number) = table.root() {
            // Left over where a collection came to nothing; it stays a candidate.
            if table.list(number) {
                self.waiting.set(self.waiting.get() + 1);
            }
            return 1;
        }
        if let Some(number) = table.next_member() {
            let entry = table.entry(number);
            entry.state = State::Out;
            entry.inner = 0;
            // After a panic what was found, or unlinked, is to be looked at again.
            if entry.object.is_some() && self.broken.get() && table.list(number) {
                self.waiting.set(self.waiting.get() + 1);
            }
            self.recycle(&mut table, number);
            return 1;
        }
        table.end();
        drop(table);
        self.count(|stats| stats.collections += 1);
        self.enter(Phase::Idle);
        1
    }
}
