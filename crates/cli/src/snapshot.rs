//! The figures that the library writes for each process at its exit, as `DIR/PID.json`.
//!
//! Sizes are in bytes, times in nanoseconds, everything else is a count. Fields that this version
//! does not know are ignored; a field that is missing is an error that names it, save for the
//! figures that exist only when every call was counted.

use std::collections::BTreeMap;

use freestone_base::ledger::{Line, Share};
use serde::{Deserialize, Serialize};

/// The version of the format that this module reads.
pub const VERSION: u64 = 1;

/// The heap of one process at its exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of the format: [`VERSION`].
    pub version: u64,
    /// The process.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// What a cache belonged to: `cpu`, `thread` or `none`.
    pub cache: String,
    /// Whether every call was counted; if not, the calls and requests are zero.
    pub counted: bool,
    /// Time from the start of the library to this snapshot.
    pub elapsed_ns: u64,
    /// The most that was resident in this process alone, by the kernel; 0 where it did not tell.
    #[serde(default)]
    pub peak_resident: u64,
    /// Estimate of the bytes that the program asked for in the blocks that are live.
    #[serde(default)]
    pub requested_live: u64,
    /// Blocks in the program's hands.
    pub live: Live,
    /// Calls by kind.
    #[serde(default)]
    pub calls: Calls,
    /// Bytes asked for, from start to end.
    #[serde(default)]
    pub requested_total: u64,
    /// Bytes of the blocks that were handed out for them; large blocks count as they were asked for.
    #[serde(default)]
    pub allocated_total: u64,
    /// The size classes that were used.
    pub classes: Vec<Class>,
    /// Requests above the largest size class.
    pub large: Large,
    /// What the pages are used for.
    pub pages: Pages,
    /// Calls to the system.
    pub system: System,
    /// Work that the caches could not serve.
    pub slow_path: SlowPath,
    /// The options that were in force.
    #[serde(default)]
    pub options: String,
    /// Every resident byte of the process, where the kernel told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// A few figures over time, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Sample>,
}

impl Snapshot {
    /// The most that was resident in this process, and in any that it waited for, if that was clearly more. `all` is what the kernel
    /// tells whoever waits for it: the highest of all of them, which of a server that forks is a child's.
    pub fn peaks(&self, all: u64, older: bool) -> (u64, Option<u64>) {
        // So much the command itself may have had before it became the program; and the kernel counts by processors.
        const WORTH_TELLING: u64 = 8 << 20;
        let own = self.peak_resident.max(self.ledger.as_ref().map_or(0, |ledger| ledger.resident));
        // Figures from before the end may be from before the peak.
        match self.peak_resident > 0 && !older && all > own + WORTH_TELLING.max(own / 8) {
            true => (own, Some(all)),
            false => (all, None),
        }
    }
}

/// Every resident byte of the process in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Resident, by the kernel.
    pub resident: u64,
    /// By how much that exceeds the sum of the lines.
    pub unexplained: i64,
    /// In swap.
    #[serde(default)]
    pub swapped: u64,
    /// What of the heap is in huge pages.
    #[serde(default)]
    pub huge: u64,
    /// Threads of the process.
    #[serde(default)]
    pub threads: u64,
    /// How long it took to take the ledger.
    #[serde(default)]
    pub took_ns: u64,
    /// The lines by their names.
    pub lines: BTreeMap<String, u64>,
}

/// A sum; the largest number where a damaged file's figures come to more than that.
fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

impl Ledger {
    /// The bytes in one line.
    pub fn line(&self, line: Line) -> u64 {
        self.lines.get(line.name()).copied().unwrap_or(0)
    }

    /// The sum of all lines of one share.
    pub fn share(&self, share: Share) -> u64 {
        sum(Line::ALL.into_iter().filter(|line| line.share() == share).map(|line| self.line(line)))
    }
}

/// The highest figures of a stretch of time: when it began, in nanoseconds from the start of the process; resident, in
/// live blocks, free and dirty, in caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample(pub u64, pub u64, pub u64, pub u64, pub u64);

impl Sample {
    /// All but the time.
    pub fn figures(&self) -> [u64; 4] {
        [self.1, self.2, self.3, self.4]
    }
}

