//! What a slot guards: here a word of which the checker knows who uses it.

use std::sync::OnceLock;

use loom::cell::UnsafeCell;

pub(super) struct Lists(OnceLock<UnsafeCell<u32>>);

impl Lists {
    pub(super) const fn new() -> Lists {
        Lists(OnceLock::new())
    }

    /// Loom ends the model where two uses are not ordered.
    pub(super) fn used(&mut self) {
        self.0.get_or_init(|| UnsafeCell::new(0)).with_mut(|_| ());
    }
}
