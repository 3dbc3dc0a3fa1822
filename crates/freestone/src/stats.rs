//! Figures of the allocator, gathered when asked for.

use freestone_base::{ClassId, class_info};
use freestone_sys::{System, SystemCalls};

use crate::cache::region::Region;
use crate::cache::{cpu, thread};
use crate::counters::{self, CallCounts};
use crate::emergency;
use crate::pageheap::PageHeapStats;
use crate::slow::{CENTRALS, LEVELS};
use crate::start::{self, Mode};
use crate::sync::atomic::Ordering;
use crate::{guard, harden, profile, scavenge, watched};

/// Figures of one size class, in blocks unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClassStats {
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    /// Bytes requested in all allocations.
    pub(crate) requested: u64,
    pub(crate) slabs: usize,
    pub(crate) free_in_slabs: usize,
    pub(crate) in_caches: usize,
    pub(crate) in_transfer: usize,
}

/// A snapshot of the allocator's figures. Bytes unless said otherwise.
///
/// Gathered without stopping anybody: under load the figures belong to slightly different moments.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Bytes in live blocks: as the classes round them, without what is cached.
    pub live_bytes: usize,
    /// Live blocks.
    pub live_blocks: usize,
    /// The highest `live_bytes` so far; followed only while calls are counted.
    pub peak_live_bytes: usize,
    /// Estimate of the bytes that were requested for the live blocks; while calls are counted.
    pub requested_live: usize,
    /// Bytes requested in all allocations; while calls are counted.
    pub requested_total: u64,
    /// The same as the classes rounded them.
    pub allocated_total: u64,
    /// Bytes in blocks that lie in caches and transfer caches.
    pub cached_bytes: usize,
    /// Blocks that lie there.
    pub cached_blocks: usize,
    /// Bytes in blocks that lie free in slabs.
    pub free_in_slabs_bytes: usize,
    /// Blocks that lie free in slabs.
    pub free_in_slabs_blocks: usize,
    /// Live large blocks.
    pub large_blocks: usize,
    /// Bytes in live large blocks.
    pub large_bytes: usize,
    /// Refills of a cache from its central list.
    pub refills: usize,
    /// Flushes of a cache to its central list.
    pub flushes: usize,
    /// Bytes mapped for the emergency allocator, which serves signal handlers and fork handlers.
    pub emergency_bytes: usize,
    /// Calls, while they are counted.
    pub calls: CallCounts,
    /// What the page heap holds.
    pub pages: PageHeapStats,
    /// What was asked of the system.
    pub system: SystemCalls,
}

/// Gathers the figures. O(slabs + caches).
pub(crate) fn collect() -> Stats {
    let pages = LEVELS.pages.stats();
    let calls = counters::call_counts();
    // What was freed and waits behind guards has a span, and is not live.
    let (waiting, waiting_bytes) = [guard::waiting(), harden::waiting_large()]
        .into_iter()
        .fold((0, 0), |all, some| (all.0 + some.0, all.1 + some.1));
    let mut stats = Stats {
        requested_total: calls.large_requested,
        allocated_total: calls.large_requested,
        large_blocks: pages.large_blocks.saturating_sub(waiting),
        large_bytes: pages.large.saturating_sub(waiting_bytes),
        emergency_bytes: emergency::mapped_bytes(),
        calls,
        pages,
        system: LEVELS.pages.system().calls(),
        ..Stats::empty()
    };
    match start::mode() {
        Mode::Cpu => cpu::regions().for_each(|region| stats.add_region(region)),
        Mode::Thread => thread::regions().for_each(|region| stats.add_region(region)),
        Mode::None => {}
    }
    for class in ClassId::firsts() {
        stats.add_class(class);
    }
    let (watched, watched_bytes) = watched::small_blocks();
    let (proxies, proxy_bytes) = profile::proxies();
    stats.live_blocks = (stats.live_blocks + watched + stats.large_blocks).saturating_sub(proxies);
    stats.live_bytes = (stats.live_bytes + watched_bytes).saturating_sub(proxy_bytes);
    stats.requested_live = (stats.requested_live + watched_bytes).saturating_sub(proxy_bytes);
    stats.live_bytes += stats.large_bytes;
    stats.requested_live += stats.large_bytes;
    stats.peak_live_bytes = (calls.peak_live_bytes.max(0) as usize).max(stats.live_bytes);
    stats
}

/// The figures of one class, all its variants together. The gate has been entered. O(caches). Not kept for all classes at once: an array of them does
/// not fit the smallest stacks.
pub(crate) fn of_class(class: ClassId) -> ClassStats {
    let counts = counters::class_counts(class);
    let mut stats = ClassStats {
        allocs: counts.allocs,
        frees: counts.frees,
        requested: counts.requested,
        ..ClassStats::default()
    };
    // Others are not looked at: to lock the list of a class that was never used would make its memory resident.
    for variant in scavenge::served_classes().filter(|variant| variant.first() == class) {
        let central = CENTRALS[variant.index()].stats();
        stats.slabs += central.slabs;
        stats.free_in_slabs += central.free_in_slabs;
        stats.in_transfer += central.in_transfer;
        stats.in_caches += harden::waiting(variant);
        let mut add = |region: Region| stats.in_caches += region.header(variant).len(variant);
        match start::mode() {
            Mode::Cpu => cpu::regions().for_each(&mut add),
            Mode::Thread => thread::regions().for_each(&mut add),
            Mode::None => {}
        }
    }
    stats
}

impl Stats {
    /// All figures zero.
    pub(crate) fn empty() -> Stats {
        Stats {
            live_bytes: 0,
            live_blocks: 0,
            peak_live_bytes: 0,
            requested_live: 0,
            requested_total: 0,
            allocated_total: 0,
            cached_bytes: 0,
            cached_blocks: 0,
            free_in_slabs_bytes: 0,
            free_in_slabs_blocks: 0,
            large_blocks: 0,
            large_bytes: 0,
            refills: 0,
            flushes: 0,
            emergency_bytes: 0,
            calls: CallCounts::default(),
            pages: PageHeapStats::default(),
            system: SystemCalls::default(),
        }
    }

    fn add_region(&mut self, region: Region) {
        // One that has been given up has missed all the same.
        let state = region.state();
        self.refills += state.refills.load(Ordering::Relaxed);
        self.flushes += state.flushes.load(Ordering::Relaxed);
    }

    fn add_class(&mut self, class: ClassId) {
        let info = class_info(class);
        let size = info.size as usize;
        let entry = of_class(class);
        let idle = entry.free_in_slabs + entry.in_caches + entry.in_transfer;
        let live = (entry.slabs * info.blocks as usize).saturating_sub(idle);
        self.live_blocks += live;
        self.live_bytes += live * size;
        self.cached_bytes += (entry.in_caches + entry.in_transfer) * size;
        self.cached_blocks += entry.in_caches + entry.in_transfer;
        self.free_in_slabs_bytes += entry.free_in_slabs * size;
        self.free_in_slabs_blocks += entry.free_in_slabs;
        self.requested_total += entry.requested;
        self.allocated_total += entry.allocs * size as u64;
        let mean = entry.requested.checked_div(entry.allocs).map_or(size, |mean| mean as usize);
        self.requested_live += live * mean;
    }
}
