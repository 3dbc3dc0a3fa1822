//! What a growth comes from, and what would change it.

use freestone_base::ledger::Line;

use super::{NOISE, Pair, size};
use crate::quantity::{bytes, count, counted, percent};
use crate::snapshot::{Class, Snapshot};

/// Classes named in one sentence.
const NAMED: usize = 3;

/// A cause this many times smaller than the largest is not worth a paragraph.
const SMALL: i64 = 20;

/// One cause of growth.
#[derive(Clone, Debug)]
pub struct Cause {
    /// What it is called.
    pub title: &'static str,
    /// By how much it grew, in bytes.
    pub grown: i64,
    /// What it is, in half a sentence.
    pub verdict: String,
    /// What the figures show.
    pub words: String,
    /// What would change it.
    pub remedy: String,
}

/// All causes of growth, the largest first; those left out that are noise, or small beside the largest.
pub fn find(pair: &Pair) -> Vec<Cause> {
    let all: [fn(&Pair) -> Cause; 9] =
        [live, rounding, fragmentation, caches, free_spans, metadata, stacks, mappings, files];
    let mut causes: Vec<Cause> =
        all.iter().map(|cause| cause(pair)).filter(|cause| cause.grown >= NOISE as i64).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.grown));
    let largest = causes.first().map_or(0, |cause| cause.grown);
    causes.retain(|cause| cause.grown >= largest / SMALL);
    causes
}

fn sum(pair: &Pair, lines: &[Line]) -> i64 {
    lines.iter().map(|&line| pair.grown(line)).sum()
}

/// How a figure changed, in words.
fn moved(what: &str, grown: i64) -> String {
    match grown {
        g if g.unsigned_abs() < NOISE => format!("{what} stayed about the same"),
        g if g > 0 => format!("{what} grew by {}", size(g)),
        g => format!("{what} fell by {}", size(g)),
    }
}

/// Blocks of one size before and after. Two classes may have one size.
struct Size {
    bytes: u64,
    old: Class,
    new: Class,
}

fn sizes(pair: &Pair) -> Vec<Size> {
    let joined = |snapshot: &Snapshot, size: u64| {
        let mut joined = Class { size, ..Class::default() };
        for class in snapshot.classes.iter().filter(|class| class.size == size) {
            joined.allocs += class.allocs;
            joined.frees += class.frees;
            joined.requested += class.requested;
            joined.slabs += class.slabs;
            joined.slab_bytes += class.slab_bytes;
            joined.blocks += class.capacity();
            joined.free_in_slabs += class.free_in_slabs;
            joined.in_caches += class.in_caches;
            joined.in_transfer += class.in_transfer;
        }
        joined
    };
    let mut all: Vec<u64> = pair.before.classes.iter().chain(&pair.after.classes).map(|c| c.size).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(|bytes| Size { bytes, old: joined(&pair.before, bytes), new: joined(&pair.after, bytes) })
        .collect()
}

fn live(pair: &Pair) -> Cause {
    let grown = pair.grown(Line::Live);
    let mut kinds: Vec<(i64, String)> = sizes(pair)
        .iter()
        .map(|size| {
            let more = size.new.live_blocks() as i64 - size.old.live_blocks() as i64;
            let bytes_more = more * size.bytes as i64;
            (bytes_more, blocks_of(size, more, bytes_more, pair.after.counted))
        })
        .collect();
    let (old, new) = (&pair.before.large, &pair.after.large);
    let more = new.live_blocks as i64 - old.live_blocks as i64;
    let more_bytes = new.live_bytes as i64 - old.live_bytes as i64;
    kinds.push((more_bytes, format!("{} above the largest size class ({})", blocks(more), size(more_bytes))));
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.0));
    let total: i64 = kinds.iter().map(|kind| kind.0.max(0)).sum();
    let named: Vec<String> =
        kinds.into_iter().filter(|kind| kind.0 * 20 >= total.max(1)).take(NAMED).map(|kind| kind.1).collect();
    let blocks_before = pair.before.live.blocks;
    let blocks_after = pair.after.live.blocks;
    let mut words = format!(
        "The program holds more: {} live, before {}. Most of it: {}.",
        counted(blocks_after, "block", "blocks"),
        count(blocks_before),
        named.join("; ")
    );
    let fell = pair.grown(Line::FreeInSlabs) + pair.grown(Line::FreeDirty);
    if fell < -(NOISE as i64) {
        words
            .push_str(&format!(" {} of it came out of memory that was free before.", size(fell.max(-grown))));
    }
    Cause {
        title: "Live blocks",
        grown,
        verdict: "the program holds more blocks, which is a leak if it goes on, else what it keeps".into(),
        words,
        remedy: "no option of the allocator gives back what is live. Look at the code that asks for blocks of these \
                 sizes and does not free them: a third set of figures, later, tells a leak, which grows on, from \
                 something that fills up, which levels off."
            .into(),
    }
}

