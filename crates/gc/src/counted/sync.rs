//! The atomics of the counted handles, behind a door where a model checker can stand in for them.

pub(crate) use core::sync::atomic::{AtomicU32, Ordering};