/// Blocks in the program's hands, by the size of the block (not of the request).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Their bytes.
    pub bytes: u64,
    /// Their number.
    pub blocks: u64,
    /// The most bytes at any time; known only when every call was counted.
    pub peak_bytes: u64,
}

/// Calls by kind. C++ and Rust calls count with the kind that does the same work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// `malloc` and its like.
    pub malloc: u64,
    /// Zeroed memory.
    pub calloc: u64,
    /// Changes of size.
    pub realloc: u64,
    /// Those of them that kept the address.
    pub realloc_in_place: u64,
    /// With an alignment.
    pub aligned: u64,
    /// Blocks given back.
    pub free: u64,
    /// Requests that were refused.
    pub failed: u64,
}

impl Calls {
    /// All calls together; those in place are a part of `realloc`, those refused of their kinds.
    pub fn total(&self) -> u64 {
        sum([self.malloc, self.calloc, self.realloc, self.aligned, self.free])
    }
}

/// One size class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Bytes of a block.
    pub size: u64,
    /// Blocks handed out.
    #[serde(default)]
    pub allocs: u64,
    /// Blocks given back.
    #[serde(default)]
    pub frees: u64,
    /// Bytes asked for in the blocks handed out.
    #[serde(default)]
    pub requested: u64,
    /// Slabs of the class at exit.
    pub slabs: u64,
    /// Their bytes.
    pub slab_bytes: u64,
    /// The blocks that they hold, free or not; 0 in figures of versions that did not tell.
    #[serde(default)]
    pub blocks: u64,
    /// Blocks that lie free in slabs.
    pub free_in_slabs: u64,
    /// Blocks that lie in caches.
    pub in_caches: u64,
    /// Blocks that lie in the transfer cache.
    pub in_transfer: u64,
}

impl Class {
    /// Blocks that the slabs of the class hold, free or not. Where they are not told, as many as would fit, which is one a
    /// slab too many where the first block does not lie at its slab's beginning.
    pub fn capacity(&self) -> u64 {
        match (self.slabs, self.size) {
            (0, _) | (_, 0) => 0,
            _ if self.blocks > 0 => self.blocks,
            (slabs, size) => self.slab_bytes / slabs / size * slabs,
        }
    }

    /// Blocks in the program's hands, from where the others lie.
    pub fn live_blocks(&self) -> u64 {
        self.capacity().saturating_sub(sum([self.free_in_slabs, self.in_caches, self.in_transfer]))
    }

    /// Bytes of the blocks handed out, from start to end.
    pub fn handed_out(&self) -> u64 {
        self.allocs.saturating_mul(self.size)
    }
}

/// Requests above the largest size class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Large {
    /// Blocks handed out.
    #[serde(default)]
    pub allocs: u64,
    /// Blocks given back.
    #[serde(default)]
    pub frees: u64,
    /// Bytes asked for in the blocks handed out.
    #[serde(default)]
    pub requested: u64,
    /// Blocks that are live.
    pub live_blocks: u64,
    /// Their bytes.
    pub live_bytes: u64,
}

/// Bytes of memory by what it is used for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// In extents, whatever the use.
    pub mapped: u64,
    /// The most at any time.
    pub mapped_peak: u64,
    /// In slabs.
    pub slabs: u64,
    /// In large blocks.
    pub large: u64,
    /// In free spans, possibly resident.
    pub free_dirty: u64,
    /// In free spans, not resident.
    pub free_clean: u64,
    /// Records of spans and the like.
    pub metadata: u64,
    /// The page map.
    pub page_map: u64,
    /// In blocks that lie in caches and transfer caches. They are a part of `slabs`.
    pub caches: u64,
}

impl Pages {
    /// Metadata: all that is neither a slab, nor a large block, nor a free span.
    pub fn all_metadata(&self) -> u64 {
        sum([self.metadata, self.page_map])
    }

    /// All memory of the heap that may be resident.
    pub fn in_use(&self) -> u64 {
        sum([self.slabs, self.large, self.free_dirty, self.all_metadata()])
    }
}

