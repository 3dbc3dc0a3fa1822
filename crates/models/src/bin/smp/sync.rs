//! The kit's atomics: the slots' flag is checked, and faulty on demand; the rest is plain.

pub(crate) mod atomic {
    pub(crate) use core::sync::atomic::{AtomicUsize, Ordering};

    use super::TORN;

    /// The flag of a slot.
    pub(crate) struct AtomicBool(shuttle::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) const fn new(value: bool) -> AtomicBool {
            AtomicBool(shuttle::sync::atomic::AtomicBool::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> bool {
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            self.0.store(value, order);
        }

        pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
            if TORN.load(Ordering::Relaxed) {
                let was = self.load(Ordering::SeqCst);
                // A flag that is as it should be is left alone: setting it again after its owner took it back would lose the slot, and
                // the threads that wait for it would never come to where two are in one.
                if was != value {
                    self.store(value, Ordering::SeqCst);
                }
                return was;
            }
            self.0.swap(value, order)
        }
    }
}

/// Whether an exchange is torn into a load and a store.
pub(crate) static TORN: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
