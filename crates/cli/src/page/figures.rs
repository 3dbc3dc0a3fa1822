//! The figures of a run, for a page.

use std::time::Duration;

use freestone_base::ledger::Line;
use freestone_pictures::report::{ClassFigures, Figures, LedgerLine, Sample, Sources};
use serde::Deserialize;

use crate::quantity::time;
use crate::report::ledger::SHARES;
use crate::snapshot::{self, Snapshot};

/// What `freestone run --json` adds to the figures of the heap; all else of it is left alone.
#[derive(Deserialize)]
struct Run {
    command: Vec<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    wall_ns: u64,
    peak_resident: u64,
    heap: Option<serde_json::Value>,
    heap_before_end_ns: Option<u64>,
    heap_absent: Option<String>,
}

/// Reads the figures of a run or of one process.
pub fn read(contents: &[u8], sources: &mut Sources) -> Result<(), String> {
    let no_figures = |error: String| format!("it holds no figures: {error}");
    let Ok(run) = serde_json::from_slice::<Run>(contents) else {
        let heap = snapshot::read(contents).map_err(no_figures)?;
        if sources.command.is_empty() {
            sources.command.clone_from(&heap.command);
        }
        sources.figures = Some(of_heap(&heap));
        return Ok(());
    };
    let heap = match (&run.heap, &run.heap_absent) {
        (Some(heap), _) if heap.is_object() => {
            snapshot::read(heap.to_string().as_bytes()).map_err(no_figures)?
        }
        (_, Some(why)) => return Err(no_figures(why.clone())),
        _ => return Err(no_figures("there is no heap in it".into())),
    };
    sources.command = run.command.join(" ");
    let mut end = match (run.exit_code, run.signal) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended".into(),
    };
    if let Some(before) = run.heap_before_end_ns {
        let before = time(Duration::from_nanos(before));
        end.push_str(&format!(", without the time to report: its last figures are {before} older"));
    }
    let (peak, _) = heap.peaks(run.peak_resident, run.heap_before_end_ns.is_some());
    let peak = peak.max(heap.history.iter().map(|sample| sample.1).max().unwrap_or(0));
    sources.figures = Some(Figures { end, wall_ns: run.wall_ns, resident_peak: peak, ..of_heap(&heap) });
    Ok(())
}

fn of_heap(heap: &Snapshot) -> Figures {
    let lines = heap.ledger.iter().flat_map(|ledger| {
        Line::ALL.into_iter().map(|line| LedgerLine {
            name: line.name(),
            label: line.label(),
            about: line.about(),
            share: SHARES.iter().find(|(share, _)| *share == line.share()).map_or("", |(_, name)| *name),
            bytes: ledger.line(line),
        })
    });
    let classes = heap.classes.iter().map(|class| ClassFigures {
        size: class.size,
        allocations: class.allocs,
        live_bytes: class.live_blocks().saturating_mul(class.size),
        free_bytes: class.free_in_slabs.saturating_mul(class.size),
        requested: class.requested,
    });
    let history = heap.history.iter().map(|sample| Sample {
        at: sample.0,
        resident: sample.1,
        live: sample.2,
        free_dirty: sample.3,
        caches: sample.4,
    });
    let resident = heap.ledger.as_ref().map_or(0, |ledger| ledger.resident);
    Figures {
        end: "is shown as it was at one moment".into(),
        wall_ns: heap.elapsed_ns,
        resident_peak: heap.history.iter().map(|sample| sample.1).max().unwrap_or(0).max(resident),
        resident,
        live_peak: heap.live.peak_bytes,
        live_end: heap.live.bytes,
        calls: heap.calls.total(),
        reallocs: heap.calls.realloc,
        reallocs_in_place: heap.calls.realloc_in_place,
        purged: heap.system.bytes_purged,
        ledger: lines.collect(),
        history: history.collect(),
        classes: classes.collect(),
    }
}
