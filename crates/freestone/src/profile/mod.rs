//! The heap profile: who holds the memory, by sampling. Cheap enough to be left on.
//!
//! Requests are drawn by lot (one in 512 KiB requested, by default), their call stacks are noted,
//! and their blocks are followed until they are freed. From this every figure is estimated without bias: live
//! bytes, bytes allocated since the beginning, bytes at the peak, each by call site and thread.
//!
//! What comes out is addresses, not names: [`write()`] gives the samples, the mappings and their build ids as text
//! (`docs/profiles.md` describes it), which `freestone profile` or the crate `freestone-profile` make a pprof file, a flame graph or a list of.
//!
//! ```
//! freestone::profile::start(64 << 10).unwrap();
//! // … the program works …
//! let mut text = String::new();
//! freestone::profile::write(&mut text).unwrap();
//! assert!(text.starts_with("freestone-heap-profile 1\n"));
//! freestone::profile::stop();
//! ```

mod array;
mod build_id;
mod dump;
mod idle;
mod leaks;
pub(crate) mod mapped;
mod stranded;
mod table;
mod threads;

use core::fmt;

use freestone_base::{ClassId, class_info};
use freestone_sys::linux;

use crate::observe::{self, Observer};
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{gate, slow, stack};

#[doc(hidden)]
pub use dump::write_at_exit;
pub use dump::{write, write_file, write_with_idle, write_with_lost};
pub use idle::watch as watch_touches;
use table::{Block, Table};

/// The mean distance between two samples unless told otherwise, in requested bytes.
pub const DEFAULT_MEAN: u64 = 512 << 10;
/// The longest mean distance.
pub const LONGEST_MEAN: u64 = observe::LONGEST_MEAN;

/// The frames of our own that lie between the request and the capture at least.
const OWN_FRAMES: usize = 1;

static TABLE: Lock<Table> = Lock::new(Table::new());
/// When the profile began; 0: never.
static BEGAN_NS: AtomicU64 = AtomicU64::new(0);
static BEGAN_UNIX_NS: AtomicU64 = AtomicU64::new(0);
/// The mean distance of the last profile, which may have ended.
static MEAN: AtomicU64 = AtomicU64::new(0);
/// Blocks that stand in ordinary slabs for samples, and their bytes.
static PROXIES: AtomicU64 = AtomicU64::new(0);
static PROXY_BYTES: AtomicU64 = AtomicU64::new(0);

/// Why a profile could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotStarted {
    /// The mean distance is zero or longer than [`LONGEST_MEAN`].
    Distance,
    /// Debug mode is on, in which no block is sampled.
    Debug,
    /// The process forks at this moment, or the caller is a signal handler that interrupted the allocator.
    Busy,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotStarted::Distance => write!(f, "the mean distance must be 1 to {LONGEST_MEAN} bytes"),
            NotStarted::Debug => f.write_str("debug mode is on, in which no profile can be taken"),
            NotStarted::Busy => f.write_str("the allocator cannot be entered at this moment"),
        }
    }
}

impl core::error::Error for NotStarted {}

/// Begins a profile with a mean distance of `mean` requested bytes between samples ([`DEFAULT_MEAN`] costs less than 1 % of a
/// program's time; fewer bytes, more samples). What an earlier profile gathered is forgotten. May be called at any time by any
/// thread but in signal handlers; what was allocated before is not in the profile.
///
/// # Errors
/// See [`NotStarted`]; nothing has changed then.
pub fn start(mean: u64) -> Result<(), NotStarted> {
    if !(1..=LONGEST_MEAN).contains(&mean) {
        return Err(NotStarted::Distance);
    }
    let inside = gate::enter_patiently().ok_or(NotStarted::Busy)?;
    crate::start::ensure();
    let may_begin = !crate::start::debugging();
    if may_begin {
        begin(mean);
    }
    drop(inside);
    if may_begin { Ok(()) } else { Err(NotStarted::Debug) }
}

/// Ends the profile; what it has gathered can still be written, and its live blocks are followed. Harmless when there is none.
pub fn stop() {
    if let Some(inside) = gate::enter_patiently() {
        crate::start::ensure();
        observe::set(Observer::Profile, 0);
        drop(inside);
    }
}

/// The mean distance of the profile under way, in bytes; 0 when there is none.
pub fn mean() -> u64 {
    observe::mean_of(Observer::Profile)
}

/// Whether there was a profile since the start, so that there is something to write.
pub(crate) fn was_begun() -> bool {
    MEAN.load(Ordering::Relaxed) != 0
}

