//! Calls from a file, in the form in which the kit replays them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use freestone_kit::trace::{Trace, TraceWriter};
use freestone_trace::Call;

use super::LabOptions;
use crate::page::trace::open;
use crate::quantity::count;

/// The alignment that calls without one get.
const ALIGN: usize = 16;

/// Reads a trace of the kit or a recorded one; with it what must be said of it.
pub fn read(file: &Path, options: &LabOptions) -> Result<(Trace, String), String> {
    let mut head = [0; 16];
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let got = (&opened).take(16).read(&mut head).map_err(|error| error.to_string())?;
    if head[..got].starts_with(b"freestone trace ") {
        let contents = std::fs::read(file).map_err(|error| error.to_string())?;
        return Ok((Trace::parse(&contents).map_err(|error| error.to_string())?, String::new()));
    }
    recorded(file, options)
}

/// The calls of a recorded process, of all its threads in their order.
fn recorded(file: &Path, options: &LabOptions) -> Result<(Trace, String), String> {
    let (trace, place) = open(file, options.process)?;
    let process = &trace.processes()[place];
    let mut calls = trace.calls(place).map_err(|error| error.to_string())?;
    let mut writer = TraceWriter::new(&format!("{}: {}", process.name(), process.command.join(" ")));
    let mut slots: HashMap<u32, usize> = HashMap::new();
    // What the kit's format cannot say cannot be served by any policy either.
    let fits = |size: u64| usize::try_from(size).ok().filter(|size| size >> 40 == 0);
    let allocate = |writer: &mut TraceWriter, slots: &mut HashMap<u32, usize>, block, size, align| {
        if let Some(size) = fits(size) {
            slots.insert(block, writer.allocate(size, align));
        }
    };
    let inherited: Vec<_> =
        calls.inherited().iter().filter_map(|&n| Some((n, *calls.blocks().get(n)?))).collect();
    for (block, was) in inherited {
        allocate(&mut writer, &mut slots, block, was.size, ALIGN);
    }
    let mut written = 0;
    while written < options.calls {
        let Some(timed) = calls.next() else { break };
        written += 1;
        match timed.call {
            Call::Allocate { block, size, way, .. } => {
                let align = way.align().clamp(1, 1 << 26);
                allocate(&mut writer, &mut slots, block, size, align);
            }
            Call::Free { block, .. } => {
                if let Some(slot) = slots.remove(&block) {
                    writer.free(slot);
                }
            }
            Call::Resize { block, size, .. } => match (slots.get(&block), fits(size)) {
                (Some(&slot), Some(size)) => writer.resize(slot, size),
                _ => allocate(&mut writer, &mut slots, block, size, ALIGN),
            },
            Call::Refused { .. } | Call::ThreadStart { .. } | Call::Stack => written -= 1,
        }
    }
    let is_cut = written == options.calls && calls.next().is_some();
    let lesson = if is_cut {
        format!("Only the first {} calls are shown; `--calls N` shows more.", count(options.calls as u64))
    } else if calls.ending().is_whole() {
        String::new()
    } else {
        format!("The trace is not whole: {}.", calls.ending())
    };
    let trace = Trace::parse(writer.bytes()).map_err(|error| error.to_string())?;
    Ok((trace, lesson))
}
