//! What all objects of one [`Cycles`](super::Cycles) share.
//!
//! # Safety
//!
//! 1. *Alive*: an object in the table, or behind a handle, is alive: its line is emptied before it is destroyed, or lent out whole.
//! 2. *Zero*: what lies in the queue has no handles and no line, and has not been destroyed.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use super::object::Bare;
use super::table::{State, Table};

/// Objects that are dropped inside of each other's destructors, before the rest waits in a queue.
const DEEPEST: u32 = 32;

thread_local! {
    /// Collections under way on this thread whose objects may be touched.
    static ACTIVE: Cell<usize> = const { Cell::new(0) };
}

/// What the collector is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nothing.
    Idle,
    /// Going through all that the candidates reach, and counting.
    Trial,
    /// Looking for what is held from outside, and following its handles.
    Scan,
    /// Emptying the slots of what is left.
    Unlink,
    /// Clearing the table.
    Finish,
}

/// Figures of a [`Cycles`](super::Cycles).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CycleStats {
    /// Objects that have not been dropped.
    pub objects: usize,
    /// Objects that a collection would begin with, at most.
    pub candidates: usize,
    /// Collections that came to their end.
    pub collections: u64,
    /// Objects that collections went through, each time counted anew.
    pub traced: u64,
    /// Objects found to be garbage.
    pub garbage: u64,
}

pub(super) struct Core {
    pub(super) table: RefCell<Table>,
    pub(super) phase: Cell<Phase>,
    /// A slice is at work; it is not begun again from inside.
    pub(super) busy: Cell<bool>,
    /// User code panicked in the collection under way.
    pub(super) broken: Cell<bool>,
    /// Objects without handles that wait to be destroyed.
    pub(super) zeros: RefCell<Vec<NonNull<Bare>>>,
    /// Destructors inside of each other; [`DEEPEST`] more while all is to wait.
    pub(super) depth: Cell<u32>,
    pub(super) waiting: Cell<usize>,
    pub(super) stats: Cell<CycleStats>,
    pub(super) objects: Cell<usize>,
}

impl Core {
    pub(super) fn new() -> Core {
        Core {
            table: RefCell::new(Table::new()),
            phase: Cell::new(Phase::Idle),
            busy: Cell::new(false),
            broken: Cell::new(false),
            zeros: RefCell::new(Vec::new()),
            depth: Cell::new(0),
            waiting: Cell::new(0),
            stats: Cell::new(CycleStats::default()),
            objects: Cell::new(0),
        }
    }

    /// Whether a handle that moves might be missed by somebody.
    #[inline]
    pub(super) fn any_active() -> bool {
        ACTIVE.get() != 0
    }

    /// Goes on to that phase.
    pub(super) fn enter(&self, phase: Phase) {
        let active = |phase| matches!(phase, Phase::Trial | Phase::Scan);
        match (active(self.phase.get()), active(phase)) {
            (false, true) => ACTIVE.set(ACTIVE.get() + 1),
            (true, false) => ACTIVE.set(ACTIVE.get() - 1),
            _ => {}
        }
        self.phase.set(phase);
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut CycleStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// Somebody got hold of an object of the table, or let go of it.
    #[inline]
    pub(super) fn touch(&self, bare: &Bare) {
        let number = bare.entry.get();
        if number != 0 && matches!(self.phase.get(), Phase::Trial | Phase::Scan) {
            self.touch_line(number);
        }
    }

    #[cold]
    fn touch_line(&self, number: u32) {
        let mut table = self.table.borrow_mut();
        if matches!(table.entry(number).state, State::Found | State::Traced) {
            table.enliven(number);
        }
    }

    /// A handle was dropped, and others are left.
    pub(super) fn dropped_one(&self, object: NonNull<Bare>, bare: &Bare) {
        self.touch(bare);
        if self.table.borrow_mut().candidate(object, bare) {
            self.waiting.set(self.waiting.get() + 1);
        }
    }

    /// Takes an object out of the table that has nothing to do with a collection any more, having no handle or only one.
    pub(super) fn forget(&self, bare: &Bare) {
        let number = bare.entry.replace(0);
        if number != 0 {
            let mut table = self.table.borrow_mut();
            table.entry(number).object = None;
            table.recycle(number);
        }
    }

    /// Gives a line up that serves for nothing any more.
    pub(super) fn recycle(&self, table: &mut Table, number: u32) {
        if table.recycle(number)
            && let Some(object) = table.entry(number).object.take()
        {
            // SAFETY: alive.
            unsafe { object.as_ref() }.entry.set(0);
        }
    }

    /// The last handle of an object was dropped.
    ///
    /// # Safety
    ///
    /// It was, and this is not called twice. The core outlives the call.
    #[inline]
    pub(super) unsafe fn dropped_last(&self, object: NonNull<Bare>) {
        // SAFETY: it has not been destroyed.
        let bare = unsafe { object.as_ref() };
        if bare.entry.get() != 0 {
            self.forget(bare);
        }
        self.objects.set(self.objects.get() - 1);
        if self.depth.get() >= DEEPEST {
            self.zeros.borrow_mut().push(object);
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.destroy(object) };
    }

    /// The same from outside of all destructors, and then for what they left behind; not for what a collection under way did.
    ///
    /// # Safety
    ///
    /// As [`dropped_last`](Core::dropped_last).
    pub(super) unsafe fn dropped_outermost(&self, object: NonNull<Bare>) {
        let others = self.zeros.borrow().len();
        // SAFETY: the caller's promise.
        unsafe { self.dropped_last(object) };
        while self.zeros.borrow().len() > others && self.destroy_one() {}
    }

    /// From now on whatever loses its last handle waits in the queue; or no longer.
    pub(super) fn defer(&self, yes: bool) {
        let depth = self.depth.get();
        self.depth.set(if yes { depth + DEEPEST } else { depth - DEEPEST });
    }

    /// Destroys an object of the queue, if there is one.
    pub(super) fn destroy_one(&self) -> bool {
        let next = self.zeros.borrow_mut().pop();
        let Some(object) = next else { return false };
        // SAFETY: zero.
        unsafe { self.destroy(object) };
        true
    }

    /// # Safety
    ///
    /// Without handles, and not destroyed yet.
    #[inline]
    unsafe fn destroy(&self, object: NonNull<Bare>) {
        /// Comes back also when the destructor panics.
        struct Depth<'a>(&'a Cell<u32>);
        impl Drop for Depth<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        self.depth.set(self.depth.get() + 1);
        let _depth = Depth(&self.depth);
        // SAFETY: the caller's promise.
        let kind = unsafe { object.as_ref() }.kind;
        // SAFETY: the caller's promise.
        unsafe { kind.destroy(object) };
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.enter(Phase::Idle);
    }
}
