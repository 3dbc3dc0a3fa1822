//! Carries operations out on a subject and has the shadow heap judge each of them.
//!
//! # Safety
//!
//! Blocks come from the subject and are freed by it once: the token that the shadow heap gives
//! out is used up by the call that frees the block (*used up*). Sizes and alignments are those of
//! a valid layout (*allowed*): asserted, since operations are plain data.
#![allow(unsafe_code)]

use crate::block::{Block, Fault, Violation};
use crate::op::Op;
use crate::registry::Registry;
use crate::shadow::{Served, ShadowHeap};
use crate::subject::Subject;
use std::alloc::Layout;
use std::ptr::NonNull;

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Operations taken up.
    pub ops: u64,
    /// Blocks served.
    pub allocs: u64,
    /// Blocks freed, those at the end of the run included.
    pub frees: u64,
    /// Reallocations done.
    pub reallocs: u64,
    /// Requests refused, rightly.
    pub refusals: u64,
    /// Operations without effect: no block was live, or enough bytes were.
    pub skipped: u64,
    /// Blocks passed between threads.
    pub handed_over: u64,
    /// Times the subject's own check was run.
    pub verifies: u64,
    /// Most bytes live at once (in a stress run, the sum of the threads' peaks).
    pub peak_bytes: usize,
}

impl Outcome {
    /// Adds the figures of another thread or run.
    pub fn add(&mut self, other: &Outcome) {
        self.ops += other.ops;
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.reallocs += other.reallocs;
        self.refusals += other.refusals;
        self.skipped += other.skipped;
        self.handed_over += other.handed_over;
        self.verifies += other.verifies;
        self.peak_bytes += other.peak_bytes;
    }
}

/// Live bytes above which [`run_sequence`] skips allocation.
const MOST_BYTES: usize = 64 << 20;

/// Runs `ops` one after the other on one thread; then checks and frees all that is live, and has
/// the subject verify itself. Stops at the first violation and then leaks what is live, since a
/// subject at fault cannot be trusted to free it.
pub fn run_sequence(subject: &(impl Subject + ?Sized), ops: &[Op]) -> Result<Outcome, Violation> {
    let mut driver = Driver::new(subject, 0, None, MOST_BYTES);
    for op in ops {
        driver.apply(op)?;
    }
    driver.finish()
}

fn assert_allowed(size: usize, align: usize) {
    assert!(Layout::from_size_align(size, align).is_ok(), "no layout has {size} B align {align}");
}

/// One thread's shadow heap, at work on a subject.
pub(crate) struct Driver<'r, S: ?Sized> {
    subject: &'r S,
    pub(crate) shadow: ShadowHeap<'r>,
    pub(crate) outcome: Outcome,
    thread: usize,
    step: usize,
    most_bytes: usize,
}

impl<'r, S: Subject + ?Sized> Driver<'r, S> {
    pub(crate) fn new(
        subject: &'r S,
        thread: usize,
        registry: Option<&'r Registry>,
        most_bytes: usize,
    ) -> Self {
        let shadow = ShadowHeap::new(thread, registry);
        Driver { subject, shadow, outcome: Outcome::default(), thread, step: 0, most_bytes }
    }

