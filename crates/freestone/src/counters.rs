//! Counting of calls, when asked for (`count:1`). The fast paths' gates stay closed then, so counting costs
//! nothing where it is off.
//!
//! Counters are spread over shards by thread; the peak of live bytes is followed through a common counter
//! that each shard adds to once its own change exceeds a small part of it.

use freestone_base::{CLASS_COUNT, ClassId, class_info};

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::tls;

const SHARDS: usize = 8;

/// What a call was, as the program sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Call {
    /// malloc, and all that is not told apart.
    Malloc,
    /// calloc.
    Calloc,
    /// memalign and its kin.
    Aligned,
    /// C++'s `new` and `delete`.
    New,
    /// Those of arrays.
    NewArray,
    /// Those with an alignment.
    AlignedNew,
    /// Those of arrays with an alignment.
    AlignedNewArray,
    /// The allocation or free inside a realloc that moves: not a call of its own.
    Inner,
}

impl Call {
    /// The call of this number, as `call as u8`.
    pub(crate) fn from_number(number: u8) -> Call {
        const ALL: [Call; 8] = [
            Call::Malloc,
            Call::Calloc,
            Call::Aligned,
            Call::New,
            Call::NewArray,
            Call::AlignedNew,
            Call::AlignedNewArray,
            Call::Inner,
        ];
        ALL.get(usize::from(number)).copied().unwrap_or(Call::Malloc)
    }
}

#[repr(align(128))]
struct Shard {
    malloc: AtomicU64,
    calloc: AtomicU64,
    aligned: AtomicU64,
    realloc: AtomicU64,
    realloc_in_place: AtomicU64,
    free: AtomicU64,
    failed: AtomicU64,
    allocs: [AtomicU64; CLASS_COUNT],
    frees: [AtomicU64; CLASS_COUNT],
    requested: [AtomicU64; CLASS_COUNT],
    large_allocs: AtomicU64,
    large_frees: AtomicU64,
    large_requested: AtomicU64,
    slow_entries: AtomicU64,
    slow_ns: AtomicU64,
    emergency: AtomicU64,
    /// Change of live bytes not yet added to `LIVE`.
    pending: AtomicI64,
}

impl Shard {
    const fn new() -> Shard {
        Shard {
            malloc: AtomicU64::new(0),
            calloc: AtomicU64::new(0),
            aligned: AtomicU64::new(0),
            realloc: AtomicU64::new(0),
            realloc_in_place: AtomicU64::new(0),
            free: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            allocs: [const { AtomicU64::new(0) }; CLASS_COUNT],
            frees: [const { AtomicU64::new(0) }; CLASS_COUNT],
            requested: [const { AtomicU64::new(0) }; CLASS_COUNT],
            large_allocs: AtomicU64::new(0),
            large_frees: AtomicU64::new(0),
            large_requested: AtomicU64::new(0),
            slow_entries: AtomicU64::new(0),
            slow_ns: AtomicU64::new(0),
            emergency: AtomicU64::new(0),
            pending: AtomicI64::new(0),
        }
    }
}

static POOL: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// What was asked for in requests that missed the cache: a sample that costs the fast path nothing. For each class the
/// bytes in the upper bits and the requests in the lower.
static SAMPLES: [AtomicU64; CLASS_COUNT] = [const { AtomicU64::new(0) }; CLASS_COUNT];

const SAMPLE_BITS: u32 = 20;
const SAMPLE_MASK: u64 = (1 << SAMPLE_BITS) - 1;

/// A request missed the cache. Not one exchange: a sample that is lost now and then is still one.
pub(crate) fn on_miss(class: ClassId, requested: usize) {
    let place = &SAMPLES[class.index()];
    let mut sample = place.load(Ordering::Relaxed);
    if sample & SAMPLE_MASK == SAMPLE_MASK {
        // Older requests count half from now on.
        sample = sample >> (SAMPLE_BITS + 1) << SAMPLE_BITS | (SAMPLE_MASK >> 1);
    }
    place.store(sample + ((requested as u64) << SAMPLE_BITS) + 1, Ordering::Relaxed);
}

/// Requests of one class and the bytes in them, all or a sample: a mean is to be made of it.
pub(crate) fn requests_of(class: ClassId) -> (u64, u64) {
    let counts = class_counts(class);
    if counts.allocs > 0 {
        return (counts.allocs, counts.requested);
    }
    let sample = SAMPLES[class.index()].load(Ordering::Relaxed);
    (sample & SAMPLE_MASK, sample >> SAMPLE_BITS)
}

/// The addresses of the counters, from a start to an end.
pub(crate) fn memory() -> (usize, usize) {
    let start = core::ptr::from_ref(&POOL).addr();
    (start, start + size_of_val(&POOL))
}

