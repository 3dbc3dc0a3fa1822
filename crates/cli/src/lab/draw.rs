//! From a comparison of the kit to a lab that can be drawn.

use freestone_kit::trace::{CompareConfig, Event, Moment, Row, Sample, Trace, compare_some};
use freestone_pictures::charts::levels::level;
use freestone_pictures::lab::{Lab, Policy, State};

/// Moments of each policy: columns of the maps.
const MOMENTS: usize = 120;
/// Cells of a map at the most.
const CELLS: usize = 768;
/// Addresses for each policy: as many times what is live at the peak, within bounds.
const ROOM: usize = 8;
const LEAST_ROOM: usize = 256 << 20;
const MOST_ROOM: usize = 16 << 30;

/// Runs the trace through the policies.
pub fn lab(trace: &Trace, lesson: &str, policies: &[&str]) -> Result<Lab, String> {
    let calls = trace.events().len();
    if calls == 0 {
        return Err(format!("{} makes no calls", trace.title));
    }
    let ground = (peak(trace).saturating_mul(ROOM)).clamp(LEAST_ROOM, MOST_ROOM);
    let moments = MOMENTS.min(calls);
    let mut config = CompareConfig::DEFAULT.samples(moments).moments(moments);
    config.ground = ground;
    let comparison = compare_some(trace, config, policies)
        .map_err(|_| "the system has no addresses for the heaps".to_owned())?;
    let pages = comparison.rows.iter().flat_map(|row| &row.moments).map(|moment| moment.pages.len());
    let extent = pages.max().unwrap_or(0);
    // The same scale for all.
    let pages_a_cell = extent.div_ceil(CELLS).max(1);
    let cells = extent.div_ceil(pages_a_cell);
    Ok(Lab {
        title: comparison.title,
        lesson: lesson.into(),
        calls: calls as u64,
        cell_bytes: (pages_a_cell * Moment::PAGE) as u64,
        policies: comparison.rows.iter().map(|row| policy(row, pages_a_cell, cells)).collect(),
    })
}

/// The most bytes that are live at once.
fn peak(trace: &Trace) -> usize {
    let mut sizes = vec![0; trace.slots()];
    let (mut live, mut most) = (0_usize, 0);
    for event in trace.events() {
        let (slot, size) = match *event {
            Event::Allocate { slot, size, .. } | Event::Resize { slot, size } => (slot, size),
            Event::Free { slot } => (slot, 0),
        };
        live = live.saturating_sub(sizes[slot]).saturating_add(size);
        sizes[slot] = size;
        most = most.max(live);
    }
    most
}

fn policy(row: &Row, pages_a_cell: usize, cells: usize) -> Policy {
    let column = |moment: &Moment| {
        let mut column: Vec<u8> = moment
            .pages
            .chunks(pages_a_cell)
            .map(|pages| {
                let live = pages.iter().map(|page| u64::from(page.live)).sum();
                let held = pages.iter().filter(|page| page.held).count() * Moment::PAGE;
                level(live, held as u64, (pages_a_cell * Moment::PAGE) as u64)
            })
            .collect();
        column.resize(cells, 0);
        column
    };
    Policy {
        name: row.name.into(),
        peak_held: row.peak_held as u64,
        refused: row.replayed.refused as u64,
        fullest: state(&row.replayed.fullest),
        states: row.moments.iter().map(|moment| state(&moment.sample)).collect(),
        cells: row.moments.iter().map(column).collect(),
    }
}

fn state(sample: &Sample) -> State {
    State {
        calls: sample.calls as u64,
        asked: sample.asked as u64,
        taken: sample.taken as u64,
        held: sample.held as u64,
    }
}
