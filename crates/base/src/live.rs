//! The shared page: the small file in which a running process shows its figures, word by word.
//!
//! A process that has opened its control writes the file `PID.page`; the command `freestone top` reads it. Both know the layout
//! from here. All of it is words of 64 bits in the machine's own byte order:
//!
//! ```text
//! 0   header     who writes, and since when; see `word`
//! 16  figures    one word each, in the order of `Figure::ALL`
//! 64  history    a count, the nanoseconds between samples, then `SAMPLES` pairs of (resident, live)
//! …   classes    a count, then `CLASS_WORDS` words each, in the order of `ClassFigure::ALL`
//! ```
//!
//! The word [`word::SEQUENCE`] is a sequence lock: odd while the words behind the header change. Who reads the same even
//! number before and after has read figures of one moment.

/// The first word of the file.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"FREESTON");

/// The version of the layout. It changes whenever a word changes its meaning or its place.
pub const LAYOUT: u64 = 1;

/// The words of the header.
pub mod word {
    /// [`MAGIC`](super::MAGIC), written last.
    pub const MAGIC: usize = 0;
    /// [`LAYOUT`](super::LAYOUT).
    pub const LAYOUT: usize = 1;
    /// The process, as it numbers itself.
    pub const PROCESS: usize = 2;
    /// When the kernel started it: field 22 of `/proc/PID/stat`. Tells it from a later process of the same number.
    pub const START: usize = 3;
    /// The sequence lock.
    pub const SEQUENCE: usize = 4;
    /// The version of the library: major, minor and patch number, 16 bits each.
    pub const LIBRARY: usize = 5;
    /// The monotonic clock when the file was made, in nanoseconds.
    pub const OPENED: usize = 6;
    /// The kind of cache: 0 none, 1 one a CPU, 2 one a thread.
    pub const CACHE: usize = 7;
}

/// Declares an enum of figures with their names and meanings.
macro_rules! figures {
    ($(#[$about:meta])* $type:ident { $($variant:ident $name:literal $meaning:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $type {
            $(#[doc = $meaning] $variant,)*
        }

        impl $type {
            /// All of them, in the order in which they lie in the page.
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            /// The name by which programs know it.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }

            /// What it says, in a line.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($type::$variant => $meaning,)*
                }
            }
        }
    };
}

figures! {
    /// A figure of the whole process. Bytes unless said otherwise.
    Figure {
        Updated "updated_ns" "the monotonic clock at the last change, in nanoseconds",
        Counted "counted" "1 while every call is counted, else 0, and the calls stand still",
        Resident "resident" "the resident set of the process, as the kernel has it",
        Live "live" "in live blocks, as the classes round them",
        LiveBlocks "live_blocks" "live blocks, a count",
        PeakLive "peak_live" "the most that was live; exact while calls are counted",
        Cached "cached" "free blocks in caches and transfer caches",
        FreeInSlabs "free_in_slabs" "free blocks in slabs that have live ones, too; in part not resident",
        Slabs "slabs" "slabs, whatever is in them",
        Large "large" "live large blocks, a part of what is live",
        LargeBlocks "large_blocks" "live large blocks, a count",
        FreeDirty "free_dirty" "free spans that may be resident",
        FreeClean "free_clean" "free spans that are not resident",
        Metadata "metadata" "the allocator's own records",
        PageMap "page_map" "the page map, as far as it is mapped; in part not resident",
        Emergency "emergency" "mapped for signal handlers and fork handlers",
        Mapped "mapped" "mapped for slabs, large blocks and free spans",
        MappedPeak "mapped_peak" "the most that was mapped",
        Malloc "malloc" "calls of malloc, a count",
        Calloc "calloc" "calls of calloc, a count",
        Realloc "realloc" "calls of realloc, a count",
        Aligned "aligned" "calls for aligned memory, a count",
        Free "free" "calls of free, a count",
        Failed "failed" "calls that were refused memory, a count",
        Refills "refills" "batches that went into a cache, a count",
        Flushes "flushes" "batches that went out of a cache, a count",
        SystemCalls "system_calls" "calls to the system for memory, a count",
        BytesMapped "bytes_mapped" "mapped since the start",
        BytesPurged "bytes_purged" "given back since the start, the addresses kept",
        BytesReleased "bytes_released" "given back since the start with their addresses",
    }
}

figures! {
    /// A figure of one size class; blocks unless said otherwise.
    ClassFigure {
        Size "size" "bytes of a block",
        Live "live" "live blocks",
        InCaches "in_caches" "blocks in caches",
        InTransfer "in_transfer" "blocks in the transfer cache",
        FreeInSlabs "free_in_slabs" "free blocks in slabs",
        Slabs "slabs" "slabs of the class",
        Allocs "allocs" "blocks handed out since the start; while calls are counted",
        Frees "frees" "blocks given back since the start; while calls are counted",
    }
}

/// Where the figures begin.
pub const FIGURES: usize = 16;
/// Where the history begins.
pub const HISTORY: usize = 64;
/// Samples in the history, at most. Once there are as many, every second is dropped and the time between them doubles.
pub const SAMPLES: usize = 128;
/// Where the classes begin.
pub const CLASSES: usize = HISTORY + 2 + 2 * SAMPLES;
/// Words of one class.
pub const CLASS_WORDS: usize = ClassFigure::ALL.len();
/// Size classes that there is room for; their variants count with their class.
pub const MOST_CLASSES: usize = 128;
/// Words of the whole page.
pub const WORDS: usize = CLASSES + 1 + MOST_CLASSES * CLASS_WORDS;

const _: () = assert!(FIGURES + Figure::ALL.len() <= HISTORY);

/// The word of a figure.
pub const fn figure(figure: Figure) -> usize {
    FIGURES + figure as usize
}

/// The first word of the class that stands at `place` in the list.
pub const fn class(place: usize) -> usize {
    CLASSES + 1 + place * CLASS_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_room_and_every_figure_a_word_of_its_own() {
        assert!(crate::ClassId::firsts().count() <= MOST_CLASSES);
        for (place, &one) in Figure::ALL.iter().enumerate() {
            assert_eq!(figure(one), FIGURES + place, "{}", one.name());
            assert!(!one.meaning().is_empty());
        }
        assert_eq!(class(MOST_CLASSES), WORDS);
        let mut names: Vec<_> = Figure::ALL.iter().map(|figure| figure.name()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Figure::ALL.len());
    }
}
