//! What the soak programs share: the allocator they run on, the walk that watches over it, their
//! arguments, and contents that can be recognised.
//!
//! Each program works on the heap until its time is up, checks the results of the work, and lets
//! a thread of its own walk through the allocator's structures all the while. `ok` at the end
//! means that every result and every walk was right; anything else ends the process.

pub mod args;
pub mod content;
pub mod heap;
pub mod watch;

pub use args::Args;
pub use content::{checksum, content};
pub use watch::Watch;
