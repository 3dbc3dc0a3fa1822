//! Traces: their format, the ground, replays, and what the designs make of a real program.

use crate::conformance::{self, Serves, layout};
use freestone_kit::bins::Bins;
use freestone_kit::trace::{
    CompareConfig, Event, Ground, ParseError, Sample, Trace, TraceWriter, compare, replay, time,
};
use freestone_kit::{Alloc, Stats};
use std::time::Duration;

const PERL: &[u8] = include_bytes!("../../traces/perl.trace");

#[test]
fn what_is_written_is_read() {
    let mut writer = TraceWriter::new("two\nlines");
    let [first, second] = [writer.allocate(0, 16), writer.allocate(1 << 40, 4096)];
    writer.free(first);
    assert_eq!(writer.allocate(200, 16), first);
    writer.resize(second, 77);
    let trace = Trace::parse(writer.bytes()).unwrap();
    assert_eq!((trace.title.as_str(), trace.slots()), ("two lines", 2));
    let expected = [
        Event::Allocate { slot: 0, size: 0, align: 16 },
        Event::Allocate { slot: 1, size: 1 << 40, align: 4096 },
        Event::Free { slot: 0 },
        Event::Allocate { slot: 0, size: 200, align: 16 },
        Event::Resize { slot: 1, size: 77 },
    ];
    assert_eq!(trace.events(), expected);
}

#[test]
fn what_is_no_trace_is_refused() {
    assert_eq!(Trace::parse(b"something else"), Err(ParseError::NotATrace));
    let head = b"freestone trace 1\nhead\n";
    let parse = |bytes: &[u8]| Trace::parse(&[head, bytes].concat()).map(|trace| trace.events().len());
    assert_eq!(parse(b""), Ok(0));
    assert_eq!(parse(&[4, 1, 8]), Ok(3));
    assert_eq!(parse(&[1]), Err(ParseError::BadSlot(head.len())));
    assert_eq!(parse(&[4, 1, 1]), Err(ParseError::BadSlot(head.len() + 2)));
    assert_eq!(parse(&[0x80]), Err(ParseError::BadNumber(head.len())));
    assert_eq!(parse(&[0xff; 12]), Err(ParseError::BadNumber(head.len())));
    assert_eq!(parse(&[32 << 2 | 3, 1, 1]), Err(ParseError::BadNumber(head.len())));
    // No bytes, however wrong, do more than fail.
    for n in 0..PERL.len().min(3000) {
        let _ = Trace::parse(&PERL[..n]);
        let _ = parse(&PERL[n..n + 50]);
    }
}

#[test]
fn the_ground_conforms_and_counts_pages() {
    let ground = Ground::new(64 << 20).unwrap();
    conformance::check(&ground, Serves::ALL);
    assert_eq!(ground.held(), 0);
    // Offsets are aligned as addresses are up to the ground's own alignment.
    assert!(ground.allocate(layout(8, 1 << 27)).is_err());
    let block = ground.allocate(layout(5000, 8)).unwrap();
    assert_eq!(ground.held(), 8192);
    // The lowest pages first, whatever was there before.
    assert!(block.cast::<u8>().addr().get().is_multiple_of(1 << 26));
    assert!(ground.allocate(layout(65 << 20, 8)).is_err());
}

#[test]
fn samples_add_up() {
    let sample = Sample { calls: 1, asked: 60, taken: 80, held: 160 };
    assert_eq!((sample.internal(), sample.external()), (0.25, 0.5));
    assert_eq!((Sample::default().internal(), Sample::default().external()), (0.0, 0.0));
    let trace = Trace::parse(PERL).unwrap();
    let ground = Ground::new(64 << 20).unwrap();
    let bins = Bins::new(&ground);
    let replayed = replay(&trace, &bins, || ground.held(), 100);
    assert_eq!((replayed.samples.len(), replayed.refused), (100, 0));
    assert!(
        replayed.samples.iter().all(|sample| sample.asked <= sample.taken && sample.taken <= sample.held)
    );
    assert_eq!(replayed.samples.last().unwrap().calls, trace.events().len());
    assert!(replayed.samples.iter().all(|sample| sample.asked <= replayed.fullest.asked));
    assert_eq!((bins.stats().live_blocks, bins.taken_bytes(), bins.verify()), (0, 0, Ok(())));
    assert!(time(&trace, &bins) > Duration::ZERO);
}

#[test]
fn the_designs_differ_as_the_literature_says() {
    let trace = Trace::parse(PERL).unwrap();
    let comparison = compare(&trace, CompareConfig::default().samples(64)).unwrap();
    let held = |name: &str| comparison.rows.iter().find(|row| row.name == name).unwrap().peak_held;
    let internal =
        |name: &str| comparison.rows.iter().find(|row| row.name == name).unwrap().replayed.fullest.internal();
    assert!(comparison.rows.iter().all(|row| row.replayed.refused == 0));
    // First and best fit are close, next fit is behind them, worst fit is the worst.
    assert!(held("first fit").abs_diff(held("best fit")) * 20 < held("best fit"));
    assert!(held("next fit") > held("first fit") && held("worst fit") > held("next fit"));
    // Segregated fit is nearly best fit.
    assert!(held("segregated fit").abs_diff(held("best fit")) * 20 < held("best fit"));
    // Powers of two lose the most inside, classes little, one head instead of two tags less than two.
    assert!(internal("buddy") > 0.2 && internal("slab") < 0.1 && internal("bins") < internal("best fit"));
}