    /// Does one operation.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), Violation> {
        let done = self.try_apply(op);
        self.outcome.ops += 1;
        self.outcome.peak_bytes = self.outcome.peak_bytes.max(self.shadow.live_bytes());
        let step = self.step;
        self.step += 1;
        done.map_err(|fault| Violation { thread: self.thread, step, op: Some(*op), fault: Box::new(fault) })
    }

    /// Puts a fault that no operation led to in its place.
    pub(crate) fn between<T>(&self, done: Result<T, Fault>) -> Result<T, Violation> {
        let at = |fault| Violation { thread: self.thread, step: self.step, op: None, fault: Box::new(fault) };
        done.map_err(at)
    }

    /// Checks and frees everything, and verifies the subject.
    pub(crate) fn finish(mut self) -> Result<Outcome, Violation> {
        let done = self.free_all().and_then(|()| self.verify());
        self.between(done)?;
        Ok(self.outcome)
    }

    fn try_apply(&mut self, op: &Op) -> Result<(), Fault> {
        match *op {
            Op::Alloc { size, align } => self.alloc(size, align, false),
            Op::AllocZeroed { size, align } => self.alloc(size, align, true),
            Op::AllocMany { count, size, align } => {
                (0..count).try_for_each(|_| self.alloc(size, align, false))
            }
            Op::AllocImpossible { align, zeroed } => self.alloc_impossible(align, zeroed),
            Op::Realloc { victim, new_size } => self.realloc(victim, new_size.max(1)),
            Op::ReallocImpossible { victim } => self.realloc_impossible(victim),
            Op::Free { victim } => self.free(victim, false),
            Op::FreeUnsized { victim } => self.free(victim, true),
            Op::FreeMany { victim, count } => self.free_many(victim, count),
            Op::FreeAll => self.free_all(),
            Op::Check { victim } => match self.shadow.victim(victim) {
                Some(block) => self.shadow.check(block),
                None => self.skip(),
            },
            Op::CheckAll => self.shadow.check_all(),
            Op::Verify => self.verify(),
        }
    }

    fn skip(&mut self) -> Result<(), Fault> {
        self.outcome.skipped += 1;
        Ok(())
    }

    fn refused(&mut self, size: usize, align: usize) -> Result<(), Fault> {
        if !self.subject.may_refuse() {
            return Err(Fault::Refused { size, align });
        }
        self.outcome.refusals += 1;
        Ok(())
    }

    fn served(&self, ptr: NonNull<u8>, size: usize, align: usize, zeroed: bool) -> Served {
        // SAFETY: the subject served this block a moment ago.
        let usable = unsafe { self.subject.usable_size(ptr.as_ptr()) };
        Served { ptr, size, align, usable, zeroed }
    }

    fn alloc(&mut self, size: usize, align: usize, zeroed: bool) -> Result<(), Fault> {
        if self.shadow.live_bytes().saturating_add(size) > self.most_bytes {
            return self.skip();
        }
        assert_allowed(size, align);
        // SAFETY: allowed.
        let ptr = unsafe { self.subject.alloc(size, align, zeroed) };
        let Some(ptr) = NonNull::new(ptr) else { return self.refused(size, align) };
        let served = self.served(ptr, size, align, zeroed);
        // SAFETY: a subject promises that what it serves is mapped.
        unsafe { self.shadow.admit(&served, self.step) }?;
        self.outcome.allocs += 1;
        Ok(())
    }

    fn alloc_impossible(&mut self, align: usize, zeroed: bool) -> Result<(), Fault> {
        let size = Op::impossible_size(align);
        assert_allowed(size, align);
        // SAFETY: allowed.
        let ptr = unsafe { self.subject.alloc(size, align, zeroed) };
        if !ptr.is_null() {
            return Err(Fault::ImpossibleServed { size, align, addr: ptr.addr() });
        }
        self.outcome.refusals += 1;
        Ok(())
    }

    fn realloc(&mut self, victim: u16, new_size: usize) -> Result<(), Fault> {
        if self.shadow.live_bytes().saturating_add(new_size) > self.most_bytes {
            return self.skip();
        }
        let Some(block) = self.shadow.take(victim)? else { return self.skip() };
        let Block { ptr, info: old } = block;
        assert_allowed(new_size, old.align);
        // SAFETY: used up: on success `block` is never used again. Allowed.
        let ptr = unsafe { self.subject.realloc(ptr.as_ptr(), old.size, old.align, new_size) };
        let Some(ptr) = NonNull::new(ptr) else {
            self.refused(new_size, old.align)?;
            return self.shadow.put_back(block);
        };
        let served = self.served(ptr, new_size, old.align, false);
        // SAFETY: a subject promises that what it serves is mapped.
        unsafe { self.shadow.admit_moved(&old, &served, self.step) }?;
        self.outcome.reallocs += 1;
        Ok(())
    }

    fn realloc_impossible(&mut self, victim: u16) -> Result<(), Fault> {
        let Some(block) = self.shadow.take(victim)? else { return self.skip() };
        let Block { ptr, info: old } = block;
        let size = Op::impossible_size(old.align);
        // SAFETY: used up, should it ever succeed. Allowed: the largest for an alignment found valid before.
        let ptr = unsafe { self.subject.realloc(ptr.as_ptr(), old.size, old.align, size) };
        if !ptr.is_null() {
            return Err(Fault::ImpossibleServed { size, align: old.align, addr: ptr.addr() });
        }
        self.outcome.refusals += 1;
        self.shadow.put_back(block)
    }

    fn free(&mut self, victim: u16, by_address: bool) -> Result<(), Fault> {
        let Some(Block { ptr, info }) = self.shadow.take(victim)? else { return self.skip() };
        if by_address && self.subject.frees_unsized() {
            // SAFETY: used up: the token was taken apart.
            unsafe { self.subject.dealloc_unsized(ptr.as_ptr()) };
        } else {
            // SAFETY: used up: the token was taken apart.
            unsafe { self.subject.dealloc(ptr.as_ptr(), info.size, info.align) };
        }
        self.outcome.frees += 1;
        Ok(())
    }

    pub(crate) fn free_many(&mut self, victim: u16, count: u16) -> Result<(), Fault> {
        // A block taken out makes the next older one the victim.
        let count = self.shadow.len().min(count as usize);
        (0..count).try_for_each(|_| self.free(victim, false))
    }

    fn free_all(&mut self) -> Result<(), Fault> {
        while let Some(oldest) = self.shadow.len().checked_sub(1) {
            self.free(oldest.min(u16::MAX as usize) as u16, false)?;
        }
        Ok(())
    }

    pub(crate) fn verify(&mut self) -> Result<(), Fault> {
        self.outcome.verifies += 1;
        self.subject.verify().map_err(Fault::Unsound)
    }
}
