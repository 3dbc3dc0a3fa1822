//! The ledger: every resident byte of the process in one line, and the lines add up to what the kernel says.
//!
//! The page tables tell which OS pages are resident, the records of spans what they hold, the kernel's list of mappings
//! what is not ours. Nobody is stopped meanwhile: the page heap's lock is taken for a few spans at a time, and the
//! gate is left in between. While the program runs on, the lines belong to slightly different moments.
//!
//! | file | content |
//! |---|---|
//! | `mod.rs` | the figures |
//! | `take.rs` | how they come about |
//! | `own.rs` | where the allocator's own memory lies |
//! | `foreign.rs` | what else there is |
//! | `json.rs`, `prometheus.rs`, `xml.rs` | how they are written |
//! | `history.rs` | a few figures over time |

mod foreign;
pub mod history;
mod json;
mod own;
mod prometheus;
mod take;
mod xml;

pub use freestone_base::ledger::{LINES, Line, Share};
pub use json::{write_json, write_json_of};
pub use prometheus::write_prometheus;
pub use xml::{print_stats, write_xml};

use crate::gate;

/// Every resident byte of the process at one moment. Bytes unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    lines: [usize; LINES],
    /// What the kernel has as resident: `Rss` of `/proc/self/smaps_rollup`, above 4 GiB that of `/proc/self/statm`.
    pub resident: usize,
    /// What of the process lies in swap; 0 above 4 GiB.
    pub swapped: usize,
    /// What of the process is in huge pages; 0 above 4 GiB.
    pub huge: usize,
    /// Threads of the process.
    pub threads: usize,
    /// How long it took to take the ledger, in nanoseconds.
    pub took_ns: u64,
}

impl Ledger {
    /// The bytes in one line.
    pub fn line(&self, line: Line) -> usize {
        self.lines[line.index()]
    }

    /// The lines with their bytes, in the order in which they are shown.
    pub fn lines(&self) -> impl Iterator<Item = (Line, usize)> + '_ {
        Line::ALL.into_iter().map(|line| (line, self.line(line)))
    }

    /// The sum of all lines of one share.
    pub fn share(&self, share: Share) -> usize {
        self.lines().filter(|(line, _)| line.share() == share).map(|(_, bytes)| bytes).sum()
    }

    /// The sum of all lines.
    pub fn total(&self) -> usize {
        self.lines.iter().sum()
    }

    /// By how much the kernel's figure exceeds the sum of the lines.
    pub fn unexplained(&self) -> isize {
        self.resident.wrapping_sub(self.total()) as isize
    }
}

pub(crate) use take::set_room_aside;

/// Takes the ledger. O(spans + mappings + page tables): where the page tables can be scanned (Linux 6.7), about 25 ms for
/// each GiB that is resident in small pages, of which the kernel takes 20 to add up its own figure; above 4 GiB about
/// 5 ms for each. On older kernels about 60 ms. Nobody is stopped. `None` when called by a thread that is inside the
/// allocator (in a signal handler), when the kernel does not show a process its own mappings, or when it refuses the
/// 24 KiB to work in.
///
/// ```
/// use freestone::ledger::{self, Line};
/// let words = vec![String::from("counted"); 1000];
/// if let Some(ledger) = ledger::take() {
///     assert!(ledger.line(Line::Code) > 0);
///     assert!(ledger.unexplained().unsigned_abs() <= ledger.resident / 10);
/// }
/// # drop(words);
/// ```
pub fn take() -> Option<Ledger> {
    if freestone_sys::linux::control::filter_was_asked_for() {
        return None;
    }
    // What waits to be freed shall not count as live.
    let inside = gate::enter_patiently()?;
    crate::start::ensure();
    crate::slow::free_deferred();
    drop(inside);
    take::take()
}
