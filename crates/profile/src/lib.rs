//! Heap profiles of the Freestone allocator: from the addresses that a process writes down to names, files and pictures.
//!
//! ```text
//! freestone::profile::write ─ text ─► Raw::parse ─► Symbols::resolve ─► Profile ─┬► pprof (gzip), folded stacks, flame graph, list
//!                                                                              └► less another Profile: what grew
//! ```
//!
//! The work is done outside the process that is looked at, or at least off its hot paths: symbols are read from the files that its
//! mappings name, if their build ids are still those.
//!
//! ```
//! use freestone_profile::{Measure, Profile, Raw, Symbols};
//!
//! let text = "freestone-heap-profile 1\nmean 524288\nmap 1000-2000 0 - /nowhere/program\n\
//!             site main 2 2 2.00 64 2.00 64 2.00 64 0.00 0 0 : 1010 1020\nend 1\n";
//! let raw = Raw::parse(text).unwrap();
//! let profile: Profile = Symbols::new().resolve(&raw);
//! assert_eq!(profile.total(Measure::LiveBytes), 64.0);
//! assert!(profile.folded(Measure::LiveBytes).ends_with(" 64\n"));
//! ```

mod names;
mod pprof;
mod profile;
mod raw;
mod symbols;
mod views;

pub use profile::{Frame, Measure, Profile, Stack};
pub use raw::{Damage, Mapping, Raw, Site};
pub use symbols::{Places, Symbols};
