//! Telling what a memory fault was: a signal handler that looks the address up.
//!
//! # Safety
//!
//! 1. *Listed*: an entry of [`WATCHED`] leads to a debug allocator that does not move or end before it is taken out, which
//!    takes the list's lock. So who holds that lock may use what is listed.
//! 2. *Fault*: the handler runs on the thread that faulted, in the midst of the program's own code or, if that is at fault,
//!    of anything; the process ends after it. It takes no lock that it would have to wait for.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use std::sync::Once;

use super::report::Occasion;
use super::threads::{Keep, Shared};
use super::{Debug, Report, Telling, Trace};
use crate::Alloc;
use crate::sync::Lock;

/// What can look an address up.
trait Explains: Sync {
    /// Tells what the access was, if it was to memory of this allocator.
    fn explain(&self, address: usize) -> bool;
}

impl<A: Alloc + Sync> Explains for Debug<A, Shared> {
    fn explain(&self, address: usize) -> bool {
        let _telling = Telling::begin();
        let trace = Trace::take(self.config.trace_depth);
        let report: Option<Report> = self
            .state
            .try_with(|kept| {
                let (fault, at) = kept.0.explain(address)?;
                Some(kept.0.report(fault, Some(at), &self.scene(&trace, Occasion::Access)))
            })
            .flatten();
        if let Some(report) = &report {
            (self.config.sink)(report);
        }
        report.is_some()
    }
}

/// A debug allocator that is to explain faults.
#[derive(Clone, Copy)]
struct Watched(NonNull<dyn Explains>);

// SAFETY: what it leads to is `Sync`.
unsafe impl Send for Watched {}

const MOST: usize = 16;

static WATCHED: Lock<[Option<Watched>; MOST]> = Lock::new([None; MOST]);

/// The actions that were there before, for SIGSEGV and SIGBUS.
struct Before([MaybeUninit<libc::sigaction>; 2]);

static BEFORE: Lock<Before> = Lock::new(Before([MaybeUninit::zeroed(); 2]));

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Takes an allocator from the list, also when the program unwinds.
struct Unlist(NonNull<()>);

impl Drop for Unlist {
    fn drop(&mut self) {
        for place in WATCHED.lock().iter_mut() {
            if place.is_some_and(|watched| watched.0.cast::<()>() == self.0) {
                *place = None;
            }
        }
    }
}

impl<A: Alloc + Sync> Debug<A, Shared> {
    /// From now on a fault in memory of this allocator is told before the process ends: what block it was, and where it was
    /// allocated and freed. Needs an allocator that never ends; for others there is
    /// [`explaining_faults`](Self::explaining_faults).
    ///
    /// Takes over SIGSEGV and SIGBUS, whose earlier actions follow. Their handler does not run on the alternate stack, which is too small to name
    /// functions on; so a stack overflow ends the process without a message meanwhile.
    ///
    /// # Panics
    ///
    /// When 16 allocators do so already.
    pub fn explain_faults(&'static self) {
        // SAFETY: *listed*: it is there for ever.
        unsafe { list(NonNull::from(self as &dyn Explains)) };
    }

    /// Runs `work`, telling what a fault in memory of this allocator was, as [`explain_faults`](Self::explain_faults) does.
    ///
    /// # Panics
    ///
    /// When 16 allocators do so already, and when `work` panics.
    pub fn explaining_faults<R>(&self, work: impl FnOnce() -> R) -> R {
        let watched = NonNull::from(self as &dyn Explains);
        // SAFETY: the lifetime is taken away only; *listed*: the entry goes before the borrow does, by `_unlist`.
        let forever: NonNull<dyn Explains> =
            unsafe { core::mem::transmute::<NonNull<dyn Explains + '_>, NonNull<dyn Explains>>(watched) };
        // SAFETY: *listed*, as said.
        unsafe { list(forever) };
        let _unlist = Unlist(forever.cast());
        work()
    }
}

/// Enters an allocator into the list, and the handler with the kernel.
///
/// # Safety
///
/// *Listed*.
unsafe fn list(watched: NonNull<dyn Explains>) {
    let mut all = WATCHED.lock();
    let Some(free) = all.iter_mut().find(|place| place.is_none()) else {
        drop(all);
        panic!("no more than {MOST} allocators can explain faults at a time");
    };
    *free = Some(Watched(watched));
    drop(all);
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
}

fn install() {
    let mut before = BEFORE.lock();
    for (signal, old) in SIGNALS.into_iter().zip(&mut before.0) {
        // SAFETY: an action of zeros is a valid one.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: both actions are ours and of the type that the call reads and fills.
        unsafe { libc::sigaction(signal, &action, old.as_mut_ptr()) };
    }
}

/// How often a fault asks for the list.
const PATIENCE: u32 = 1000;

fn pause<T>() -> Option<T> {
    core::hint::spin_loop();
    None
}

/// Tells what the fault was, puts the earlier actions back, and returns to the instruction, which faults again.
extern "C" fn on_fault(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes the information with SA_SIGINFO.
    let info = unsafe { &*info };
    // SAFETY: both signals carry an address.
    let address = unsafe { info.si_addr() }.addr();
    // Locked until the report is made, so that no allocator ends meanwhile. Whoever else holds the list is about to let it go,
    // unless it is this thread, in the midst of a report: that fault is not explained.
    if let Some(all) = (0..PATIENCE).find_map(|_| WATCHED.try_lock().or_else(pause)) {
        // SAFETY: *listed*.
        let _ = all.iter().flatten().any(|watched| unsafe { watched.0.as_ref() }.explain(address));
    }
    let Some(before) = BEFORE.try_lock() else { return };
    for (signal, old) in SIGNALS.into_iter().zip(&before.0) {
        // SAFETY: the action that was there before, which the kernel filled in.
        unsafe { libc::sigaction(signal, old.as_ptr(), null_mut()) };
    }
}
