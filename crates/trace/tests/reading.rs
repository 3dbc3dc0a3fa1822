//! Traces that are whole, cut, damaged, hostile.

use freestone_base::trace::sheet::{HEADER, OPEN, PROCESS_WORDS, SHEET};
use freestone_base::trace::{Event, Kind, Model, ProcessWord, Scratch, SheetHeader};
use freestone_trace::{Call, Ending, Op, ProcessInfo, Trace, TraceError, TraceWriter, Way, pack};

/// A program of two threads that allocates and frees; its trace, and its peak of live bytes.
fn program(calls: u64) -> (Vec<u8>, u64) {
    let info = ProcessInfo { command: vec!["prog".into(), "-x".into()], pid: 77, ..ProcessInfo::default() };
    let mut writer = TraceWriter::new(Vec::new(), &info).unwrap();
    let (mut live, mut bytes, mut peak) = (Vec::new(), 0u64, 0u64);
    let mut state = 7u64;
    for n in 0..calls {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let random = state >> 33;
        let thread = 1 + (random % 50 / 49) as u32;
        if random.is_multiple_of(3) && !live.is_empty() {
            let (addr, size): (u64, u64) = live.swap_remove((random % live.len() as u64) as usize);
            bytes -= size;
            writer.event(thread, n * 100, Op::Free { addr }).unwrap();
        } else {
            let (addr, size) = (0x4000_0000 + n * 4096, 1 + random % 3000);
            live.push((addr, size));
            bytes += size;
            writer.event(thread, n * 100, Op::Alloc { way: Way::Malloc, size, addr }).unwrap();
        }
        peak = peak.max(bytes);
    }
    (writer.finish().unwrap(), peak)
}

/// How many events there are and how they end.
fn read(bytes: &[u8]) -> Result<(u64, Ending), TraceError> {
    let trace = Trace::new(bytes)?;
    let mut all = (0, Ending::Whole);
    for process in 0..trace.processes().len() {
        let mut calls = trace.calls(process)?;
        let count = calls.by_ref().count() as u64;
        all = (all.0 + count, calls.ending());
    }
    Ok(all)
}

#[test]
fn a_whole_trace_tells_everything() {
    let (bytes, peak) = program(20_000);
    assert!(bytes.len() < 20_000 * 8, "{} bytes", bytes.len());
    let trace = Trace::new(bytes).unwrap();
    let process = &trace.processes()[0];
    assert_eq!((process.pid, process.name().as_str()), (77, "prog"));
    let mut calls = trace.calls(0).unwrap();
    let last = calls.by_ref().last().unwrap();
    assert_eq!((last.number, last.ns), (20_000, 1_999_900));
    assert_eq!(calls.blocks().peak_bytes(), peak);
    assert_eq!(calls.ending(), Ending::Whole);
    assert_eq!((calls.blocks().unknown(), calls.blocks().doubled()), (0, 0));
}

#[test]
fn a_cut_trace_is_read_up_to_the_cut() {
    let (bytes, _) = program(15_000);
    let mut most = 0;
    for cut in (1..bytes.len()).step_by(997) {
        match read(&bytes[..cut]) {
            Err(TraceError::NoTrace(_)) => assert!(cut < HEADER, "{cut}"),
            Err(error) => panic!("{error}"),
            Ok((count, ending)) => {
                assert!(!ending.is_whole() && count >= most, "{cut}: {count}, {ending}");
                most = count;
            }
        }
    }
    assert!(most > 4_000);
    assert!(matches!(read(&[]), Err(TraceError::Empty)));
    assert!(matches!(
        read(b"no trace at all, but a text that is long enough to have room for a header"),
        Err(TraceError::NoTrace(_))
    ));
    assert!(matches!(read(&[0; 10_000]), Err(TraceError::NoTrace(_))));
}

