//! Freestone's lock-free protocols under model checkers.
//!
//! Two checkers, each for what it does best:
//!
//! * loom tries every interleaving and every value that a weak memory order lets a load return. Under it run
//!   the allocator's own source files `emergency.rs`, `deferred.rs`, `gate.rs`, `cache/custody.rs` and `sync/company.rs`, compiled here against the atomics
//!   of [`sync`].
//! * shuttle runs many random interleavings of larger programs. Under it runs [`regions`], a model of
//!   the per-CPU caches and of the kernel's side of restartable sequences.
//!
//! Each model can be run with a fault on purpose, a [`sync::Fault`] or one of [`regions::Fault`]; the tests demand that
//! the checker finds each of them.
//!
//! Nothing here is compiled as a unit test: the allocator's files bring tests that are not for checked atomics.

#[cfg(not(test))]
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/sync/company.rs"]
mod company;
#[cfg(not(test))]
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/cache/custody.rs"]
mod custody;
#[cfg(not(test))]
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/deferred.rs"]
mod deferred;
#[cfg(not(test))]
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/emergency.rs"]
mod emergency;
#[cfg(not(test))]
#[allow(dead_code, reason = "the allocator's file; the models use a part of it")]
#[path = "../../freestone/src/gate.rs"]
mod gate;

#[cfg(not(test))]
pub mod models;
#[cfg(not(test))]
pub mod regions;
#[cfg(not(test))]
mod start;
#[cfg(not(test))]
pub mod sync;
#[cfg(not(test))]
mod tls;
