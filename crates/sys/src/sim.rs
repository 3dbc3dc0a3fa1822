//! A simulated system for tests: real memory, a model of every range, and refusals on demand.
//!
//! Whatever its caller does that the contract of [`System`] forbids ends the test with a message:
//! purging or moving what is not mapped, releasing twice, committing outside a reservation.
//! Without `std` and without allocating, so that a whole allocator can run on it.
//!
//! # Safety
//!
//! Invariant M1: the model is touched only by the holder of `busy`, through [`Held`]. Memory itself
//! is handled by [`Linux`], under the same contract, once the model has agreed.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Release},
};

pub use crate::counters::CallKind;
use crate::{Linux, MoveRefused, Moved, Refused, System, SystemCalls};

/// How the next move that is not refused ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveMode {
    /// The pages move; the old range stays mapped and reads as zeros.
    Clean,
    /// The pages move; the old range is no longer mapped.
    SourceGone,
    /// Nothing moves, and the target range is no longer mapped.
    TargetGone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Reserved,
    Mapped,
}

#[derive(Clone, Copy)]
struct Range {
    from: usize,
    to: usize,
    kind: Kind,
}

const RANGES: usize = 1024;

struct Model {
    /// Sorted, apart, and no two neighbours of a kind touch.
    ranges: [Range; RANGES],
    count: usize,
    calls: u64,
    refuse_nth: Option<(u64, Option<CallKind>)>,
    refuse_from: Option<u64>,
    refuse_all: bool,
    move_mode: MoveMode,
}

/// A system for tests.
pub struct Simulated {
    linux: Linux,
    /// The size of an OS page, where that is not the machine's; else 0.
    os_page: usize,
    busy: AtomicBool,
    model: UnsafeCell<Model>,
    huge: Huge,
    untouched: AtomicBool,
}

/// Huge pages, which are never made.
struct Huge {
    offered: AtomicBool,
    asked: AtomicU64,
    clock_ns: AtomicU64,
    step_ns: AtomicU64,
    /// How much was asked for.
    bytes: AtomicU64,
    passed_ns: AtomicU64,
}

// SAFETY: M1.
unsafe impl Sync for Simulated {}

struct Held<'a>(&'a Simulated);