#[test]
fn a_damaged_trace_is_read_up_to_the_damage() {
    let (bytes, _) = program(30_000);
    for place in (0..bytes.len()).step_by(3_001) {
        let mut broken = bytes.clone();
        broken[place] ^= 0x55;
        if let Ok((count, ending)) = read(&broken) {
            // A lane's or a time's header field may change without harm.
            assert!(count <= 30_000, "{place}");
            if place > 4_096 && broken[place.saturating_sub(HEADER)..].len() > HEADER {
                assert!(count < 30_000 || ending.is_whole() || ending.is_incomplete(), "{place}: {ending}");
            }
        }
    }
    let mut broken = bytes.clone();
    let middle = bytes.len() / 2;
    broken[middle] ^= 1;
    let (count, ending) = read(&broken).unwrap();
    assert!(count > 1_000 && count < 29_900);
    assert!(ending.to_string().contains("not as it was written"), "{ending}");
}

/// Sheets as a recorder leaves them, without checks: what decodes is all that keeps a reader from harm.
#[test]
fn hostile_sheets_do_no_harm() {
    let mut state = 99u64;
    for round in 0..400 {
        let mut bytes = Vec::new();
        for lane in 0..4 {
            let header = SheetHeader {
                kind: if round % 7 == 6 && lane == 0 { Kind::Process } else { Kind::Events },
                length: 2048,
                used: OPEN,
                process: 1 + (round % 2) * (lane as u64 / 2),
                lane,
                place: 0,
                number: if round % 5 == 0 { u64::MAX - 3 } else { 0 },
                ticks: 0,
                thread: 1,
                check: 0,
            };
            bytes.extend(header.bytes());
            for _ in 0..2048 - HEADER {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                // Mostly small numbers, so that many events can be read.
                let byte = (state >> 56) as u8;
                bytes.push(if state >> 33 & 3 == 0 { byte } else { byte & 0x0f });
            }
        }
        let _ = read(&bytes);
        let mut packed = Vec::new();
        if let Ok(trace) = Trace::new(bytes.as_slice()) {
            pack(&trace, &mut packed).unwrap();
            let _ = read(&packed);
        }
    }
}

/// Packing drops a sheet with nothing in it; what another says of the process stands, before and after.
#[test]
fn an_empty_sheet_does_not_take_back_what_is_known_of_a_process() {
    let mut payload = [0; PROCESS_WORDS * 8];
    payload[ProcessWord::Stopped as usize * 8] = 1;
    let header = |length, used| SheetHeader {
        kind: Kind::Process,
        length,
        used,
        process: 1,
        lane: 0,
        place: 0,
        number: 0,
        ticks: 0,
        thread: 1,
        check: 0,
    };
    let mut bytes = header((HEADER + payload.len()) as u32, OPEN).bytes().to_vec();
    bytes.extend(payload);
    bytes.extend(header(HEADER as u32, OPEN).bytes());
    let trace = Trace::new(bytes.as_slice()).unwrap();
    assert!(trace.processes()[0].stopped);
    let mut packed = Vec::new();
    pack(&trace, &mut packed).unwrap();
    assert!(packed.len() < bytes.len() && Trace::new(packed.as_slice()).unwrap().processes()[0].stopped);
}

/// Two lanes of one process, open as at a kill, with a sheet that was given out and not begun between them.
fn open_lanes() -> Vec<u8> {
    let mut file = vec![0u8; 3 * SHEET];
    let mut models = [Model::new(), Model::new()];
    let mut ends = [HEADER, 2 * SHEET + HEADER];
    for (lane, start) in [(0, 0), (1, 2 * SHEET)] {
        let header = SheetHeader {
            kind: Kind::Events,
            length: SHEET as u32,
            used: OPEN,
            process: 5,
            lane,
            place: 0,
            number: 0,
            ticks: 0,
            thread: lane + 1,
            check: 0,
        };
        file[start..start + HEADER].copy_from_slice(&header.bytes());
        models[lane as usize].begin(0, 0, lane + 1);
    }
    for number in 1..=1_000u64 {
        // Killed in the midst of the 990th.
        if number == 990 {
            continue;
        }
        let lane = (number % 7 / 5) as usize;
        let op = match number % 2 {
            1 => Op::Alloc { way: Way::Calloc, size: 64, addr: 0x8000 },
            _ => Op::Free { addr: 0x8000 },
        };
        let mut code = Scratch::new();
        models[lane].encode(&Event { number, ticks: number, thread: lane as u32 + 1, op }, &mut code);
        file[ends[lane]..ends[lane] + code.bytes().len()].copy_from_slice(code.bytes());
        ends[lane] += code.bytes().len();
    }
    file
}

