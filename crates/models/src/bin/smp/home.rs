//! Which slot a thread of the model goes to first, and who is in which.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;

shuttle::thread_local! {
    static HOME: Cell<usize> = Cell::new(0);
}

/// The slots that somebody is in.
static INSIDE: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

pub(crate) fn cpus() -> usize {
    unreachable!("the model says how many slots there are")
}

pub(crate) fn pause() {
    shuttle::thread::yield_now();
}

pub(crate) fn get() -> usize {
    HOME.with(Cell::get)
}

pub(crate) fn set(slot: usize) {
    HOME.with(|home| home.set(slot));
}

pub(crate) fn entered(slot: usize) {
    let alone = INSIDE.lock().unwrap().insert(slot);
    assert!(alone, "two threads have one slot");
    // Another thread may run while this one has the slot.
    shuttle::thread::yield_now();
}

pub(crate) fn leaving(slot: usize) {
    INSIDE.lock().unwrap().remove(&slot);
}
