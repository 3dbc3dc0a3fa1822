//! Freestone's lock-free protocols under model checkers.
//!
//! Two checkers, each for what it does best:
//!
//! * loom tries every interleaving and every value that a weak memory order lets a load return. Under it run
//!   the allocator's own source files `emergency.rs`, `deferred.rs` and `gate.rs`, compiled here against the atomics
//!   of [`sync`].
//! * shuttle runs many random interleavings of larger programs. Under it runs [`regions`], a model of
//!   the per-CPU caches and of the kernel's side of restartable sequences.
//!
//! Each model can be run with a fault on purpose, a [`sync::Fault`] or one of [`regions::Fault`]; the tests demand that
//! the checker finds each of them.

#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/deferred.rs"]
mod deferred;
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/emergency.rs"]
mod emergency;
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/gate.rs"]
mod gate;

pub mod models;
pub mod regions;
mod start;
pub mod sync;
mod tls;