#[test]
fn lanes_are_merged_and_an_abrupt_end_loses_nothing() {
    let file = open_lanes();
    let trace = Trace::new(file.as_slice()).unwrap();
    let mut calls = trace.calls(0).unwrap();
    let order: Vec<_> = calls.by_ref().map(|timed| (timed.number, timed.thread)).collect();
    assert!(order.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(order.len(), 999);
    assert!(order.iter().all(|&(number, thread)| thread == (number % 7 / 5) as u32 + 1));
    assert_eq!(calls.blocks().doubled(), 1, "the free that was being written");
    assert_eq!(calls.ending(), Ending::Abrupt { unwritten: 1 });

    let mut packed = Vec::new();
    let bytes = pack(&trace, &mut packed).unwrap().bytes;
    assert!(bytes as usize == packed.len() && bytes < 10_000, "{bytes}");
    assert_eq!(read(&packed).unwrap(), (999, Ending::Abrupt { unwritten: 1 }));
}

#[test]
fn a_forked_process_begins_with_its_parents_blocks() {
    let mut parent =
        TraceWriter::new(Vec::new(), &ProcessInfo { key: 10, ..ProcessInfo::default() }).unwrap();
    let alloc = |addr, size| Op::Alloc { way: Way::Malloc, size, addr };
    parent.event(1, 1, alloc(0x100, 10)).unwrap();
    let forked_at = parent.event(1, 2, alloc(0x200, 20)).unwrap();
    parent.event(1, 3, Op::Free { addr: 0x100 }).unwrap();
    let child = ProcessInfo { key: 11, parent: 10, forked_at, ..ProcessInfo::default() };
    let mut child = parent.next_process(&child).unwrap();
    child.event(1, 4, Op::Free { addr: 0x200 }).unwrap();
    child.event(1, 5, Op::Moving { old: 0x100 }).unwrap();
    child.event(2, 6, alloc(0x100, 5)).unwrap();
    child.event(1, 7, Op::Realloc { old: 0x100, size: 30, new: 0x300 }).unwrap();
    let trace = Trace::new(child.finish().unwrap()).unwrap();

    let mut calls = trace.calls(1).unwrap();
    assert_eq!(calls.inherited().len(), 2);
    let seen: Vec<_> = calls.by_ref().map(|timed| timed.call).collect();
    assert!(matches!(seen[0], Call::Free { block: 1, was, .. } if was.size == 20), "{seen:?}");
    assert!(matches!(seen[2], Call::Resize { block: 0, size: 30, .. }), "{seen:?}");
    let blocks = calls.blocks();
    assert_eq!((blocks.live_bytes(), blocks.peak_bytes(), blocks.unknown()), (35, 35, 0));
    assert!(trace.processes()[0].replaced && !trace.processes()[1].replaced, "they have one number");
    assert!(matches!(trace.calls(2), Err(TraceError::NoProcess { asked: 2, there: 2 })));
}

#[test]
fn stacks_belong_to_the_event_behind_them() {
    let mut writer = TraceWriter::new(Vec::new(), &ProcessInfo::default()).unwrap();
    for n in 0..20_000u64 {
        writer.stack(1, n, &[0x55_0000_0000 + n, 0x55_0000_1000]).unwrap();
        writer.event(1, n, Op::Alloc { way: Way::Malloc, size: n, addr: 0x1000 * n }).unwrap();
    }
    let trace = Trace::new(writer.finish().unwrap()).unwrap();
    let mut calls = trace.calls(0).unwrap();
    let mut seen = 0;
    while let Some(timed) = calls.next() {
        if timed.call == Call::Stack {
            assert_eq!(calls.frames(), [0x55_0000_0000 + seen, 0x55_0000_1000]);
            seen += 1;
        }
    }
    assert_eq!(seen, 20_000);
}
