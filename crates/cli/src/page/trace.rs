//! The calls of a recorded process, for a page and for the lab.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use freestone_pictures::event::{self, Event};
use freestone_pictures::report::Sources;
use freestone_pictures::stacks::{StackId, Stacks, in_standard_library};
use freestone_pictures::study::{Study, Survey};
use freestone_profile::{Frame, Mapping, Places, Symbols};
use freestone_trace::{Call, Ending, Trace};

use crate::quantity::count;

/// Opens a trace and picks a process: the one asked for, or the one with most events. Its place, and how many there are.
pub fn open(file: &Path, wanted: Option<usize>) -> Result<(Trace<File>, usize), String> {
    let trace = Trace::open(file).map_err(|error| error.to_string())?;
    let there = trace.processes().len();
    let place = match wanted {
        Some(place) if place < there => place,
        Some(place) => {
            return Err(format!("there is no process {place}; the trace has {there}, counted from 0"));
        }
        // The first of those with most.
        None => (0..there)
            .rev()
            .max_by_key(|&place| trace.events(place).map_or(0, Iterator::count))
            .ok_or("no process is in it")?,
    };
    Ok((trace, place))
}

/// Studies a trace and puts what it shows among the sources.
pub fn read(file: &Path, wanted: Option<usize>, sources: &mut Sources) -> Result<(), String> {
    let (trace, place) = open(file, wanted)?;
    let process = &trace.processes()[place];
    let mut survey = Survey::default();
    let ending = each(&trace, place, None, |event| survey.note(&event))?;
    if survey.calls == 0 {
        return Err("the trace holds no calls".into());
    }
    let mut study = Study::new(survey);
    if process.stack_every > 1 {
        study = study.sampled();
    }
    let mut sites = Sites::new(&trace.mappings(place).map_err(|error| error.to_string())?);
    each(&trace, place, Some((&mut sites, &mut sources.stacks)), |event| study.note(&event))?;
    sources.notes.extend(sites.symbols.complaints().iter().map(|complaint| format!("{complaint}.")));
    sources.studied = Some(study.finish());
    if sources.command.is_empty() {
        sources.command = process.command.join(" ");
    }
    if !ending.is_whole() {
        sources.notes.push(format!("The trace is not whole: {ending}. The page shows what is there."));
    }
    let others = trace.processes().len() - 1;
    if others > 0 {
        sources.notes.push(format!(
            "The trace has {} more process{}; this is process {place} of them, {}. `--process N` shows another.",
            count(others as u64),
            if others == 1 { "" } else { "es" },
            process.name(),
        ));
    }
    if process.stack_every > 1 {
        sources.notes.push(format!(
            "Of one call in {} the stack was taken, of large ones more often: figures by call site are estimates.",
            count(process.stack_every)
        ));
    }
    Ok(())
}

/// Calls `f` with each call of a process, with its stack if that is wanted; how the trace ends.
fn each(
    trace: &Trace<File>,
    place: usize,
    mut sites: Option<(&mut Sites, &mut Stacks)>,
    mut f: impl FnMut(Event),
) -> Result<Ending, String> {
    let process = &trace.processes()[place];
    let mut calls = trace.calls(place).map_err(|error| error.to_string())?;
    let inherited: Vec<_> =
        calls.inherited().iter().filter_map(|&number| calls.blocks().get(number)).copied().collect();
    let mut first = None;
    // The stack of each thread's next call.
    let mut next: HashMap<u32, StackId> = HashMap::new();
    while let Some(timed) = calls.next() {
        let mut make = |call, stack| f(Event { time: timed.ns, thread: timed.thread, call, stack });
        if first.is_none() {
            first = Some(timed.ns);
            for block in &inherited {
                make(event::Call::Allocate { address: block.addr, size: block.size }, None);
            }
        }
        let mut stack = |size| next.remove(&timed.thread).map(|id| (id, process.stack_weight(size) as f32));
        match timed.call {
            Call::Allocate { size, addr, .. } => {
                make(event::Call::Allocate { address: addr, size }, stack(size));
            }
            Call::Free { was, untouched, .. } => {
                stack(0);
                make(event::Call::Free { address: was.addr, untouched }, None);
            }
            Call::Resize { was, size, addr, .. } => {
                make(event::Call::Resize { from: was.addr, to: addr, size }, stack(size));
            }
            Call::Stack => {
                if let Some((sites, stacks)) = &mut sites {
                    next.insert(timed.thread, sites.enter(calls.frames(), stacks));
                }
            }
            Call::Refused { .. } => drop(stack(0)),
            Call::ThreadStart { .. } => {}
        }
    }
    match calls.take_error() {
        Some(error) => Err(error.to_string()),
        None => Ok(calls.ending()),
    }
}

