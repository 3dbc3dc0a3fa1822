//! The atomics of the counted handles, behind a door where a model checker can stand in for them.

pub(crate) use core::sync::atomic::{AtomicU32, Ordering};

/// While another thread is about to do its part.
pub(crate) use core::hint::spin_loop as let_others;
