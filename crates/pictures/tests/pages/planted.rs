//! What is said of planted faults.

use freestone_pictures::event::{Call, Event};
use freestone_pictures::report::Sources;
use freestone_pictures::stacks::{StackId, Stacks};
use freestone_pictures::study::study;

use crate::service::{Faults, sources};

pub fn each_fault_is_among_the_first_findings() {
    let findings = sources(Faults::ALL).findings();
    let kinds: Vec<&str> = findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds[..3], ["Leak or unbounded cache", "Fragmentation", "Growing in steps"], "{findings:#?}");
    assert!(findings[0].seen.contains("orders::sessions::remember ← orders::serve"), "{findings:#?}");
    assert!(findings[1].seen.contains("orders::index::insert<K, V>"), "{findings:#?}");
    assert!(
        findings[2].seen.contains("orders::read_body") && findings[2].advice.contains("8.0 KiB"),
        "{findings:#?}"
    );
    let short =
        findings.iter().find(|finding| finding.kind == "Short-lived blocks").expect("short-lived blocks");
    assert!(short.seen.contains("orders::log_line"), "{findings:#?}");
}

pub fn a_program_without_faults_has_no_findings() {
    let sources = sources(Faults::default());
    assert_eq!(sources.findings(), []);
    assert!(sources.page().contains("Nothing stands out"));
}

/// A leak is one though the run stood still for most of its time; call sites with the same name are one; and it is named by the
/// program's own line, not by that of a header which allocates for it.
pub fn a_leak_is_found_in_a_run_that_stood_still_and_named_by_the_programs_line() {
    let mut stacks = Stacks::default();
    let header = "make_unique<Session> at c++/12/bits/unique_ptr.h:1065";
    let sites = [
        stacks.enter(["_start", "main at a.cc:9", "open at a.cc:5", header, "operator new(unsigned long)"]),
        stacks.enter(["_start", "main at a.cc:9", "open at a.cc:5", "std::vector<int>::push_back"]),
    ];
    // All of it in the first and the last tenth of the time.
    let time = |n: u64| if n < 1000 { n } else { 9000 + n };
    let event = |n: u64| {
        let call = Call::Allocate { address: 0x10_0000 + n * 256, size: 200 };
        Event { time: time(n), thread: 0, call, stack: Some((sites[n as usize % 2], 1.0)) }
    };
    let events: Vec<Event> = (0..2000).map(event).collect();
    let findings = Sources { studied: Some(study(&events)), stacks, ..Sources::default() }.findings();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let seen = &findings[0].seen;
    assert!(
        seen.contains("at open at a.cc:5 ← main at a.cc:9 grew") && seen.contains("of the calls"),
        "{seen}"
    );
    assert!(seen.contains("390.7 KiB in 2,000 blocks still live"), "{seen}");
}

/// Addresses and sizes that no allocator hands out, and blocks that were never allocated.
pub fn hostile_calls_do_no_harm() {
    let mut number = 1_u64;
    let mut events = Vec::new();
    for time in 0..3000_u64 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32| {
            [0, 1, 4096, 1 << 40, u64::MAX, u64::MAX - 4096, number % 100_000][(number >> shift) as usize % 7]
        };
        let (address, size, from) = (pick(20), pick(30), pick(40));
        let call = match number >> 60 {
            0..8 => Call::Allocate { address, size },
            8..12 => Call::Free { address, untouched: size },
            _ => Call::Resize { from, to: address, size },
        };
        let stack = (number & 4096 == 0).then_some((StackId((number % 50) as u32), 1.0));
        events.push(Event { time: time * (number % 3), thread: number as u32 % 5, call, stack });
    }
    let page = Sources { studied: Some(study(&events)), ..Sources::default() }.page();
    assert!(!page.contains("NaN") && !page.contains(">inf"));
    let nothing = Sources { studied: Some(study(&[])), ..Sources::default() }.page();
    assert!(nothing.contains("0 calls"));
    Sources::default().page();
}

/// What each site holds when most is live is exact, though sites are touched at other times.
pub fn peaks_are_exact() {
    let at = |time, call, site| Event { time, thread: 0, call, stack: Some((StackId(site), 1.0)) };
    let allocate = |time, address, size, site| at(time, Call::Allocate { address, size }, site);
    let free = |time, address| at(time, Call::Free { address, untouched: 0 }, 0);
    let studied = study(&[
        allocate(1, 0x1000, 100, 0),
        allocate(2, 0x2000, 200, 1),
        free(3, 0x1000),
        allocate(4, 0x3000, 150, 2),
        free(5, 0x2000),
        free(6, 0x3000),
    ]);
    assert_eq!((studied.peak.bytes, studied.peak.blocks, studied.end.bytes), (350, 2, 0));
    let at_peak: Vec<f64> = studied.sites.iter().map(|site| site.at_peak).collect();
    assert_eq!(at_peak, [0.0, 200.0, 150.0]);
}

pub fn a_long_trace_makes_no_long_page() {
    let event = |n: u64| {
        let (block, round) = (n % 1000, n / 1000);
        let address = 0x10_0000 + block * 5000;
        let call = match round % 2 {
            0 => Call::Allocate { address, size: 16 + (n * 37) % 4900 },
            _ => Call::Free { address, untouched: 0 },
        };
        Event { time: n * 100, thread: (n % 16) as u32, call, stack: Some((StackId((n % 3000) as u32), 1.0)) }
    };
    let events: Vec<Event> = (0..300_000).map(event).collect();
    let mut sources = Sources { studied: Some(study(&events)), ..Sources::default() };
    for site in 0..3000 {
        sources.stacks.enter(["main".to_owned(), format!("outer{}", site % 40), format!("site{site}")]);
    }
    let page = sources.page();
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
}
