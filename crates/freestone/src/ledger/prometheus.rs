//! The figures as Prometheus' text format, version 0.0.4.
//!
//! Gauges in bytes, counters that end in `_total`, one label where a family has parts. What only counting knows is left
//! out while calls are not counted: a counter that stands at zero would be a lie.

use core::fmt::{self, Write};

use freestone_base::{ClassId, class_info};

use crate::stats::Stats;
use crate::{gate, raw, start};

/// Writes all figures of this moment, the ledger taken anew: what a service answers at `/metrics`, with the content type
/// `text/plain; version=0.0.4`.
///
/// ```
/// let mut text = String::new();
/// freestone::ledger::write_prometheus(&mut text).unwrap();
/// assert!(text.contains("# TYPE freestone_live_bytes gauge"));
/// ```
///
/// # Errors
/// Those of `out`.
pub fn write_prometheus(out: &mut dyn Write) -> fmt::Result {
    if let Some(ledger) = super::take() {
        family(
            out,
            "freestone_resident_bytes",
            "gauge",
            "Resident memory of the process by what it is used for; the lines add up to all of it.",
        )?;
        for (line, bytes) in ledger.lines() {
            let (name, share) = (line.name(), line.share().name());
            writeln!(out, "freestone_resident_bytes{{line=\"{name}\",share=\"{share}\"}} {bytes}")?;
        }
        for (name, help, bytes) in [
            (
                "freestone_process_resident_bytes",
                "Resident memory of the process by the kernel.",
                ledger.resident,
            ),
            (
                "freestone_process_swapped_bytes",
                "Memory of the process in swap by the kernel.",
                ledger.swapped,
            ),
            ("freestone_huge_page_bytes", "Memory of the heap in huge pages.", ledger.huge),
            ("freestone_process_threads", "Threads of the process.", ledger.threads),
        ] {
            single(out, name, "gauge", help, bytes as u64)?;
        }
    }
    let stats = raw::stats();
    gauges(out, &stats)?;
    counters(out, &stats)?;
    classes(out)
}

fn family(out: &mut dyn Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn single(out: &mut dyn Write, name: &str, kind: &str, help: &str, value: u64) -> fmt::Result {
    family(out, name, kind, help)?;
    writeln!(out, "{name} {value}")
}

fn gauges(out: &mut dyn Write, stats: &Stats) -> fmt::Result {
    let pages = &stats.pages;
    for (name, help, value) in [
        ("freestone_live_bytes", "Bytes of live blocks, resident or not.", stats.live_bytes),
        ("freestone_live_blocks", "Live blocks.", stats.live_blocks),
        ("freestone_large_bytes", "Bytes of live large blocks.", stats.large_bytes),
        ("freestone_large_blocks", "Live large blocks.", stats.large_blocks),
        ("freestone_cached_bytes", "Bytes of free blocks in caches and between them.", stats.cached_bytes),
        ("freestone_mapped_bytes", "Addresses mapped for slabs, large blocks and free spans.", pages.mapped),
        ("freestone_free_dirty_bytes", "Bytes of free spans not returned to the system.", pages.free_dirty),
        ("freestone_free_clean_bytes", "Bytes of free spans returned to the system.", pages.free_clean),
    ] {
        single(out, name, "gauge", help, value as u64)?;
    }
    Ok(())
}

fn counters(out: &mut dyn Write, stats: &Stats) -> fmt::Result {
    let (calls, system) = (&stats.calls, &stats.system);
    if start::counting() {
        family(out, "freestone_calls_total", "counter", "Calls by kind.")?;
        for (kind, count) in [
            ("malloc", calls.malloc),
            ("calloc", calls.calloc),
            ("aligned", calls.aligned),
            ("realloc", calls.realloc),
            ("free", calls.free),
        ] {
            writeln!(out, "freestone_calls_total{{kind=\"{kind}\"}} {count}")?;
        }
        single(out, "freestone_requested_bytes_total", "counter", "Bytes asked for.", stats.requested_total)?;
        single(out, "freestone_failures_total", "counter", "Requests that were refused.", calls.failed)?;
    }
    for (name, help, value) in [
        (
            "freestone_refills_total",
            "Batches of blocks from central lists into caches.",
            stats.refills as u64,
        ),
        ("freestone_flushes_total", "Batches of blocks from caches to central lists.", stats.flushes as u64),
        ("freestone_purged_bytes_total", "Bytes returned to the system by purging.", system.bytes_purged),
        ("freestone_mapped_bytes_total", "Bytes mapped from the system.", system.bytes_mapped),
        ("freestone_released_bytes_total", "Bytes of addresses given up.", system.bytes_released),
    ] {
        single(out, name, "counter", help, value)?;
    }
    family(out, "freestone_system_calls_total", "counter", "Calls to the kernel by kind.")?;
    for (kind, count) in [
        ("map", system.map),
        ("reserve", system.reserve),
        ("commit", system.commit),
        ("purge", system.purge),
        ("release", system.release),
        ("move", system.moves),
    ] {
        writeln!(out, "freestone_system_calls_total{{kind=\"{kind}\"}} {count}")?;
    }
    Ok(())
}

/// A family with a sample for each class in use. Written family by family, as the format demands.
fn classes(out: &mut dyn Write) -> fmt::Result {
    type Figure = fn(&crate::stats::ClassStats, usize) -> usize;
    let families: [(&str, &str, Figure); 3] = [
        ("freestone_class_live_blocks", "Live blocks by the size of the block.", |stats, blocks| {
            (stats.slabs * blocks).saturating_sub(stats.free_in_slabs + stats.in_caches + stats.in_transfer)
        }),
        ("freestone_class_free_blocks", "Blocks free in slabs by the size of the block.", |stats, _| {
            stats.free_in_slabs
        }),
        (
            "freestone_class_cached_blocks",
            "Blocks in caches and between them by the size of the block.",
            |stats, _| stats.in_caches + stats.in_transfer,
        ),
    ];
    for (name, help, figure) in families {
        family(out, name, "gauge", help)?;
        for class in ClassId::firsts() {
            let Some(inside) = gate::enter_patiently() else { continue };
            let stats = crate::stats::of_class(class);
            drop(inside);
            if stats.slabs > 0 {
                let info = class_info(class);
                let value = figure(&stats, info.blocks as usize);
                writeln!(out, "{name}{{size=\"{}\"{}}} {value}", info.size, twin(class))?;
            }
        }
    }
    Ok(())
}

/// Two classes may have one size: the second serves aligned requests.
fn twin(class: ClassId) -> &'static str {
    let size = class_info(class).size;
    let first = ClassId::firsts().find(|other| class_info(*other).size == size);
    if first == Some(class) { "" } else { ",aligned=\"1\"" }
}
