//! A slot of the kit's `Smp` under loom: its own file, with a flag of which the checker knows every order, and lists that
//! are a checked cell.
//!
//! With the argument `relaxed` every order is relaxed, with `torn` an exchange is a load and a store; the model must find
//! both.
//!
//! Nothing of it is compiled as a unit test: the file is not for these atomics then.
#![allow(rustdoc::broken_intra_doc_links, reason = "files taken in speak of others that are not")]

#[cfg(not(test))]
mod home;
#[cfg(not(test))]
mod lists;
#[cfg(not(test))]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/smp/slot.rs"]
mod slot;
#[cfg(not(test))]
mod sync;

/// Two threads count in one slot; one waits for it, one goes away when it is taken.
#[cfg(not(test))]
fn count() {
    use loom::sync::Arc;

    let slot = Arc::new(slot::Slot::new());
    // The checked atomic and the cell are made by the first thread.
    slot.lock().add();
    let other = slot.clone();
    let waiting = loom::thread::spawn(move || other.lock().add());
    let tried = slot.try_lock().map(|mut lists| lists.add()).is_some();
    waiting.join().unwrap();
    assert_eq!(slot.lock().count(), 2 + u32::from(tried));
}

fn main() {
    #[cfg(not(test))]
    {
        sync::FAULT.set(match std::env::args().nth(1).as_deref() {
            Some("relaxed") => sync::Fault::Relaxed,
            Some("torn") => sync::Fault::Torn,
            _ => sync::Fault::None,
        });
        loom::model(count);
    }
}
