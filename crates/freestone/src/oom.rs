//! What is said when there is no memory: the ledger, and who holds most of it.
//!
//! Written to standard error, if asked for (`oom_report:1`), at the first refusal and then at most every ten seconds. Nothing is
//! allocated: the texts lie on the stack, and the room in which the ledger is taken was set aside before.

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_base::{Bytes, ClassId, class_info};
use freestone_sys::linux;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::{gate, ledger, limit, message, raw, stats};

static WANTED: AtomicBool = AtomicBool::new(false);
/// When the next report may be written.
static NEXT_NS: AtomicU64 = AtomicU64::new(0);
const PAUSE_NS: u64 = 10_000_000_000;
/// Size classes told of.
const HOLDERS: usize = 8;

/// Whether a report is written.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Wants a report, or none.
pub(crate) fn want(wanted: bool) {
    if wanted {
        ledger::set_room_aside();
    }
    WANTED.store(wanted, Ordering::Relaxed);
}

/// `size` bytes were refused. Outside the gate.
#[cold]
pub(crate) fn refused(size: usize) {
    let now = linux::monotonic_ns();
    let next = NEXT_NS.load(Ordering::Relaxed);
    if now < next
        || NEXT_NS.compare_exchange(next, now + PAUSE_NS, Ordering::Relaxed, Ordering::Relaxed).is_err()
    {
        return;
    }
    let mut text = FixedText::<320>::new();
    let _ = write!(text, "out of memory: {} refused; footprint {}", Bytes(size), Bytes(limit::footprint()));
    let _ = match limit::hard() {
        Some(hard) => write!(text, ", hard limit {}", Bytes(hard)),
        None => write!(text, ", no limit of the allocator's"),
    };
    message::say(&text);
    raw::print_stats();
    say_holders();
}

/// The classes whose live blocks hold most, and the large blocks.
fn say_holders() {
    let mut most = [(0usize, 0usize, ClassId::NONE); HOLDERS];
    for class in ClassId::firsts() {
        let Some(inside) = gate::enter_patiently() else { return };
        let entry = stats::of_class(class);
        drop(inside);
        let info = class_info(class);
        let idle = entry.free_in_slabs + entry.in_caches + entry.in_transfer;
        let live = (entry.slabs * info.blocks as usize).saturating_sub(idle);
        let held = (live * info.size as usize, live, class);
        if let Some(place) = most.iter().position(|other| other.0 < held.0) {
            most[place..].rotate_right(1);
            most[place] = held;
        }
    }
    let stats = raw::stats();
    let mut text = FixedText::<160>::new();
    let _ =
        write!(text, "largest holders: {} large blocks, {}", stats.large_blocks, Bytes(stats.large_bytes));
    message::say(&text);
    for (bytes, blocks, class) in most.into_iter().filter(|held| held.0 > 0) {
        text.clear();
        let size = Bytes(class_info(class).size as usize);
        let plural = if blocks == 1 { "" } else { "s" };
        let _ = write!(text, "  {blocks} block{plural} of up to {size}: {}", Bytes(bytes));
        message::say(&text);
    }
}