/// Stacks of return addresses, by the names of their functions.
struct Sites {
    symbols: Symbols,
    places: Places,
    known: HashMap<Vec<u64>, StackId>,
}

impl Sites {
    /// Of the lists of mappings that a trace has. What was mapped later holds where it lies over something else.
    fn new(lists: &[String]) -> Sites {
        let mappings = lists.iter().rev().flat_map(|list| Mapping::parse_list(list)).collect();
        Sites { symbols: Symbols::new(), places: Places::new(mappings), known: HashMap::new() }
    }

    fn enter(&mut self, frames: &[u64], stacks: &mut Stacks) -> StackId {
        if let Some(&id) = self.known.get(frames) {
            return id;
        }
        let stack = self.places.of_stack(&mut self.symbols, frames);
        let id = stacks.enter(self.places.frames(&stack).rev().map(label));
        self.known.insert(frames.to_vec(), id);
        id
    }
}

/// A place in the program in one line: `function at folder/file:line`.
pub fn label(frame: &Frame) -> String {
    if frame.file.is_empty() || frame.line == 0 {
        return frame.function.clone();
    }
    // Many files of Rust are called mod.rs: the folder tells them apart. Those of a standard library are known by their whole path in it.
    let folder = || frame.file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    let from = in_standard_library(&frame.file).unwrap_or_else(folder);
    format!("{} at {}:{}", frame.function, &frame.file[from..], frame.line)
}

#[cfg(test)]
mod tests {
    use freestone_trace::{Op, ProcessInfo, TraceWriter, Way};

    use super::*;
    use crate::page::sources;
    use crate::private_dir::PrivateDir;

    /// Two processes: one with a thousand calls at two sites, one with a single call.
    fn recorded() -> Vec<u8> {
        let info =
            |key, command: &str| ProcessInfo { key, command: vec![command.into()], ..ProcessInfo::default() };
        let mut writer = TraceWriter::new(Vec::new(), &info(1, "small")).unwrap();
        writer.event(1, 10, Op::Alloc { way: Way::Malloc, size: 77, addr: 0x1000 }).unwrap();
        let mut writer = writer.next_process(&info(2, "server")).unwrap();
        for n in 0..500 {
            let addr = 0x10_0000 + n * 128;
            writer.stack(1, n * 100, &[0x401, 0x400 + n % 2]).unwrap();
            writer.event(1, n * 100, Op::Alloc { way: Way::Malloc, size: 100, addr }).unwrap();
            if n % 2 == 0 {
                writer.event(1, n * 100 + 50, Op::Free { addr }).unwrap();
            }
        }
        writer.finish().unwrap()
    }

    fn read_bytes(bytes: &[u8], process: Option<usize>) -> Result<Sources, String> {
        let dir = PrivateDir::new().unwrap();
        let file = dir.own_file("x.trace");
        std::fs::write(&file, bytes).unwrap();
        sources::read(&[file], process)
    }

    #[test]
    fn the_busiest_process_is_shown_with_its_sites() {
        let sources = read_bytes(&recorded(), None).unwrap();
        let studied = sources.studied.as_ref().unwrap();
        assert_eq!((sources.command.as_str(), studied.calls), ("server", 750));
        assert_eq!((studied.end.bytes, studied.end.blocks), (25_000, 250));
        let live: Vec<f64> = studied.sites.iter().map(|site| site.live).collect();
        assert_eq!(live, [0.0, 25_000.0]);
        assert!(sources.notes[0].contains("1 more process;"), "{:?}", sources.notes);
        let small = read_bytes(&recorded(), Some(0)).unwrap();
        assert_eq!((small.command.as_str(), small.studied.unwrap().peak.bytes), ("small", 77));
        assert!(read_bytes(&recorded(), Some(2)).unwrap_err().contains("no process 2; the trace has 2"));
    }

    #[test]
    fn a_cut_or_damaged_trace_is_shown_as_far_as_it_goes() {
        let whole = recorded();
        for length in (0..whole.len()).step_by(97) {
            match read_bytes(&whole[..length], None) {
                Ok(sources) => {
                    assert!(sources.page().contains("not whole") || sources.command == "small", "{length}")
                }
                Err(message) => assert!(!message.is_empty()),
            }
        }
        for place in (0..whole.len()).step_by(61) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x55;
            if let Ok(sources) = read_bytes(&bytes, None) {
                sources.page();
            }
        }
    }
}