fn shard() -> &'static Shard {
    &POOL[(core::ptr::from_ref(tls::current()).addr() >> 12) % SHARDS]
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn change_live(shard: &Shard, by: i64) {
    let pending = shard.pending.fetch_add(by, Ordering::Relaxed) + by;
    if pending.unsigned_abs() as i64 > LIVE.load(Ordering::Relaxed) >> 8 {
        let taken = shard.pending.swap(0, Ordering::Relaxed);
        let live = LIVE.fetch_add(taken, Ordering::Relaxed) + taken;
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
}

/// A block was handed out: of `class`, or a large one of `bytes`.
pub(crate) fn on_alloc(call: Call, class: ClassId, requested: usize, bytes: usize) {
    let (shard, class) = (shard(), class.first());
    match call {
        Call::Malloc | Call::New | Call::NewArray => add(&shard.malloc, 1),
        Call::Calloc => add(&shard.calloc, 1),
        Call::Aligned | Call::AlignedNew | Call::AlignedNewArray => add(&shard.aligned, 1),
        Call::Inner => {}
    }
    if class == ClassId::NONE {
        add(&shard.large_allocs, 1);
        add(&shard.large_requested, requested as u64);
        change_live(shard, bytes as i64);
    } else {
        add(&shard.allocs[class.index()], 1);
        add(&shard.requested[class.index()], requested as u64);
        change_live(shard, class_info(class).size as i64);
    }
}

/// A block was freed: of `class`, or a large one of `bytes`.
pub(crate) fn on_free(call: Call, class: ClassId, bytes: usize) {
    let (shard, class) = (shard(), class.first());
    if call != Call::Inner {
        add(&shard.free, 1);
    }
    if class == ClassId::NONE {
        add(&shard.large_frees, 1);
        change_live(shard, -(bytes as i64));
    } else {
        add(&shard.frees[class.index()], 1);
        change_live(shard, -i64::from(class_info(class).size));
    }
}

/// A large block changed its size in place (or by moving pages).
pub(crate) fn on_resize(old_bytes: usize, new_bytes: usize) {
    change_live(shard(), new_bytes as i64 - old_bytes as i64);
}

pub(crate) fn on_realloc(in_place: bool) {
    let shard = shard();
    add(&shard.realloc, 1);
    add(&shard.realloc_in_place, u64::from(in_place));
}

pub(crate) fn on_failure() {
    add(&shard().failed, 1);
}

pub(crate) fn on_slow(ns: u64) {
    let shard = shard();
    add(&shard.slow_entries, 1);
    add(&shard.slow_ns, ns);
}

pub(crate) fn on_emergency() {
    add(&shard().emergency, 1);
}

/// The sums over all shards.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct CallCounts {
    pub malloc: u64,
    pub calloc: u64,
    pub aligned: u64,
    pub realloc: u64,
    pub realloc_in_place: u64,
    pub free: u64,
    pub failed: u64,
    pub large_allocs: u64,
    pub large_frees: u64,
    pub large_requested: u64,
    pub slow_entries: u64,
    pub slow_ns: u64,
    pub emergency: u64,
    pub live_bytes: i64,
    pub peak_live_bytes: i64,
}

/// Allocations, frees and requested bytes of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClassCounts {
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    pub(crate) requested: u64,
}

fn sum(counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
    POOL.iter().map(|shard| counter(shard).load(Ordering::Relaxed)).sum()
}

pub(crate) fn class_counts(class: ClassId) -> ClassCounts {
    ClassCounts {
        allocs: sum(|shard| &shard.allocs[class.index()]),
        frees: sum(|shard| &shard.frees[class.index()]),
        requested: sum(|shard| &shard.requested[class.index()]),
    }
}

pub(crate) fn call_counts() -> CallCounts {
    let pending: i64 = POOL.iter().map(|shard| shard.pending.load(Ordering::Relaxed)).sum();
    let live_bytes = LIVE.load(Ordering::Relaxed) + pending;
    CallCounts {
        malloc: sum(|shard| &shard.malloc),
        calloc: sum(|shard| &shard.calloc),
        aligned: sum(|shard| &shard.aligned),
        realloc: sum(|shard| &shard.realloc),
        realloc_in_place: sum(|shard| &shard.realloc_in_place),
        free: sum(|shard| &shard.free),
        failed: sum(|shard| &shard.failed),
        large_allocs: sum(|shard| &shard.large_allocs),
        large_frees: sum(|shard| &shard.large_frees),
        large_requested: sum(|shard| &shard.large_requested),
        slow_entries: sum(|shard| &shard.slow_entries),
        slow_ns: sum(|shard| &shard.slow_ns),
        emergency: sum(|shard| &shard.emergency),
        live_bytes,
        peak_live_bytes: PEAK.load(Ordering::Relaxed).max(live_bytes),
    }
}