/// The mean distance that an option asked for at the start, plus one; 0: none did.
static WANTED: AtomicU64 = AtomicU64::new(0);

/// Sets the mean distance: of a profile that begins, or 0, which ends one. By option, also before the allocator has started.
pub(crate) fn want(mean: u64) {
    if !crate::start::is_started() {
        WANTED.store(mean + 1, Ordering::Relaxed);
    } else if mean == 0 {
        stop();
    } else if mean != self::mean() {
        let _ = start(mean);
    }
}

/// Begins what options asked for: `by_file` is whether the profile shall be written at the end. The gate has been entered.
pub(crate) fn begin_if_wanted(by_file: bool) {
    let mean = match WANTED.load(Ordering::Relaxed) {
        0 if by_file => DEFAULT_MEAN,
        0 | 1 => return,
        mean => mean - 1,
    };
    if crate::start::debugging() {
        return crate::start::tell("heap_profile and sample cannot take effect in debug mode");
    }
    begin(mean);
}

/// Begins a profile. The gate has been entered, the allocator has started.
pub(crate) fn begin(mean: u64) {
    let mut old = core::mem::replace(&mut *TABLE.lock(), Table::new());
    // The stand-ins go now: when their samples do, nothing will tell of them.
    old.live_blocks().for_each(|block| release_proxy(block.proxy));
    old.clear();
    BEGAN_NS.store(linux::monotonic_ns(), Ordering::Relaxed);
    BEGAN_UNIX_NS.store(linux::unix_ns(), Ordering::Relaxed);
    MEAN.store(mean, Ordering::Relaxed);
    observe::set(Observer::Profile, mean);
}

/// A request of `size` bytes was drawn and served by the block at `addr`. The gate has been entered.
pub(crate) fn on_alloc(addr: usize, size: usize, class: Option<ClassId>) {
    let mean = MEAN.load(Ordering::Relaxed);
    let weight = table::weight(size, mean);
    let (mut thread, is_peak) = {
        let table = TABLE.lock();
        (table.threads.calling(), table.is_peak_with(weight * size as f64))
    };
    let mut frames = [0; stack::MOST];
    let count = thread.capture(OWN_FRAMES, &mut frames);
    let name = thread.name();
    // A slab of one block has nothing that could be stranded.
    let proxy = class.filter(|&class| class_info(class).blocks > 1).map_or(0, |class| {
        let proxy = slow::small(class).unwrap_or(0);
        if proxy != 0 {
            PROXIES.fetch_add(1, Ordering::Relaxed);
            PROXY_BYTES.fetch_add(u64::from(class_info(class).size), Ordering::Relaxed);
        }
        proxy
    });
    let block = Block { addr, size, proxy, weight, ..Block::default() };
    if is_peak {
        // No peak is to be one of blocks that were freed.
        observe::hear_late();
    }
    let added = {
        let mut table = TABLE.lock();
        table.threads.keep(thread);
        table.add(name, &frames[..count], block)
    };
    if added.is_none() {
        release_proxy(proxy);
    }
}

/// Of a watched block that was handed out just now the program wants `size` bytes, fewer than were asked for. In a signal handler on top of
/// the allocator the sample stays as it is.
pub(crate) fn on_room(addr: usize, size: usize) {
    if let Some(inside) = gate::enter() {
        TABLE.lock().amend(addr, size);
        drop(inside);
    }
}

/// A watched block goes; it may not be a sample. Returns the block that stood for it, or 0, for [`release_proxy`]: a lock may be held
/// here. The gate has been entered.
pub(crate) fn on_free(addr: usize) -> usize {
    TABLE.lock().remove(addr).map_or(0, |block| block.proxy)
}

/// Gives a stand-in back. The gate has been entered, and no lock is held.
pub(crate) fn release_proxy(proxy: usize) {
    if proxy != 0 {
        forget_proxy(proxy);
        slow::put_back(proxy);
    }
}

/// Counts a stand-in out that is given back in another way.
pub(crate) fn forget_proxy(proxy: usize) {
    let bytes = class_info(slow::class_at(proxy)).size;
    PROXIES.fetch_sub(1, Ordering::Relaxed);
    PROXY_BYTES.fetch_sub(u64::from(bytes), Ordering::Relaxed);
}

/// Blocks that stand for samples, which the program does not have, and their bytes.
pub(crate) fn proxies() -> (usize, usize) {
    (PROXIES.load(Ordering::Relaxed) as usize, PROXY_BYTES.load(Ordering::Relaxed) as usize)
}

/// The ranges of memory that the profile takes.
pub(crate) fn memory() -> [(usize, usize); 5] {
    TABLE.lock().memory()
}
