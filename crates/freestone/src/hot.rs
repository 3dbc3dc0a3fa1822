//! What the fast paths read beside the page map: one cache line, written only when the allocator starts and while
//! its caches are stopped.

use crate::cache::region::Region;
use crate::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU16, AtomicUsize};

/// The fast paths' view of the allocator.
///
/// Publication: all other fields are stored before `limit` and `entries` (Release), and before the page map covers anything; who
/// allocates loads one of these first, who frees by address the page map's length (both Acquire). Who frees by size has
/// no such gate: it loads `sized_index` (Acquire) before `rseq_cs`, and both are set by whoever handed the block out.
#[repr(C, align(64))]
pub struct Hot {
    /// Requests below this many bytes may try the per-CPU cache. Zero before the start, in per-thread mode,
    /// while calls are counted, and while they are observed.
    pub(crate) limit: AtomicUsize,
    /// Offset from the thread pointer of the `rseq_cs` field of the registered area.
    pub(crate) rseq_cs: AtomicUsize,
    /// Offset from the thread pointer of the field that numbers the cache: `mm_cid`, or `cpu_id`; or of a
    /// field that reads -1, where the fast path shall always miss.
    pub(crate) rseq_index: AtomicUsize,
    /// Null before the first request. Region of cache 0; before it lies the region of -1, all zeros. Swapped for zeros while the caches are stopped.
    pub(crate) regions: AtomicPtr<u8>,
    /// As `rseq_index`, for who frees with a layout: of a field that reads -1 while a block may be watched, which only its address
    /// tells.
    pub(crate) sized_index: AtomicUsize,
    /// The same as `limit` for Rust's requests: entries of the table of classes below this. Stored with it, after all else.
    pub(crate) entries: AtomicUsize,
    /// While requests are observed: an address below this, in a cache, is that of a watched block, or another one that is for the slow
    /// path to look at. Not zero then, which is nobody's address.
    pub(crate) floor: AtomicUsize,
    /// Offset from the thread pointer of the thread's countdown; set before `counted_end` is, and never unset.
    pub(crate) countdown: AtomicI32,
    /// Requests below this many bytes are counted down and then use the per-CPU caches (`observe.rs`). Zero while nobody observes, or
    /// the caches are not used.
    pub(crate) counted_end: AtomicU16,
    /// What is done beside serving, as bits (`start.rs`); looked at by slow paths only.
    pub(crate) instruments: AtomicU8,
}

const _: () = assert!(size_of::<Hot>() == 64);

/// Stands for the region of -1 from the first request until there are regions: only its header table is ever read.
/// (Not from the beginning: an address would need relocating, and the page a write in every process.)
#[repr(align(64))]
pub(crate) struct Zeros {
    _header: [u8; Region::HEADER_BYTES],
}

pub(crate) static ZEROS: Zeros = Zeros { _header: [0; Region::HEADER_BYTES] };

/// The one instance.
pub static HOT: Hot = Hot {
    limit: AtomicUsize::new(0),
    rseq_cs: AtomicUsize::new(0),
    rseq_index: AtomicUsize::new(0),
    regions: AtomicPtr::new(core::ptr::null_mut()),
    sized_index: AtomicUsize::new(0),
    entries: AtomicUsize::new(0),
    floor: AtomicUsize::new(0),
    countdown: AtomicI32::new(0),
    counted_end: AtomicU16::new(0),
    instruments: AtomicU8::new(0),
};
