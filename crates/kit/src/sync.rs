//! Locks and atomics of the kit.
