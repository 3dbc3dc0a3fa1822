//! In the place of a slot's lists: a number in a cell that loom watches.
//!
//! # Safety
//!
//! loom itself ends the model at an access that another one does not happen before; that is the question here.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use loom::cell::UnsafeCell;

pub(crate) struct Lists(OnceLock<UnsafeCell<u32>>);

impl Lists {
    pub(crate) const fn new() -> Lists {
        Lists(OnceLock::new())
    }

    fn cell(&self) -> &UnsafeCell<u32> {
        self.0.get_or_init(|| UnsafeCell::new(0))
    }

    pub(crate) fn add(&mut self) {
        // SAFETY: checked by loom.
        self.cell().with_mut(|number| unsafe { *number += 1 });
    }

    pub(crate) fn count(&self) -> u32 {
        // SAFETY: checked by loom.
        self.cell().with(|number| unsafe { *number })
    }
}
