//! The ledger and all other figures as one JSON object: what the report at exit holds, and what the command
//! `freestone` reads (its `snapshot.rs` documents every field).
//!
//! Figures are gathered first and written outside the gate, since whoever takes the text may allocate.

use core::fmt::{self, Write};

use freestone_base::{ClassId, PAGE_SIZE, class_info};
use freestone_sys::linux;

use super::{Ledger, history};
use crate::stats::{ClassStats, Stats};
use crate::{gate, raw, start};

/// Writes all figures of this moment, the ledger taken anew.
///
/// ```
/// let mut text = String::new();
/// freestone::ledger::write_json(&mut text).unwrap();
/// assert!(text.starts_with("{\"version\":1,"));
/// ```
///
/// # Errors
/// Those of `out`.
pub fn write_json(out: &mut dyn Write) -> fmt::Result {
    write_json_of(out, super::take().as_ref())
}

/// Writes all figures of this moment beside a ledger that was taken before.
///
/// # Errors
/// Those of `out`.
pub fn write_json_of(out: &mut dyn Write, ledger: Option<&Ledger>) -> fmt::Result {
    let stats = raw::stats();
    let elapsed = elapsed_ns();
    let peak = linux::mappings::resident_at_most();
    head(out, &stats, elapsed)?;
    if let Some(peak) = peak {
        write!(out, "\"peak_resident\":{peak},")?;
    }
    classes(out)?;
    rest(out, &stats)?;
    if let Some(ledger) = ledger {
        write_ledger(out, ledger)?;
    }
    history::write_json(out, linux::monotonic_ns() - elapsed)?;
    out.write_str("}\n")
}

fn head(out: &mut dyn Write, stats: &Stats, elapsed: u64) -> fmt::Result {
    let calls = &stats.calls;
    write!(
        out,
        "{{\"version\":1,\"pid\":{},\"command\":\"{}\",\"cache\":\"{}\",\"counted\":{},\"elapsed_ns\":{},",
        linux::process_id(),
        Command::own(),
        start::mode().name(),
        start::counting(),
        elapsed,
    )?;
    write!(
        out,
        "\"requested_live\":{},\"live\":{{\"bytes\":{},\"blocks\":{},\"peak_bytes\":{}}},",
        stats.requested_live, stats.live_bytes, stats.live_blocks, stats.peak_live_bytes
    )?;
    write!(
        out,
        "\"calls\":{{\"malloc\":{},\"calloc\":{},\"realloc\":{},\"realloc_in_place\":{},\"aligned\":{},\
         \"free\":{},\"failed\":{}}},",
        calls.malloc,
        calls.calloc,
        calls.realloc,
        calls.realloc_in_place,
        calls.aligned,
        calls.free,
        calls.failed
    )?;
    write!(
        out,
        "\"requested_total\":{},\"allocated_total\":{},",
        stats.requested_total, stats.allocated_total
    )
}

fn classes(out: &mut dyn Write) -> fmt::Result {
    out.write_str("\"classes\":[")?;
    let mut separator = "";
    for class in ClassId::firsts() {
        let Some(inside) = gate::enter_patiently() else { continue };
        let figures = crate::stats::of_class(class);
        drop(inside);
        let ClassStats { allocs, frees, requested, slabs, free_in_slabs, in_caches, in_transfer } = figures;
        if slabs == 0 && allocs == 0 {
            continue;
        }
        let info = class_info(class);
        let blocks = slabs * info.blocks as usize;
        let slab_bytes = slabs * info.slab_pages as usize * PAGE_SIZE;
        write!(
            out,
            "{separator}{{\"size\":{},\"allocs\":{allocs},\"frees\":{frees},\"requested\":{requested},\
             \"slabs\":{slabs},\"slab_bytes\":{slab_bytes},\"blocks\":{blocks},\"free_in_slabs\":{free_in_slabs},\
             \"in_caches\":{in_caches},\"in_transfer\":{in_transfer}}}",
            info.size
        )?;
        separator = ",";
    }
    out.write_str("],")
}

