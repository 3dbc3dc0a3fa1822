//! The lines of the ledger, which put every resident byte of a process in one place.
//!
//! Names and explanations are here because both sides need them: the allocator writes the ledger, the command
//! reads it.
//!
//! ```
//! use freestone_base::ledger::{Line, Share};
//! assert_eq!(Line::FreeDirty.name(), "free_dirty");
//! assert_eq!(Line::FreeDirty.share(), Share::Free);
//! assert_eq!(Line::from_name("stacks"), Some(Line::Stacks));
//! ```

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Blocks in the program's hands.
    Live,
    /// Memory of the heap without a use at present.
    Free,
    /// The allocator's own records.
    Metadata,
    /// Memory that the allocator has nothing to do with.
    Foreign,
}

impl Share {
    /// The share in snake case, as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Share::Live => "live",
            Share::Free => "free",
            Share::Metadata => "metadata",
            Share::Foreign => "foreign",
        }
    }
}

/// A line of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Line {
    /// What the program asked for.
    Live,
    /// What its blocks hold beyond that.
    Rounding,
    /// Free blocks in caches.
    Caches,
    /// Free blocks between caches.
    Transfer,
    /// Free blocks in slabs.
    FreeInSlabs,
    /// Remainders and colours.
    SlabRests,
    /// Free spans that were used.
    FreeDirty,
    /// Free spans that the kernel may take.
    LazilyFreed,
    /// Free spans that were not used since they were last returned.
    HugeOverhang,
    /// The emergency allocator.
    Emergency,
    /// The page map.
    PageMap,
    /// The records of spans.
    Records,
    /// The memory of the caches.
    Regions,
    /// Statics: central lists, transfer caches, counters.
    Statics,
    /// Stacks of threads.
    Stacks,
    /// Files mapped to be executed.
    Code,
    /// Files mapped otherwise, with the variables of program and libraries.
    Files,
    /// Other memory of the process alone.
    OtherAnonymous,
    /// Memory that may be shared with other processes.
    Shared,
    /// What the kernel provides.
    Kernel,
}

/// How many lines there are.
pub const LINES: usize = Line::ALL.len();

struct Info {
    name: &'static str,
    label: &'static str,
    about: &'static str,
}

const fn info(name: &'static str, label: &'static str, about: &'static str) -> Info {
    Info { name, label, about }
}

impl Line {
    /// All lines, in the order in which they are shown.
    pub const ALL: [Line; 20] = [
        Line::Live,
        Line::Rounding,
        Line::Caches,
        Line::Transfer,
        Line::FreeInSlabs,
        Line::SlabRests,
        Line::FreeDirty,
        Line::LazilyFreed,
        Line::HugeOverhang,
        Line::Emergency,
        Line::PageMap,
        Line::Records,
        Line::Regions,
        Line::Statics,
        Line::Stacks,
        Line::Code,
        Line::Files,
        Line::OtherAnonymous,
        Line::Shared,
        Line::Kernel,
    ];

    /// The line's place in [`Line::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The line with this name.
    pub fn from_name(name: &str) -> Option<Line> {
        Line::ALL.into_iter().find(|line| line.name() == name)
    }

    /// The line in snake case, as it is written in files.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// What a report calls the line.
    pub const fn label(self) -> &'static str {
        self.info().label
    }

    /// What is in the line, in a sentence or two.
    pub const fn about(self) -> &'static str {
        self.info().about
    }

    /// What the line is about.
    pub const fn share(self) -> Share {
        match self {
            Line::Live | Line::Rounding => Share::Live,
            Line::Caches
            | Line::Transfer
            | Line::FreeInSlabs
            | Line::SlabRests
            | Line::FreeDirty
            | Line::LazilyFreed
            | Line::HugeOverhang => Share::Free,
            Line::Emergency | Line::PageMap | Line::Records | Line::Regions | Line::Statics => {
                Share::Metadata
            }
            Line::Stacks | Line::Code | Line::Files | Line::OtherAnonymous | Line::Shared | Line::Kernel => {
                Share::Foreign
            }
        }
    }

    const fn info(self) -> Info {
        match self {
            Line::Live => info(
                "live",
                "live, as asked for",
                "The bytes that the program asked for in its live blocks, as far as they are resident.",
            ),
            Line::Rounding => info(
                "rounding",
                "rounding",
                "What live blocks hold beyond the request. Exact for large blocks; for others an estimate from the \
                 mean request of each size class: of all requests when calls are counted, else of those that missed \
                 the cache.",
            ),
            Line::Caches => info(
                "caches",
                "in caches",
                "Free blocks kept in the caches, ready for the next request without any lock; in hardened mode also those that wait until they get there.",
            ),
            Line::Transfer => info(
                "transfer",
                "in transfer",
                "Free blocks in the transfer caches, on their way from one cache to another.",
            ),
            Line::FreeInSlabs => info(
                "free_in_slabs",
                "free in slabs",
                "Blocks that lie free in slabs of which other blocks are live. Only requests of the same size class \
                 can use them.",
            ),
            Line::SlabRests => info(
                "slab_rests",
                "slab remainders",
                "The ends of slabs that are too short for one more block, and what lies before the first block.",
            ),
            Line::FreeDirty => info(
                "free_dirty",
                "free dirty",
                "Free spans that were used and not yet returned: the next large request or the next slab takes \
                 them.",
            ),
            Line::LazilyFreed => info(
                "lazily_freed",
                "lazily freed",
                "Free spans that the kernel takes when memory gets scarce, and counts as resident until then.",
            ),
            Line::HugeOverhang => info(
                "huge_overhang",
                "huge-page overhang",
                "Free spans that nobody used since they were last returned, but which are resident because a huge \
                 page covers them.",
            ),
            Line::Emergency => info(
                "emergency",
                "emergency blocks",
                "The emergency allocator, which serves signal handlers and fork handlers that meet the allocator at \
                 work.",
            ),
            Line::PageMap => {
                info("page_map", "page map", "The table that leads from an address to its span.")
            }
            Line::Records => info("records", "records", "The records of spans, with the free bits of slabs."),
            Line::Regions => info(
                "regions",
                "cache memory",
                "The memory of the caches themselves: the addresses of the blocks that they hold.",
            ),
            Line::Statics => info(
                "statics",
                "central lists",
                "The central lists with the addresses of blocks in transfer, and the counters.",
            ),
            Line::Stacks => info(
                "stacks",
                "stacks",
                "The main thread's stack, and memory that looks like other threads': private, anonymous, right above \
                 a guard.",
            ),
            Line::Code => {
                info("code", "code", "Files that are mapped to be executed: program and libraries.")
            }
            Line::Files => info(
                "files",
                "files and variables",
                "Files that are mapped otherwise, and the variables of program and libraries.",
            ),
            Line::OtherAnonymous => info(
                "other_anonymous",
                "other mappings",
                "Private memory that the program got from the kernel by itself, not from the allocator.",
            ),
            Line::Shared => info(
                "shared",
                "shared memory",
                "Memory that can be shared with other processes and belongs to no file on a disk.",
            ),
            Line::Kernel => {
                info("kernel", "kernel", "What the kernel puts into each process: [vdso], [vvar].")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_where_their_index_says_and_have_names_of_their_own() {
        for (index, line) in Line::ALL.into_iter().enumerate() {
            assert_eq!(line.index(), index);
            assert_eq!(Line::from_name(line.name()), Some(line));
            assert!(line.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(line.label().len() <= 20 && line.about().ends_with('.'));
        }
        assert_eq!(Line::from_name("nothing"), None);
    }
}