fn blocks(more: i64) -> String {
    let word = if more < 0 { "fewer" } else { "more" };
    format!("{} {word}", counted(more.unsigned_abs(), "block", "blocks"))
}

fn blocks_of(of: &Size, more: i64, more_bytes: i64, is_counted: bool) -> String {
    let mut text = format!("{} of {} bytes ({})", blocks(more), count(of.bytes), size(more_bytes));
    let (allocs, frees) =
        (of.new.allocs.saturating_sub(of.old.allocs), of.new.frees.saturating_sub(of.old.frees));
    if is_counted && allocs > 0 {
        let mean = of.new.requested.saturating_sub(of.old.requested) / allocs;
        text.push_str(&format!(
            ", {} asked for and {} freed in between, {} bytes asked for on average",
            count(allocs),
            count(frees),
            count(mean)
        ));
    }
    text
}

fn rounding(pair: &Pair) -> Cause {
    let live = pair.new.line(Line::Live);
    let rounding = pair.new.line(Line::Rounding);
    let share = percent(rounding, live + rounding).unwrap_or_default();
    Cause {
        title: "Rounding",
        grown: pair.grown(Line::Rounding),
        verdict: "live blocks are rounded up to size classes".into(),
        words: format!("Rounding takes {share} of live blocks now; {}.", moved("what was asked for", pair.grown(Line::Live))),
        remedy: "ask for sizes that are classes (`freestone classes` lists them), or just below: a buffer that doubles \
                 should hold its header, too, within the power of two."
            .into(),
    }
}

fn fragmentation(pair: &Pair) -> Cause {
    let grown = sum(pair, &[Line::FreeInSlabs, Line::SlabRests]);
    let mut holes: Vec<Size> = sizes(pair);
    let free = |class: &Class| (class.free_in_slabs * class.size) as i64;
    holes.sort_by_key(|size| std::cmp::Reverse(free(&size.new) - free(&size.old)));
    let named: Vec<String> = holes
        .iter()
        .filter(|size| free(&size.new) - free(&size.old) > grown / 20)
        .take(NAMED)
        .map(|size| {
            let capacity = size.new.capacity();
            let fill = percent(size.new.live_blocks(), capacity).unwrap_or("0 %".into());
            format!(
                "{} bytes: {} with room for {}, of which {} are live ({fill}), {} free",
                count(size.bytes),
                counted(size.new.slabs, "slab", "slabs"),
                counted(capacity, "block", "blocks"),
                count(size.new.live_blocks()),
                bytes(free(&size.new) as u64)
            )
        })
        .collect();
    let live = pair.grown(Line::Live) + pair.grown(Line::Rounding);
    let which = if named.is_empty() { String::new() } else { format!(" By size: {}.", named.join("; ")) };
    Cause {
        title: "Fragmentation",
        grown,
        verdict: "blocks lie free in slabs that a few live ones keep, which is fragmentation, not a leak"
            .into(),
        words: format!(
            "Slabs hold more free blocks, while {}: the blocks that were freed lie among others that were not.{which}",
            moved("what is live", live)
        ),
        remedy:
            "requests of the same sizes will use the room again. If none come, find what lives long among \
                 blocks of these sizes and allocate it apart: before the others, or in a heap of its own \
                 (`freestone::Heap`), which goes back at once."
                .into(),
    }
}

fn caches(pair: &Pair) -> Cause {
    let grown = sum(pair, &[Line::Caches, Line::Transfer, Line::Regions]);
    Cause {
        title: "Caches",
        grown,
        verdict: "free blocks are kept in caches".into(),
        words: format!(
            "Caches hold {}, transfer caches {}, each with the addresses of its blocks; {} run, before {}.",
            bytes(pair.new.line(Line::Caches)),
            bytes(pair.new.line(Line::Transfer)),
            counted(pair.new.threads, "thread", "threads"),
            count(pair.old.threads)
        ),
        remedy: "they are bounded and do not grow on. A smaller `cache_bytes` makes them smaller, `freestone ctl PID \
                 release` or malloc_trim(0) empties them once."
            .into(),
    }
}

