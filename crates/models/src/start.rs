//! Stands for the allocator's module of this name, which `gate.rs` tells of a fork.

pub(crate) fn before_fork() {}

pub(crate) fn forked_child() {}
