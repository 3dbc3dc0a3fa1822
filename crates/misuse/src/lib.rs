//! What programs do wrong with memory, and what an allocator makes of it.
//!
//! `cases/` holds one small C or C++ function for each fault. Each is committed in a process of its own, with a library
//! preloaded, and comes to one of five [ends](outcome::Outcome). `expected/MODE.txt` promises the end and the exact
//! message of each fault in each [`Mode`]; the test `tests/misuse.rs` holds the library to it, and the command
//! `freestone-misuse matrix` makes the table of `docs/safety.md`, with other allocators beside ours.

pub mod cases;
pub mod expectation;
pub mod matrix;
pub mod outcome;
pub mod peers;

/// A way of running Freestone that has promises of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// How tables and files call it.
    pub name: &'static str,
    /// What stands in `FREESTONE_CONF`.
    pub conf: &'static str,
    /// Faults are found as they happen: the cases need not give an allocator many occasions.
    pub at_once: bool,
}

/// All modes. One without a file in `expected/` promises nothing yet.
pub const MODES: [Mode; 4] = [
    Mode { name: "default", conf: "", at_once: false },
    Mode { name: "hardened", conf: "harden:1", at_once: false },
    Mode { name: "guarded", conf: "guard:1", at_once: false },
    Mode { name: "debug", conf: "debug:1", at_once: true },
];

/// The mode of this name.
///
/// # Errors
/// A sentence with the names that there are.
///
/// ```
/// assert_eq!(freestone_misuse::mode("hardened").unwrap().conf, "harden:1");
/// assert!(freestone_misuse::mode("hard").unwrap_err().contains("default, hardened"));
/// ```
pub fn mode(name: &str) -> Result<Mode, String> {
    MODES.into_iter().find(|mode| mode.name == name).ok_or_else(|| {
        let names = MODES.map(|mode| mode.name).join(", ");
        format!("there is no mode {name:?}: it may be {names}")
    })
}
