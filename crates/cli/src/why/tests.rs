use super::*;

fn snapshot(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut snapshot = snapshot::read(include_bytes!("../../tests/fixtures/snapshot.json")).unwrap();
    change(&mut snapshot);
    snapshot
}

/// The fixture, later, with some lines larger or smaller.
fn later(lines: &[(Line, i64)], change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    snapshot(|snapshot| {
        snapshot.elapsed_ns += 60_000_000_000;
        let ledger = snapshot.ledger.as_mut().unwrap();
        for (line, grown) in lines {
            let bytes = ledger.lines.get_mut(line.name()).unwrap();
            *bytes = bytes.checked_add_signed(*grown).unwrap();
            ledger.resident = ledger.resident.checked_add_signed(*grown).unwrap();
        }
        change(snapshot);
    })
}

fn said(after: Snapshot) -> String {
    compare(snapshot(|_| ()), after).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

const MIB: i64 = 1 << 20;

#[test]
fn a_leak_is_told_by_its_blocks() {
    let text = said(later(&[(Line::Live, 40 * MIB), (Line::Rounding, MIB / 8)], |snapshot| {
        let class = snapshot.classes.iter_mut().find(|class| class.size == 1024).unwrap();
        class.slabs += 1280;
        class.slab_bytes += 1280 * 32768;
        class.allocs += 60_000;
        class.frees += 19_040;
        class.requested += 60_000 * 1000;
        snapshot.live.blocks += 40_960;
    }));
    assert!(
        text.starts_with("In 60.00 s the resident set of python3 (process 4711) grew by 40.2 MiB"),
        "{text}"
    );
    assert!(
        text.contains("% of that: the program holds more blocks, which is a leak if it goes on"),
        "{text}"
    );
    assert!(text.contains("40,960 blocks more of 1,024 bytes (40.0 MiB), 60,000 asked for"), "{text}");
    assert!(text.contains("1,000 bytes asked for on average") && !text.contains("Fragmentation"), "{text}");
}

#[test]
fn fragmentation_is_told_from_a_leak() {
    let text = said(later(&[(Line::FreeInSlabs, 30 * MIB), (Line::Live, -10 * MIB)], |snapshot| {
        let class = snapshot.classes.iter_mut().find(|class| class.size == 256).unwrap();
        class.slabs += 960;
        class.slab_bytes += 960 * 32768;
        class.free_in_slabs += 960 * 128 - 100;
    }));
    assert!(text.contains("which is fragmentation, not a leak"), "{text}");
    assert!(
        text.contains("what is live fell by 10.0 MiB") && text.contains("256 bytes: 969 slabs"),
        "{text}"
    );
    assert!(!text.contains("Live blocks:"), "{text}");
}

#[test]
fn other_causes_are_named_with_what_would_change_them() {
    for (line, title, remedy) in [
        (Line::Caches, "Caches: +8.0 MiB", "cache_bytes"),
        (Line::FreeDirty, "Free spans: +8.0 MiB", "malloc_trim(0)"),
        (Line::HugeOverhang, "Free spans: +8.0 MiB", "huge pages cover them"),
        (Line::Records, "Metadata: +8.0 MiB", "records stay"),
        (Line::OtherAnonymous, "Other mappings: +8.0 MiB", "PYTHONMALLOC"),
        (Line::Shared, "Other mappings: +8.0 MiB", "mmap"),
        (Line::Code, "Files: +8.0 MiB", "nothing"),
        (Line::Rounding, "Rounding: +8.0 MiB", "freestone classes"),
    ] {
        let text = said(later(&[(line, 8 * MIB)], |_| ()));
        assert!(text.contains(title) && text.contains(remedy), "{text}");
    }
    let text = said(later(&[(Line::Stacks, 8 * MIB)], |snapshot| {
        snapshot.ledger.as_mut().unwrap().threads = 103;
    }));
    assert!(text.contains("there are more threads") && text.contains("103 threads, before 3"), "{text}");
}

#[test]
fn little_or_no_growth_is_said_so() {
    let text = said(later(&[(Line::Code, 4096)], |_| ()));
    assert!(
        text.contains("stayed at 21.9 MiB. No line of the ledger grew by more than 256.0 KiB."),
        "{text}"
    );
    let text = said(later(&[(Line::Live, -5 * MIB), (Line::FreeDirty, MIB)], |_| ()));
    assert!(
        text.contains("fell by 4.0 MiB") && text.contains("What grew: the program freed memory"),
        "{text}"
    );
}

#[test]
fn figures_that_cannot_be_compared_are_refused() {
    let other = snapshot(|snapshot| snapshot.pid += 1);
    assert!(
        compare(snapshot(|_| ()), other)
            .unwrap_err()
            .contains("two processes (python3 4711 and python3 4712)")
    );
    let without = snapshot(|snapshot| snapshot.ledger = None);
    assert!(compare(snapshot(|_| ()), without).unwrap_err().contains("no ledger"));
    let swapped = compare(later(&[(Line::Live, MIB)], |_| ()), snapshot(|_| ())).unwrap();
    assert!(
        swapped.contains("compared in the order of time") && swapped.contains("grew by 1.0 MiB"),
        "{swapped}"
    );
}

#[test]
fn a_report_of_freestone_run_will_do() {
    let report = format!("{{\"version\":1,\"heap\":{}}}", include_str!("../../tests/fixtures/snapshot.json"));
    assert_eq!(figures(report.as_bytes()).unwrap().pid, 4711);
    assert!(figures(b"{}").is_err() && figures(b"").is_err());
}

#[test]
fn lines_fit_a_terminal() {
    let after = later(&Line::ALL.map(|line| (line, 3 * MIB)), |_| ());
    let text = compare(snapshot(|_| ()), after).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 100 && line.trim_end() == line), "{text}");
}