fn free_spans(pair: &Pair) -> Cause {
    let grown = sum(pair, &[Line::FreeDirty, Line::LazilyFreed, Line::HugeOverhang]);
    let live = pair.grown(Line::Live);
    let overhang = pair.grown(Line::HugeOverhang);
    let mut words = format!(
        "{} lie in free spans that have not gone back to the system; {}.",
        bytes(
            pair.new.line(Line::FreeDirty)
                + pair.new.line(Line::LazilyFreed)
                + pair.new.line(Line::HugeOverhang)
        ),
        moved("what is live", live)
    );
    if overhang > NOISE as i64 {
        words.push_str(&format!(
            " {} of the growth are pages that nobody used, resident because huge pages cover them.",
            size(overhang)
        ));
    }
    Cause {
        title: "Free spans",
        grown,
        verdict: "the program freed memory that has not gone back to the system yet".into(),
        words,
        remedy: "what stays free goes back by itself as long as the allocator's own thread may run (`background`), at \
                 once by malloc_trim(0) or `freestone ctl PID release`."
            .into(),
    }
}

fn metadata(pair: &Pair) -> Cause {
    let lines = [Line::Emergency, Line::PageMap, Line::Records, Line::Statics];
    Cause {
        title: "Metadata",
        grown: sum(pair, &lines),
        verdict: "the allocator keeps more records".into(),
        words: format!(
            "Records take {}, the page map {}: in proportion to the spans that there were at most.",
            bytes(pair.new.line(Line::Records)),
            bytes(pair.new.line(Line::PageMap))
        ),
        remedy: "records stay for later spans. Fewer and larger blocks need fewer of them.".into(),
    }
}

fn stacks(pair: &Pair) -> Cause {
    let grown = pair.grown(Line::Stacks);
    let more = pair.new.threads as i64 - pair.old.threads as i64;
    let each = pair.new.line(Line::Stacks).checked_div(pair.new.threads).unwrap_or(0);
    let threads = match more {
        0 => format!("There are {}, as before", counted(pair.new.threads, "thread", "threads")),
        _ => format!(
            "There are {}, before {}",
            counted(pair.new.threads, "thread", "threads"),
            count(pair.old.threads)
        ),
    };
    Cause {
        title: "Stacks",
        grown,
        verdict: if more > 0 { "there are more threads, each with a stack".into() } else { "stacks grew deeper".into() },
        words: format!("{threads}, with {} of stack each on average.", bytes(each)),
        remedy: "fewer threads, less on their stacks, or smaller ones (`ulimit -s`, pthread_attr_setstacksize, \
                 RUST_MIN_STACK). libc keeps the stacks of some threads that ended for later ones. The allocator has no \
                 part in it."
            .into(),
    }
}

fn mappings(pair: &Pair) -> Cause {
    let (own, shared) = (pair.grown(Line::OtherAnonymous), pair.grown(Line::Shared));
    Cause {
        title: "Other mappings",
        grown: own + shared,
        verdict: "the program maps memory by itself, past the allocator".into(),
        words: format!(
            "{} in private and {} in shared mappings that the program asked the kernel for by itself; {}.",
            bytes(pair.new.line(Line::OtherAnonymous)),
            bytes(pair.new.line(Line::Shared)),
            moved("what is live", pair.grown(Line::Live))
        ),
        remedy: "the allocator has no part in it. Interpreters and virtual machines have arenas of their own (Python's can \
                 be turned off: PYTHONMALLOC=malloc), drivers and databases buffers: look at /proc/PID/smaps, and at the \
                 program's calls of mmap (`strace -k -e mmap`)."
            .into(),
    }
}

fn files(pair: &Pair) -> Cause {
    Cause {
        title: "Files",
        grown: sum(pair, &[Line::Code, Line::Files]),
        verdict: "more of mapped files is resident".into(),
        words: format!(
            "Code takes {}, other files and variables {}. What was not written to, the kernel takes back when it needs \
             memory.",
            bytes(pair.new.line(Line::Code)),
            bytes(pair.new.line(Line::Files))
        ),
        remedy: "nothing, as a rule: it is code that ran or a file that was read for the first time.".into(),
    }
}
