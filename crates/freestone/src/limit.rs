//! Limits on the memory that the allocator hands out or keeps.
//!
//! What is limited is the *footprint*: pages of slabs and large blocks, and free pages that have not gone back. Untouched pages of large
//! blocks count, as they do against `ulimit -v`: a promise that cannot be kept is better not given.
//!
//! Beyond the **soft** limit memory is given back at once and without regard to what might be wanted again. Where that is not
//! enough the program is told, once until the footprint has been below nine tenths of the limit. The **hard** limit is not crossed: before an allocation
//! fails, everything that can be given back is, cached blocks included. It then fails like any other for which there is no
//! memory: null and `ENOMEM`, or an error in Rust. Nothing else is lost, and after something was freed all goes on as before.
//!
//! A limit is a number of bytes, or per cent of what the process's control groups allow (of the machine's memory where they
//! allow anything).
//!
//! # Safety
//!
//! `CALLBACK` is null or was a [`Callback`].
#![allow(unsafe_code)]

use core::mem::transmute;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::linux;

use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::{background, gate, slow::LEVELS};

/// A limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// So many bytes.
    Bytes(usize),
    /// So many per cent of what the control groups allow, or of the machine's memory.
    Percent(u8),
}

impl Amount {
    /// The limit in bytes at this moment.
    ///
    /// ```
    /// use freestone::limit::Amount;
    /// assert_eq!(Amount::Bytes(1 << 30).bytes(), 1 << 30);
    /// assert!(Amount::Percent(50).bytes() < Amount::Percent(100).bytes());
    /// ```
    pub fn bytes(self) -> usize {
        match self {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(part) => {
                let machine = linux::process::machine_memory();
                let allowed = linux::cgroup::memory_limit().map_or(machine, |limit| limit.min(machine));
                allowed / 100 * part as usize
            }
        }
    }
}

/// The soft limit in pages, `usize::MAX` for none.
static SOFT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// What is told that the soft limit was crossed.
static CALLBACK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Told that the soft limit was crossed: the footprint and the limit, in bytes.
pub type Callback = extern "C" fn(footprint: usize, limit: usize);

fn pages(limit: Option<usize>) -> usize {
    limit.map_or(usize::MAX, |bytes| bytes >> PAGE_SHIFT)
}

fn bytes(pages: usize) -> Option<usize> {
    (pages != usize::MAX).then_some(pages << PAGE_SHIFT)
}

/// Sets or lifts the hard limit. What exceeds it already stays; nothing is handed out before the footprint is below it again.
///
/// ```
/// use freestone::limit::{self, Amount};
/// limit::set_hard(Some(Amount::Bytes(1 << 40)));
/// assert_eq!(limit::hard(), Some(1 << 40));
/// limit::set_hard(None);
/// ```
pub fn set_hard(limit: Option<Amount>) {
    LEVELS.pages.watch().set_limit(pages(limit.map(Amount::bytes)));
}

/// The hard limit in bytes.
pub fn hard() -> Option<usize> {
    bytes(LEVELS.pages.watch().limit())
}

/// Sets or lifts the soft limit.
pub fn set_soft(limit: Option<Amount>) {
    let limit = pages(limit.map(Amount::bytes));
    SOFT.store(limit, Ordering::Relaxed);
    LEVELS.pages.watch().arm_footprint(limit);
}

/// The soft limit in bytes.
pub fn soft() -> Option<usize> {
    bytes(SOFT.load(Ordering::Relaxed))
}

/// Has `callback` called whenever the footprint crosses the soft limit from below: on the thread that allocates, which holds
/// nothing of the allocator's, so that the callback may allocate and free. `None`: nobody.
///
/// ```
/// extern "C" fn shed_load(footprint: usize, limit: usize) {
///     assert!(footprint > limit);
/// }
/// freestone::limit::on_soft(Some(shed_load));
/// ```
pub fn on_soft(callback: Option<Callback>) {
    let callback = callback.map_or(core::ptr::null_mut(), |callback| callback as *mut ());
    CALLBACK.store(callback, Ordering::Release);
}

/// Bytes in use or waiting for reuse: what is limited. 0 when called by a thread that is inside the allocator (in a signal handler).
pub fn footprint() -> usize {
    pages_now().unwrap_or(0) * PAGE_SIZE
}

/// Whoever holds a lock is inside, or fork would not wait for him.
fn pages_now() -> Option<usize> {
    let inside = gate::enter_patiently()?;
    let pages = LEVELS.pages.footprint().0;
    drop(inside);
    Some(pages)
}

/// Whether the footprint is beyond the soft limit. Inside the gate.
pub(crate) fn is_exceeded() -> bool {
    let soft = SOFT.load(Ordering::Relaxed);
    soft != usize::MAX && LEVELS.pages.footprint().0 > soft
}

/// The page heap's bell rang, perhaps because the soft limit was crossed.
pub(crate) fn attend() {
    let soft = SOFT.load(Ordering::Relaxed);
    let watch = LEVELS.pages.watch();
    if soft == usize::MAX {
        return;
    }
    let Some(footprint) = pages_now() else { return };
    if footprint < low(soft) {
        return watch.arm_footprint(soft);
    }
    // What can go back at once does, before anybody is troubled.
    let footprint = if footprint > soft { purge(footprint, soft / 16) } else { footprint };
    if footprint <= soft || !watch.disarm_footprint(low(soft)) {
        return;
    }
    background::hurry();
    let callback = CALLBACK.load(Ordering::Acquire);
    if !callback.is_null() {
        // SAFETY: not null, so it was a function of this type.
        let callback = unsafe { transmute::<*mut (), Callback>(callback) };
        callback(footprint * PAGE_SIZE, soft * PAGE_SIZE);
    }
}

/// Gives dirty pages back, if there are more than `worth`; the footprint then.
fn purge(footprint: usize, worth: usize) -> usize {
    let Some(inside) = gate::enter() else { return footprint };
    if LEVELS.pages.demand_now().dirty > worth {
        LEVELS.pages.purge_all();
    }
    let footprint = LEVELS.pages.footprint().0;
    drop(inside);
    footprint
}

/// Nine tenths of the soft limit.
fn low(soft: usize) -> usize {
    soft / 10 * 9
}

/// Below nine tenths of the soft limit, its next crossing is told again. Inside the gate.
pub(crate) fn rearm() {
    let soft = SOFT.load(Ordering::Relaxed);
    if soft != usize::MAX && LEVELS.pages.footprint().0 < low(soft) {
        LEVELS.pages.watch().arm_footprint(soft);
    }
}