/// Calls to the system, and the bytes that they moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Calls that mapped an extent.
    pub map: u64,
    /// Calls that put memory behind addresses.
    pub commit: u64,
    /// Calls that dropped contents.
    pub purge: u64,
    /// Calls that gave up addresses.
    pub release: u64,
    /// Calls that moved or resized a mapping.
    pub remap: u64,
    /// Any others.
    pub other: u64,
    /// Bytes mapped, from start to end.
    pub bytes_mapped: u64,
    /// Bytes purged, from start to end.
    pub bytes_purged: u64,
    /// Bytes released, from start to end.
    pub bytes_released: u64,
}

impl System {
    /// All calls together.
    pub fn calls(&self) -> u64 {
        sum([self.map, self.commit, self.purge, self.release, self.remap, self.other])
    }
}

/// Work that the caches could not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowPath {
    /// How often a call went there.
    pub entries: u64,
    /// The time that it spent there, of all threads together.
    pub ns: u64,
    /// Batches into caches.
    pub refills: u64,
    /// Batches out of caches.
    pub flushes: u64,
    /// Requests that the emergency allocator served.
    pub emergency: u64,
}

#[derive(Deserialize)]
struct Header {
    version: Option<u64>,
}

/// Reads a snapshot. The message says what is wrong with it.
pub fn read(json: &[u8]) -> Result<Snapshot, String> {
    // A program may give itself a name that is no UTF-8.
    let text = String::from_utf8_lossy(json);
    let header: Header = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match header.version {
        Some(VERSION) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Some(other) => Err(format!(
            "it has version {other}, but this freestone reads {VERSION}: take both from one build"
        )),
        None => Err("missing field `version`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = include_str!("../tests/fixtures/snapshot.json");

    #[test]
    fn the_fixture_is_read_whole() {
        let snapshot = read(FIXTURE.as_bytes()).unwrap();
        assert_eq!((snapshot.pid, snapshot.command.as_str()), (4711, "python3"));
        assert!(snapshot.calls.total() > 0 && !snapshot.classes.is_empty());
        let again = serde_json::to_vec(&snapshot).unwrap();
        assert_eq!(read(&again).unwrap(), snapshot);
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let text = FIXTURE.replacen('{', r#"{"from_the_future":[1,2],"#, 1);
        assert_eq!(read(text.as_bytes()), read(FIXTURE.as_bytes()));
    }

    #[test]
    fn a_missing_field_is_named() {
        let text = FIXTURE.replace("\"slow_path\"", "\"slow_pth\"");
        assert!(read(text.as_bytes()).unwrap_err().contains("missing field `slow_path`"));
        assert!(read(b"{}").unwrap_err().contains("version"));
        assert!(read(b"{\"version\":2}").unwrap_err().contains("version 2"));
        assert!(read(b"").is_err());
    }

    #[test]
    fn what_was_not_counted_may_be_absent() {
        let json = r#"{"version":1,"pid":1,"command":"x","cache":"cpu","counted":false,"elapsed_ns":1,
            "live":{"bytes":0,"blocks":0,"peak_bytes":0},
            "classes":[{"size":16,"slabs":1,"slab_bytes":8192,"free_in_slabs":2,"in_caches":3,"in_transfer":4}],
            "large":{"live_blocks":0,"live_bytes":0},
            "pages":{"mapped":0,"mapped_peak":0,"slabs":0,"large":0,"free_dirty":0,"free_clean":0,
                     "metadata":0,"page_map":0,"caches":0},
            "system":{"map":0,"commit":0,"purge":0,"release":0,"remap":0,"other":0,
                      "bytes_mapped":0,"bytes_purged":0,"bytes_released":0},
            "slow_path":{"entries":0,"ns":0,"refills":0,"flushes":0,"emergency":0}}"#;
        let snapshot = read(json.as_bytes()).unwrap();
        assert_eq!(snapshot.calls, Calls::default());
        assert_eq!(snapshot.classes[0].live_blocks(), 512 - 9);
        let told = json.replacen("\"slab_bytes\":8192", "\"slab_bytes\":8192,\"blocks\":511", 1);
        assert_eq!(read(told.as_bytes()).unwrap().classes[0].live_blocks(), 511 - 9);
    }
}
