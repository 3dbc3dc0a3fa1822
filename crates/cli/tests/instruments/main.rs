//! The instruments on whole programs, as a user takes them.

mod estimates;
mod pprof;
mod programs;
#[path = "../shared/mod.rs"]
mod shared;
