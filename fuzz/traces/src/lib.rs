//! Trace files. Inputs that end in an even byte are a file as they stand: any bytes at all are read, counted and packed. The others say
//! what is written to one: it must read as it was written. Either way, what was packed reads as what it was packed from.

use freestone_trace::{Event, Op, ProcessInfo, Trace, TraceWriter, Way, pack};

/// The name that libFuzzer calls.
///
/// # Safety
/// `data` leads to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise; an empty input may come as null.
    let bytes = if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    if bytes.last().is_some_and(|last| last % 2 == 1) { written(bytes) } else { any(bytes) }
    0
}

fn any(bytes: &[u8]) {
    let Ok(trace) = Trace::new(bytes.to_vec()) else { return };
    let first = read(&trace);
    let mut packed = Vec::new();
    // What is damaged within a sheet stays behind.
    let Some(first) = first else { return };
    if pack(&trace, &mut packed).is_ok() && trace.damage().is_none() {
        // Sheets without anything in them are left out, be they all.
        if packed.is_empty() {
            return assert!(first.is_empty(), "nothing was packed");
        }
        let again = Trace::new(packed).expect("what was packed begins as a trace");
        assert_eq!(Some(first), read(&again), "packed otherwise than it was");
    }
}

/// Takes bytes for events: what, of which thread, and two numbers of up to eight bytes each.
fn written(bytes: &[u8]) {
    let mut rest = bytes.iter().copied();
    let mut writer = TraceWriter::new(Vec::new(), &ProcessInfo::default()).expect("memory");
    let mut events = Vec::new();
    let mut ns = 0u64;
    while let Some(what) = rest.next() {
        let thread = u32::from(rest.next().unwrap_or(0) % 8);
        let mut number = || {
            let length = rest.next().unwrap_or(0) % 9;
            (0..length).fold(0u64, |all, _| all << 8 | u64::from(rest.next().unwrap_or(0)))
        };
        let (size, addr) = (number() >> 8, number() & 0xffff_ffff_fff0);
        ns += size & 0xffff;
        let way = match what / 8 % 3 {
            0 => Way::Malloc,
            1 => Way::Calloc,
            _ => Way::Aligned { align: 32 << (what / 32), zeroed: what / 128 == 1 },
        };
        let op = match what % 8 {
            0..=2 => Op::Alloc { way, size, addr },
            3 | 4 => Op::Free { addr },
            5 => Op::Realloc { old: addr, size, new: addr ^ size & 0xfff0 },
            6 => Op::Moving { old: addr },
            _ => Op::Refused { way, size },
        };
        let number = writer.event(thread, ns, op).expect("memory");
        events.push(Event { number, ticks: ns, thread, op });
    }
    let file = writer.finish().expect("memory");
    let trace = Trace::new(file.clone()).expect("what was written begins as a trace");
    let found: Vec<_> = trace.events(0).expect("a process").take(events.len()).collect();
    assert_eq!(found, events, "read otherwise than it was written");
    any(&file);
}

/// Of each process, its calls and what they come to; `None` where one cannot be read to its end.
fn read(trace: &Trace<Vec<u8>>) -> Option<Vec<(usize, u64, u64)>> {
    let mut processes = Vec::new();
    for number in 0..trace.processes().len() {
        let _ = trace.processes()[number].name();
        let _ = trace.mappings(number);
        if let Ok(mut events) = trace.events(number) {
            events.by_ref().for_each(drop);
            let _ = (events.frames().len(), events.ending(), events.take_error());
        }
        let Ok(mut calls) = trace.calls(number) else { continue };
        let count = calls.by_ref().count();
        if calls.take_error().is_some() || calls.ending().is_incomplete() {
            return None;
        }
        let blocks = calls.blocks();
        assert!(blocks.live().count() == blocks.live_count(), "live blocks are counted wrongly");
        // One that is only mentioned, by a sheet without events, need not be packed.
        if count > 0 {
            processes.push((count, blocks.live_bytes(), blocks.peak_bytes()));
        }
    }
    Some(processes)
}
