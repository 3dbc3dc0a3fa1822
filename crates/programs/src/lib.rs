//! Real programs as the test of the allocator.
//!
//! Each [`job::Job`] does real work with a program from Debian's packages: once as it is, and once
//! for each [`setting::Setting`] with the library preloaded. What the job notes, that is, the
//! output, the exit code, digests of the files made, must be the same. What they
//! cost in time and memory is the bench's to say.

pub mod evidence;
pub mod job;
pub mod jobs;
pub mod ledger;
pub mod library;
pub mod notify;
pub mod os;
pub mod place;
pub mod process;
pub mod refusal;
pub mod server;
pub mod session;
pub mod setting;
pub mod step;
pub mod user;
