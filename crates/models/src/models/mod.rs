//! The models that run the allocator's own source files under loom, which runs all threads of a model on one.

pub mod company;
pub mod custody;
pub mod deferred;
pub mod emergency;
pub mod gate;

use loom::cell::UnsafeCell;

/// What the holder of a block writes. loom ends the model where two uses are not ordered, one of them a write.
struct Contents(UnsafeCell<u32>);

impl Contents {
    fn new() -> Contents {
        Contents(UnsafeCell::new(0))
    }

    /// Uses the block, whose holder is the caller alone.
    fn write(&self) {
        self.0.with_mut(|_| ());
    }

    /// Looks at what nobody may change meanwhile.
    fn read(&self) {
        self.0.with(|_| ());
    }
}