fn rest(out: &mut dyn Write, stats: &Stats) -> fmt::Result {
    let Stats { calls, pages, system, .. } = stats;
    write!(
        out,
        "\"large\":{{\"allocs\":{},\"frees\":{},\"requested\":{},\"live_blocks\":{},\"live_bytes\":{}}},",
        calls.large_allocs, calls.large_frees, calls.large_requested, stats.large_blocks, stats.large_bytes
    )?;
    write!(
        out,
        "\"pages\":{{\"mapped\":{},\"mapped_peak\":{},\"slabs\":{},\"large\":{},\"free_dirty\":{},\
         \"free_clean\":{},\"metadata\":{},\"page_map\":{},\"caches\":{}}},",
        pages.mapped,
        pages.mapped_peak,
        pages.slabs,
        pages.large,
        pages.free_dirty,
        pages.free_clean,
        pages.metadata,
        pages.page_map,
        stats.cached_bytes
    )?;
    write!(
        out,
        "\"system\":{{\"map\":{},\"commit\":{},\"purge\":{},\"release\":{},\"remap\":{},\"other\":{},\
         \"bytes_mapped\":{},\"bytes_purged\":{},\"bytes_released\":{}}},",
        system.map,
        system.commit,
        system.purge,
        system.release,
        system.moves,
        system.reserve,
        system.bytes_mapped,
        system.bytes_purged,
        system.bytes_released
    )?;
    write!(
        out,
        "\"slow_path\":{{\"entries\":{},\"ns\":{},\"refills\":{},\"flushes\":{},\"emergency\":{}}}",
        calls.slow_entries, calls.slow_ns, stats.refills, stats.flushes, calls.emergency
    )
}

/// How long the process has been running: since its first request, where that was noted, else since its start by the
/// kernel, which counts in hundredths of a second.
fn elapsed_ns() -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let since = start::elapsed_ns();
    let mut text = [0; 512];
    let len = linux::read_file::ReadFile::open(c"/proc/self/stat").map_or(0, |file| file.read(&mut text));
    // The second word is the name, in brackets, and may hold anything.
    let behind = text[..len].iter().rposition(|&byte| byte == b')').map_or(0, |at| at + 1);
    let word = text[behind..len].split(|&byte| byte == b' ').nth(20).unwrap_or_default();
    let ticks = word.iter().fold(0u64, |sum, &digit| sum.wrapping_mul(10) + u64::from(digit & 15));
    since.min(linux::monotonic_ns().saturating_sub(ticks * TICK_NS))
}

fn write_ledger(out: &mut dyn Write, ledger: &Ledger) -> fmt::Result {
    write!(
        out,
        ",\"ledger\":{{\"resident\":{},\"unexplained\":{},\"swapped\":{},\"huge\":{},\"threads\":{},\
         \"took_ns\":{},\"lines\":{{",
        ledger.resident,
        ledger.unexplained(),
        ledger.swapped,
        ledger.huge,
        ledger.threads,
        ledger.took_ns
    )?;
    let mut separator = "";
    for (line, bytes) in ledger.lines() {
        write!(out, "{separator}\"{}\":{bytes}", line.name())?;
        separator = ",";
    }
    out.write_str("}}")
}

/// The process's name as the kernel has it, with what JSON does not take replaced.
struct Command([u8; 16], usize);

impl Command {
    fn own() -> Command {
        let mut name = [0; 16];
        let len = linux::read_file::ReadFile::open(c"/proc/self/comm").map_or(0, |file| file.read(&mut name));
        let end = name[..len].iter().position(|&byte| byte == b'\n').unwrap_or(len);
        Command(name, end)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0[..self.1] {
            f.write_char(if (b' '..b'\x7f').contains(&byte) && byte != b'"' && byte != b'\\' {
                byte.into()
            } else {
                '?'
            })?;
        }
        Ok(())
    }
}
