//! What was found, as data and as text.

use core::fmt;

use super::trace::Trace;

/// A misuse of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A block was freed that was freed before.
    DoubleFree,
    /// A block was grown or shrunk that was freed before.
    ResizeAfterFree,
    /// What was freed is no block of this allocator.
    InvalidFree {
        /// What was freed.
        address: usize,
        /// Where in the block that the report names it lies, if it lies in one.
        offset: Option<usize>,
    },
    /// A block was freed or resized with another size than it has.
    WrongSize {
        /// The size given, in bytes.
        given: usize,
    },
    /// A block was freed or resized with another alignment than it has.
    WrongAlign {
        /// The alignment given, in bytes.
        given: usize,
    },
    /// Something touched the bytes behind a block.
    Overrun {
        /// How far behind the last byte, at least 1.
        distance: usize,
    },
    /// Something touched the bytes before a block.
    Underrun {
        /// How far before the first byte, at least 1.
        distance: usize,
    },
    /// Something wrote to a freed block.
    WriteAfterFree {
        /// The first byte of the block that was changed.
        offset: usize,
    },
    /// Something touched the memory of a freed block, which is not accessible any more.
    UseAfterFree {
        /// Where, from the beginning of the block.
        offset: isize,
    },
    /// Blocks that were never freed, all allocated at one place.
    Leak {
        /// How many.
        blocks: usize,
        /// Their bytes together.
        bytes: usize,
    },
}

/// A block that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its address.
    pub address: usize,
    /// Its size in bytes, as requested.
    pub size: usize,
    /// Its alignment in bytes, as requested.
    pub align: usize,
}

/// What led to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occasion {
    /// A free.
    Free,
    /// A grow, a shrink or a resize in place.
    Resize,
    /// An allocation, during which memory freed before was looked at.
    Allocation,
    /// A check, asked for or due.
    Check,
    /// The access itself, which faulted.
    Access,
}

/// A fault, the block it was committed on, and where everything happened.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub(super) fault: Fault,
    pub(super) block: Option<BlockInfo>,
    pub(super) occasion: Occasion,
    pub(super) allocated: Trace,
    pub(super) freed: Option<Trace>,
    pub(super) found: Trace,
}

impl Report {
    /// The misuse.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The block: of several that leaked at one place the first, of an invalid free the one that the address lies in.
    pub fn block(&self) -> Option<BlockInfo> {
        self.block
    }

    /// What led to it.
    pub fn occasion(&self) -> Occasion {
        self.occasion
    }

    /// Where the block was allocated.
    pub fn allocated(&self) -> &Trace {
        &self.allocated
    }

    /// Where the block was freed, if it was; of a double free, the first time.
    pub fn freed(&self) -> Option<&Trace> {
        self.freed.as_ref()
    }

    /// Where it was found: of a double free, the second free.
    pub fn found(&self) -> &Trace {
        &self.found
    }

    /// The fault in a line, without addresses, the same in every run.
    pub fn summary(&self) -> String {
        let block = match self.block {
            Some(block) => format!("a block of {} bytes", block.size),
            None => "no block of this allocator".to_string(),
        };
        let on = if self.occasion == Occasion::Resize { "resize" } else { "free" };
        match self.fault {
            Fault::DoubleFree => format!("double free of {block}"),
            Fault::ResizeAfterFree => format!("resize of {block} that was freed"),
            Fault::InvalidFree { offset: Some(offset), .. } => {
                format!("invalid free of an address inside {block}, at offset {offset}")
            }
            Fault::InvalidFree { offset: None, .. } => format!("invalid free of what is {block}"),
            Fault::WrongSize { given } => format!("wrong size on {on} of {block}: given {given}"),
            Fault::WrongAlign { given } => {
                let align = self.block.map_or(0, |block| block.align);
                format!("wrong alignment on {on} of {block}: it has {align}, given {given}")
            }
            Fault::Overrun { distance } => format!("overrun of {block}, {} behind its end", bytes(distance)),
            Fault::Underrun { distance } => {
                format!("underrun of {block}, {} before its beginning", bytes(distance))
            }
            Fault::WriteAfterFree { offset } => format!("write after free to {block}, at offset {offset}"),
            Fault::UseAfterFree { offset } => format!("use after free of {block}, at offset {offset}"),
            Fault::Leak { blocks: 1, .. } => format!("leak of {block}"),
            Fault::Leak { blocks, bytes } => format!("leak of {blocks} blocks, {bytes} bytes in all"),
        }
    }

    fn found_as(&self) -> &'static str {
        match (self.fault, self.occasion) {
            (Fault::DoubleFree, _) => "freed a second time",
            (_, Occasion::Access) => "accessed",
            (
                Fault::InvalidFree { .. } | Fault::WrongSize { .. } | Fault::WrongAlign { .. },
                Occasion::Free,
            ) => "freed",
            (Fault::InvalidFree { .. } | Fault::WrongSize { .. } | Fault::WrongAlign { .. }, _) => "resized",
            (Fault::ResizeAfterFree, _) => "resized",
            (_, Occasion::Free) => "found at a free",
            (_, Occasion::Resize) => "found at a resize",
            (_, Occasion::Allocation) => "found at an allocation",
            (_, Occasion::Check) => "found by a check",
        }
    }
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_string() } else { format!("{count} bytes") }
}

/// The whole report: a line with the fault, then the traces.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match (self.fault, self.block) {
            (Fault::InvalidFree { address, .. }, _) => address,
            (_, Some(block)) => block.address,
            (_, None) => 0,
        };
        writeln!(f, "freestone debug: {} (at {place:#x})", self.summary())?;
        let mut section = |title: &str, trace: &Trace| {
            writeln!(f, "  {title} by thread {}:", trace.thread())?;
            write!(f, "{trace}")
        };
        if self.block.is_some() {
            section("allocated", &self.allocated)?;
        }
        if let Some(freed) = &self.freed {
            section(if self.fault == Fault::DoubleFree { "first freed" } else { "freed" }, freed)?;
        }
        if !matches!(self.fault, Fault::Leak { .. }) {
            section(self.found_as(), &self.found)?;
        }
        Ok(())
    }
}

/// Writes a report to the standard error output.
pub fn to_stderr(report: &Report) {
    // One call, so that the lines of two threads do not mix.
    eprint!("{report}");
}

/// Sends a report to the [`log`] crate, at the level `error`.
pub fn to_log(report: &Report) {
    log::error!(target: "freestone_kit::debug", "{report}");
}

/// How many reports one call can bring about; what is beyond is found again by the next check.
const MOST: usize = 4;

/// The reports of a call, until the lock is released.
pub(super) struct Found {
    reports: [Option<Report>; MOST],
    len: usize,
}

impl Found {
    pub(super) fn new() -> Found {
        Found { reports: [None; MOST], len: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == MOST
    }

    pub(super) fn add(&mut self, report: Report) {
        if !self.is_full() {
            self.reports[self.len] = Some(report);
            self.len += 1;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}
