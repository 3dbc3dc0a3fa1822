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

#[cfg(test)]
mod tests {
    use freestone_kit::trace::{DESIGNS, Event};
    use freestone_trace::{Op, ProcessInfo, TraceWriter as Recorder, Way};

    use super::*;
    use crate::private_dir::PrivateDir;

    fn options(calls: usize) -> LabOptions {
        LabOptions {
            what: Vec::new(),
            output: None,
            svg: None,
            policies: DESIGNS.to_vec(),
            calls,
            process: None,
            list: false,
        }
    }

    #[test]
    fn recorded_calls_are_replayed_and_drawn() {
        let mut writer = Recorder::new(Vec::new(), &ProcessInfo::default()).unwrap();
        writer.event(1, 1, Op::Alloc { way: Way::Malloc, size: 100, addr: 0x1000 }).unwrap();
        writer.event(2, 2, Op::Realloc { old: 0x1000, size: 3000, new: 0x2000 }).unwrap();
        writer.event(1, 3, Op::Alloc { way: Way::Malloc, size: 1 << 50, addr: 0x9000 }).unwrap();
        writer.event(1, 4, Op::Free { addr: 0x9000 }).unwrap();
        writer.event(1, 5, Op::Free { addr: 0x2000 }).unwrap();
        let dir = PrivateDir::new().unwrap();
        let file = dir.own_file("x.trace");
        std::fs::write(&file, writer.finish().unwrap()).unwrap();
        let (trace, lesson) = read(&file, &options(100)).unwrap();
        // What no address space holds is left out, with its free.
        assert_eq!(
            trace.events(),
            [
                Event::Allocate { slot: 0, size: 100, align: 16 },
                Event::Resize { slot: 0, size: 3000 },
                Event::Free { slot: 0 },
            ]
        );
        assert_eq!(lesson, "");
        let lab = crate::lab::draw::lab(&trace, "", &DESIGNS).unwrap();
        assert_eq!(lab.policies.len(), DESIGNS.len());
        assert!(lab.policies.iter().all(|policy| policy.fullest.asked == 3000 && policy.cells.len() == 3));
        assert!(read(&file, &options(2)).unwrap().1.contains("first 2 calls"));
    }
}
