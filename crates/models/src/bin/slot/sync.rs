//! The kit's atomics under loom, faulty on demand.

use std::cell::Cell;

/// What is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Relaxed,
    Torn,
}

std::thread_local! {
    // loom runs all threads of a model on the thread that called it.
    pub(crate) static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

pub(crate) mod atomic {
    use std::sync::OnceLock;

    pub(crate) use loom::sync::atomic::Ordering;

    use super::{FAULT, Fault};

    /// loom's own cannot be made by a `const fn`, so it is made on first use.
    pub(crate) struct AtomicBool(bool, OnceLock<loom::sync::atomic::AtomicBool>);

    impl AtomicBool {
        pub(crate) const fn new(value: bool) -> AtomicBool {
            AtomicBool(value, OnceLock::new())
        }

        fn checked(&self) -> &loom::sync::atomic::AtomicBool {
            self.1.get_or_init(|| loom::sync::atomic::AtomicBool::new(self.0))
        }

        pub(crate) fn load(&self, order: Ordering) -> bool {
            self.checked().load(order)
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            let order = if FAULT.get() == Fault::Relaxed { Ordering::Relaxed } else { order };
            self.checked().store(value, order);
        }

        pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
            match FAULT.get() {
                Fault::None => self.checked().swap(value, order),
                Fault::Relaxed => self.checked().swap(value, Ordering::Relaxed),
                Fault::Torn => {
                    let was = self.checked().load(Ordering::Acquire);
                    self.checked().store(value, Ordering::Release);
                    was
                }
            }
        }
    }
}