impl Deref for Held<'_> {
    type Target = Model;
    fn deref(&self) -> &Model {
        // SAFETY: M1, this is the holder.
        unsafe { &*self.0.model.get() }
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Model {
        // SAFETY: M1, this is the holder, borrowed exclusively.
        unsafe { &mut *self.0.model.get() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Pairs with the exchange in `hold`.
        self.0.busy.store(false, Release);
    }
}

impl Simulated {
    /// A system with no ranges, which refuses nothing.
    pub const fn new() -> Simulated {
        let nothing = Range { from: 0, to: 0, kind: Kind::Reserved };
        let model = Model {
            ranges: [nothing; RANGES],
            count: 0,
            calls: 0,
            refuse_nth: None,
            refuse_from: None,
            refuse_all: false,
            move_mode: MoveMode::Clean,
        };
        let [asked, clock_ns, step_ns, bytes] = [const { AtomicU64::new(0) }; 4];
        // It has run for a while.
        let passed_ns = AtomicU64::new(1 << 40);
        Simulated {
            linux: Linux::new(),
            os_page: 0,
            busy: AtomicBool::new(false),
            model: UnsafeCell::new(model),
            huge: Huge { offered: AtomicBool::new(false), asked, clock_ns, step_ns, bytes, passed_ns },
            untouched: AtomicBool::new(false),
        }
    }

    /// The same with OS pages of `os_page` bytes, a multiple of the machine's: addresses and lengths have to be multiples of it, as where such
    /// pages are the system's.
    pub const fn with_os_pages(os_page: usize) -> Simulated {
        let mut system = Simulated::new();
        system.os_page = os_page;
        system
    }

    /// `len` bytes that begin at an OS page, from those that `get` gives.
    fn place(&self, len: usize, get: impl Fn(usize) -> Result<usize, Refused>) -> Result<usize, Refused> {
        let os_page = self.os_page_size();
        if os_page <= self.linux.os_page_size() {
            return get(len);
        }
        let at = get(len + os_page)?;
        let start = at.next_multiple_of(os_page);
        for (from, to) in [(at, start), (start + len, at + len + os_page)] {
            if from < to {
                // SAFETY: an end of what was mapped just now, unseen by anybody.
                unsafe { self.linux.release(from, to - from) }?;
            }
        }
        Ok(start)
    }

    /// Whether to tell of all memory that hardly any is resident, instead of all.
    pub fn seem_untouched(&self, untouched: bool) {
        self.untouched.store(untouched, Release);
    }

    /// Offers huge pages; a thread's clock advances by `step_ns` nanoseconds each time it is read.
    pub fn offer_huge_pages(&self, step_ns: u64) {
        self.huge.offered.store(true, Release);
        self.huge.step_ns.store(step_ns, Release);
    }

    /// How often huge pages were asked for.
    pub fn huge_pages_asked(&self) -> u64 {
        self.huge.asked.load(Acquire)
    }

    /// Of how many bytes in all.
    pub fn huge_bytes_asked(&self) -> u64 {
        self.huge.bytes.load(Acquire)
    }

    /// So many nanoseconds pass on the clock that never goes back, which stands still otherwise.
    pub fn pass(&self, ns: u64) {
        self.huge.passed_ns.fetch_add(ns, Release);
    }

    fn hold(&self) -> Held<'_> {
        while self.busy.compare_exchange_weak(false, true, Acquire, Acquire).is_err() {
            spin_loop();
        }
        Held(self)
    }

    /// Refuses the `n`-th call from now on (the next is 1), counting only those of `kind` if given.
    pub fn refuse_nth(&self, n: u64, kind: Option<CallKind>) {
        self.hold().refuse_nth = Some((n, kind));
    }

    /// Refuses the `n`-th call from now on and all that follow, until [`forgive`](Self::forgive).
    pub fn refuse_from(&self, n: u64) {
        self.hold().refuse_from = Some(n);
    }

    /// Refuses everything, or no longer.
    pub fn refuse_all(&self, refuse: bool) {
        self.hold().refuse_all = refuse;
    }

    /// Forgets all refusals asked for.
    pub fn forgive(&self) {
        let mut model = self.hold();
        model.refuse_nth = None;
        model.refuse_from = None;
        model.refuse_all = false;
    }

    /// Chooses how the next move that is not refused ends.
    pub fn next_move(&self, mode: MoveMode) {
        self.hold().move_mode = mode;
    }

    /// Calls so far, refused ones included: to refuse each in turn.
    pub fn call_count(&self) -> u64 {
        self.hold().calls
    }

    /// Bytes mapped at present, reservations that are not committed left out.
    pub fn mapped_bytes(&self) -> usize {
        let model = self.hold();
        let mapped = |range: &&Range| range.kind == Kind::Mapped;
        model.ranges[..model.count].iter().filter(mapped).map(|range| range.to - range.from).sum()
    }

    fn check_shape(&self, addr: usize, len: usize) {
        let os_page = self.os_page_size();
        assert!(
            len > 0 && len.is_multiple_of(os_page) && addr.is_multiple_of(os_page),
            "odd range {addr:#x} + {len:#x}"
        );
    }
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Simulated {
    /// Gives back what the test left mapped.
    fn drop(&mut self) {
        let model = self.hold();
        for range in &model.ranges[..model.count] {
            // SAFETY: mapped through this system, whose end is the end of its users.
            let _ = unsafe { self.linux.release(range.from, range.to - range.from) };
        }
    }
}

impl Model {
    /// Counts a call; whether it is to be refused.
    fn refuses(&mut self, kind: CallKind) -> bool {
        self.calls += 1;
        let mut refuse = self.refuse_all;
        if let Some((n, only)) = self.refuse_nth
            && only.is_none_or(|only| only == kind)
        {
            refuse |= n <= 1;
            self.refuse_nth = (n > 1).then_some((n - 1, only));
        }
        if let Some(n) = self.refuse_from {
            refuse |= n <= 1;
            self.refuse_from = Some(n.saturating_sub(1));
        }
        refuse
    }

    /// Whether all of the range is of `kind`, or of any kind when `None`.
    fn covered(&self, from: usize, to: usize, kind: Option<Kind>) -> bool {
        let mut at = from;
        for range in &self.ranges[..self.count] {
            if range.from <= at && at < range.to && kind.is_none_or(|kind| kind == range.kind) {
                at = range.to;
            }
        }
        at >= to
    }

    /// Makes the range `kind`, or nothing.
    fn set(&mut self, from: usize, to: usize, kind: Option<Kind>) {
        let mut old = [Range { from: 0, to: 0, kind: Kind::Reserved }; RANGES];
        let count = core::mem::take(&mut self.count);
        old[..count].copy_from_slice(&self.ranges[..count]);
        for range in &old[..count] {
            self.append(Range { to: range.to.min(from), ..*range });
        }
        if let Some(kind) = kind {
            self.append(Range { from, to, kind });
        }
        for range in &old[..count] {
            self.append(Range { from: range.from.max(to), ..*range });
        }
    }

    fn append(&mut self, range: Range) {
        if range.from >= range.to {
            return;
        }
        if let Some(last) = self.count.checked_sub(1).map(|last| &mut self.ranges[last])
            && last.to == range.from
            && last.kind == range.kind
        {
            last.to = range.to;
            return;
        }
        assert!(self.count < RANGES, "the simulated system has no room for more ranges");
        self.ranges[self.count] = range;
        self.count += 1;
    }

    /// Notes a new range that the real system has given.
    fn add(&mut self, addr: usize, len: usize, kind: Kind) {
        self.set(addr, addr + len, Some(kind));
    }
}

impl System for Simulated {
    fn map_at(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let mut model = self.hold();
        if model.refuses(CallKind::Map) {
            return Err(Refused::Exhausted);
        }
        self.linux.map_at(addr, len)?;
        model.add(addr, len, Kind::Mapped);
        Ok(())
    }

    fn map(&self, len: usize) -> Result<usize, Refused> {
        self.check_shape(0, len);
        let mut model = self.hold();
        if model.refuses(CallKind::Map) {
            return Err(Refused::Exhausted);
        }
        let addr = self.place(len, |len| self.linux.map(len))?;
        model.add(addr, len, Kind::Mapped);
        Ok(addr)
    }

    fn reserve(&self, len: usize) -> Result<usize, Refused> {
        self.check_shape(0, len);
        let mut model = self.hold();
        if model.refuses(CallKind::Reserve) {
            return Err(Refused::Exhausted);
        }
        let addr = self.place(len, |len| self.linux.reserve(len))?;
        model.add(addr, len, Kind::Reserved);
        Ok(addr)
    }

    fn ask_for_huge_pages(&self, addr: usize, len: usize, wanted: bool) {
        self.check_shape(addr, len);
        assert!(
            self.hold().covered(addr, addr + len, Some(Kind::Mapped)),
            "huge pages of nothing: {addr:#x}"
        );
        self.huge.asked.fetch_add(u64::from(wanted), Release);
        self.huge.bytes.fetch_add(if wanted { len as u64 } else { 0 }, Release);
    }

    fn offers_huge_pages(&self) -> bool {
        self.huge.offered.load(Acquire)
    }

    fn seems_touched(&self, addr: usize, len: usize) -> bool {
        self.linux.seems_touched(addr, len)
    }

    fn resident_bytes(&self, _addr: usize, len: usize) -> usize {
        if self.untouched.load(Acquire) { len / 8 } else { len }
    }

    unsafe fn clear(&self, addr: usize, len: usize) -> usize {
        self.check_shape(addr, len);
        let mut model = self.hold();
        let mapped = model.covered(addr, addr + len, Some(Kind::Mapped));
        assert!(mapped, "clearing what is not mapped: {addr:#x} + {len:#x}");
        if model.refuses(CallKind::Purge) {
            // SAFETY: the caller's promise, which the model confirms.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(addr).write_bytes(0, len) };
            return len;
        }
        // SAFETY: as above.
        unsafe { self.linux.clear(addr, len) }
    }

    fn monotonic_ns(&self) -> u64 {
        self.huge.passed_ns.load(Acquire)
    }

    fn populate(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let mapped = self.hold().covered(addr, addr + len, Some(Kind::Mapped));
        assert!(mapped, "populating what is not mapped: {addr:#x} + {len:#x}");
        self.linux.populate(addr, len)
    }

    fn thread_ns(&self) -> u64 {
        self.huge.clock_ns.fetch_add(self.huge.step_ns.load(Acquire), Release)
    }

    unsafe fn commit(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let mut model = self.hold();
        assert!(model.covered(addr, addr + len, None), "commit outside a reservation: {addr:#x}");
        if model.refuses(CallKind::Commit) {
            return Err(Refused::Exhausted);
        }
        // SAFETY: the caller's promise, which the model confirms.
        unsafe { self.linux.commit(addr, len) }?;
        model.add(addr, len, Kind::Mapped);
        Ok(())
    }

    unsafe fn purge(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let mut model = self.hold();
        let mapped = model.covered(addr, addr + len, Some(Kind::Mapped));
        assert!(mapped, "purge of what is not mapped: {addr:#x} + {len:#x}");
        if model.refuses(CallKind::Purge) {
            return Err(Refused::Exhausted);
        }
        // SAFETY: the caller's promise, which the model confirms.
        unsafe { self.linux.purge(addr, len) }
    }

    unsafe fn guard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let mut model = self.hold();
        assert!(
            model.covered(addr, addr + len, Some(Kind::Mapped)),
            "guard on what is not mapped: {addr:#x}"
        );
        if model.refuses(CallKind::Purge) {
            return Err(Refused::Exhausted);
        }
        // SAFETY: the caller's promise, which the model confirms.
        unsafe { self.linux.guard(addr, len) }
    }

    unsafe fn unguard(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let model = self.hold();
        assert!(
            model.covered(addr, addr + len, Some(Kind::Mapped)),
            "unguard of what is not mapped: {addr:#x}"
        );
        // SAFETY: the caller's promise, which the model confirms.
        unsafe { self.linux.unguard(addr, len) }
    }

    unsafe fn release(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.check_shape(addr, len);
        let mut model = self.hold();
        assert!(model.covered(addr, addr + len, None), "release of what is not ours: {addr:#x} + {len:#x}");
        if model.refuses(CallKind::Release) {
            return Err(Refused::Exhausted);
        }
        // SAFETY: the caller's promise, which the model confirms.
        unsafe { self.linux.release(addr, len) }?;
        model.set(addr, addr + len, None);
        Ok(())
    }

    unsafe fn move_pages(&self, from: usize, len: usize, to: usize) -> Result<Moved, MoveRefused> {
        self.check_shape(from, len);
        self.check_shape(to, len);
        let mut model = self.hold();
        assert!(from + len <= to || to + len <= from, "a move onto itself: {from:#x} to {to:#x}");
        for start in [from, to] {
            let mapped = model.covered(start, start + len, Some(Kind::Mapped));
            assert!(mapped, "a move from or to what is not mapped: {start:#x} + {len:#x}");
        }
        if model.refuses(CallKind::Move) {
            return Err(MoveRefused::Unchanged);
        }
        match core::mem::replace(&mut model.move_mode, MoveMode::Clean) {
            MoveMode::Clean => {
                // SAFETY: the caller's promise, which the model confirms.
                let outcome = unsafe { self.linux.move_pages(from, len, to) };
                match outcome {
                    Ok(Moved::SourceGone) => model.set(from, from + len, None),
                    Err(MoveRefused::TargetGone) => model.set(to, to + len, None),
                    Ok(Moved::SourceClean) | Err(MoveRefused::Unchanged) => {}
                }
                outcome
            }
            MoveMode::SourceGone => {
                // SAFETY: as above.
                unsafe { self.linux.move_pages(from, len, to) }?;
                // SAFETY: the contents have moved away, and the contract lets the range go.
                unsafe { self.linux.release(from, len) }.map_err(|_| MoveRefused::Unchanged)?;
                model.set(from, from + len, None);
                Ok(Moved::SourceGone)
            }
            MoveMode::TargetGone => {
                // SAFETY: the contract lets the target go.
                unsafe { self.linux.release(to, len) }.map_err(|_| MoveRefused::Unchanged)?;
                model.set(to, to + len, None);
                Err(MoveRefused::TargetGone)
            }
        }
    }

    fn os_page_size(&self) -> usize {
        if self.os_page == 0 { self.linux.os_page_size() } else { self.os_page }
    }

    fn address_space_limit(&self) -> Option<usize> {
        self.linux.address_space_limit()
    }

    fn random(&self) -> u64 {
        self.linux.random()
    }

    fn calls(&self) -> SystemCalls {
        self.linux.calls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 64 << 10;

    #[test]
    fn calls_are_refused_when_asked_and_change_nothing() {
        let system = Simulated::new();
        system.refuse_nth(2, Some(CallKind::Map));
        let addr = system.map(LEN).unwrap();
        assert!(system.reserve(LEN).is_ok());
        assert_eq!(system.map(LEN), Err(Refused::Exhausted));
        assert_eq!(system.mapped_bytes(), LEN);
        system.refuse_from(2);
        assert!(system.map(LEN).is_ok() && system.map(LEN).is_err() && system.map(LEN).is_err());
        system.forgive();
        system.refuse_all(true);
        // SAFETY: our own mapping.
        assert!(unsafe { system.purge(addr, LEN) }.is_err());
        assert_eq!(system.call_count(), 7);
    }

    #[test]
    fn parts_of_ranges_come_and_go() {
        let system = Simulated::new();
        // Where no other test's mapping is put into the hole.
        let addr = 0x2a00_0000_0000;
        system.map_at(addr, 4 * LEN).unwrap();
        // SAFETY: our own mapping, unused.
        unsafe { system.release(addr + LEN, LEN) }.unwrap();
        assert_eq!(system.mapped_bytes(), 3 * LEN);
        system.map_at(addr + LEN, LEN).unwrap();
        // SAFETY: our own mapping, unused.
        unsafe { system.purge(addr, 4 * LEN) }.unwrap();
        assert_eq!(system.map_at(addr, LEN), Err(Refused::Occupied));
    }

    #[test]
    #[should_panic(expected = "release of what is not ours")]
    fn releasing_twice_is_noticed() {
        let system = Simulated::new();
        let addr = system.map(LEN).unwrap();
        // SAFETY: our own mapping, unused.
        unsafe { system.release(addr, LEN) }.unwrap();
        // SAFETY: forbidden, and stopped before it reaches the kernel.
        let _ = unsafe { system.release(addr, LEN) };
    }

    #[test]
    #[should_panic(expected = "purge of what is not mapped")]
    fn purging_a_reservation_is_noticed() {
        let system = Simulated::new();
        let addr = system.reserve(LEN).unwrap();
        // SAFETY: forbidden, and stopped before it reaches the kernel.
        let _ = unsafe { system.purge(addr, LEN) };
    }
}
