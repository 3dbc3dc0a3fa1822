//! A real program, `examples/whole/indexer`, with three allocators of the kit as its global one, and with the
//! system's: it reads the sources of this tree, and prints the same each time.

use crate::examples::built;
use std::path::Path;
use std::process::Command;

/// What it prints, and the most bytes that were live at once where an allocator of the kit says so.
fn run(name: &str) -> (String, Option<usize>) {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["crates/kit/src", "docs/design"].map(|folder| tree.join(folder));
    let output =
        Command::new(built(name)).args(folders).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    let peak = said.strip_prefix("at most ").and_then(|said| said.split(' ').next());
    (String::from_utf8(output.stdout).unwrap(), peak.map(|bytes| bytes.parse().unwrap()))
}

#[test]
fn a_real_program_prints_the_same_over_three_allocators_and_the_system() {
    let (expected, peak) = run("whole_system");
    assert_eq!(peak, None);
    // That it did its work at all.
    assert!(expected.contains("\nread back the same: true\n"), "{expected}");
    assert!(expected.contains("allocate & deallocate: "), "{expected}");
    let peaks = ["whole_smp", "whole_bins", "whole_slabs"].map(|name| {
        let (printed, peak) = run(name);
        assert!(printed == expected, "{name} prints\n{printed}\nthe system\n{expected}");
        peak.expect("an allocator of the kit says how much was live")
    });
    assert!(peaks.iter().all(|&bytes| bytes > 4 << 20), "the whole program lives there: {peaks:?}");
}
