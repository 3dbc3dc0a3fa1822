//! When to collect.

/// How a heap behaves. All sizes are in bytes.
///
/// ```
/// use freestone_gc::{GcConfig, Heap, MarkSweep};
///
/// let config = GcConfig { stress: true, ..GcConfig::default() };
/// let heap = Heap::<(), MarkSweep>::with_config(config, Default::default(), |_| ());
/// assert_eq!(heap.stats().collections, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GcConfig {
    /// How much may be allocated between two collections, in per cent of what was live after the last: 100 lets the heap double.
    pub growth_percent: u32,
    /// How much may be allocated between two collections at least.
    pub min_growth: usize,
    /// Above that much the collector works harder: it lets the heap grow by less, down to an eighth of the usual.
    pub soft_limit: usize,
    /// More than that held from the parent is refused, with [`OutOfMemory`](crate::OutOfMemory). Collectors that copy may go beyond it
    /// while they collect, by what is live (semi-space) or young (generational).
    pub hard_limit: usize,
    /// The length of the nursery (generational).
    pub nursery: usize,
    /// How many microseconds a pause may take, as far as the collector can tell (incremental).
    pub pause_micros: u32,
    /// Collect at each end of [`mutate`](crate::Heap::mutate): finds pointers that were not traced, and handles that were kept.
    pub stress: bool,
}

impl Default for GcConfig {
    fn default() -> Self {
        GcConfig {
            growth_percent: 100,
            min_growth: 1 << 20,
            soft_limit: usize::MAX,
            hard_limit: usize::MAX,
            nursery: 4 << 20,
            pause_micros: 500,
            stress: false,
        }
    }
}
