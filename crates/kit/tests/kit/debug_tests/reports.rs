//! What the children say, and how they end.

use super::bugs::VARIABLE;
use crate::conformance::has_lines;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// Commits a bug in a child.
fn child(bug: &str) -> Output {
    let test = concat!(module_path!(), "::child").split_once("::").unwrap().1.replace("reports", "bugs");
    Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env(VARIABLE, bug)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

/// The lines of the report must contain these parts, in this order.
fn expect_in_order(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let mut rest = &*said;
    let has_lines = has_lines();
    for part in parts.iter().filter(|part| has_lines || !(part.ends_with("bugs.rs:") || part.trim() == "at"))
    {
        let Some(at) = rest.find(part) else { panic!("no {part:?}, or not in its place, in\n{said}") };
        rest = &rest[at + part.len()..];
    }
}

/// The bug is reported, and the test panics of it.
fn expect_panic(bug: &str, parts: &[&str]) {
    let output = child(bug);
    assert_eq!(output.status.code(), Some(101), "{bug}: {output:?}");
    expect_in_order(&output, parts);
    expect_in_order(&output, &["panicked at", "freestone debug: "]);
}

fn expect_signal(bug: &str, signal: i32, parts: &[&str]) {
    let output = child(bug);
    assert_eq!(output.status.signal(), Some(signal), "{bug}: {output:?}");
    expect_in_order(&output, parts);
}

#[test]
fn a_double_free_has_three_traces() {
    for (bug, size) in [("double_free", "24"), ("double_free_large", "32000")] {
        let head = format!("freestone debug: double free of a block of {size} bytes (at 0x");
        expect_panic(
            bug,
            &[
                &head,
                "  allocated by thread ",
                "0: ",
                "allocates",
                "         at ",
                "bugs.rs:",
                "double_free\n",
                "  first freed by thread ",
                "0: ",
                "frees",
                "bugs.rs:",
                "  freed a second time by thread ",
                "0: ",
                "frees_again",
                "bugs.rs:",
                "double_free\n",
            ],
        );
    }
}

#[test]
fn traces_begin_at_the_caller_and_end_at_the_test() {
    let output = child("double_free");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("freestone_kit::debug::traits"), "{said}");
    assert!(!said.contains("backtrace::"), "{said}");
    assert!(!said.contains("lang_start"), "{said}");
}

#[test]
fn a_double_free_names_both_threads() {
    let output = child("double_free_by_another_thread");
    let said = String::from_utf8_lossy(&output.stderr);
    let thread = |title: &str| {
        let (_, rest) = said.split_once(title).unwrap_or_else(|| panic!("no {title:?} in\n{said}"));
        rest.split_once(':').unwrap().0.trim_start_matches(" by thread ").to_string()
    };
    assert_eq!(thread("  allocated"), thread("  first freed"));
    assert_ne!(thread("  first freed"), thread("  freed a second time"));
}

#[test]
fn it_can_abort() {
    expect_signal("double_free_aborts", SIGABRT, &["double free of a block of 24 bytes", "frees_again"]);
}

#[test]
fn an_invalid_free_says_where_the_address_lies() {
    expect_panic(
        "invalid_free_inside",
        &[
            "invalid free of an address inside a block of 24 bytes, at offset 8",
            "allocated",
            "freed by thread",
        ],
    );
    expect_panic(
        "invalid_free_foreign",
        &["invalid free of what is no block of this allocator", "  freed by thread", "frees"],
    );
}

#[test]
fn a_wrong_layout_is_named() {
    expect_panic(
        "wrong_size",
        &["wrong size on free of a block of 24 bytes: given 32", "allocates", "freed", "frees"],
    );
    expect_panic(
        "wrong_align",
        &[
            "wrong alignment on free of a block of 24 bytes: it has 8, given 16",
            "allocates",
            "freed",
            "frees",
        ],
    );
}

#[test]
fn over_and_underruns_are_measured() {
    expect_panic(
        "overrun",
        &["overrun of a block of 24 bytes, 1 byte behind its end", "allocates", "found at a free", "frees"],
    );
    expect_panic(
        "underrun",
        &["underrun of a block of 24 bytes, 4 bytes before its beginning", "allocates", "found at a free"],
    );
    expect_panic(
        "overrun_check",
        &["overrun of a block of 24 bytes, 1 byte behind its end", "allocates", "found by a check"],
    );
}

#[test]
fn writes_after_free_are_found_in_memory_that_stays() {
    expect_panic(
        "write_after_free",
        &[
            "write after free to a block of 24 bytes, at offset 7",
            "  allocated by",
            "allocates",
            "  freed by",
            "frees",
            "  found by a check",
        ],
    );
}

#[test]
fn a_resize_after_free_has_three_traces() {
    expect_panic(
        "resize_after_free",
        &[
            "resize of a block of 24 bytes that was freed",
            "  allocated by",
            "allocates",
            "  freed by",
            "frees",
            "  resized by",
            "resize_after_free",
        ],
    );
}

#[test]
fn leaks_are_listed_at_the_end() {
    let output = child("leak");
    assert!(output.status.success(), "{output:?}");
    expect_in_order(
        &output,
        &["freestone debug: leak of 3 blocks, 72 bytes in all (at 0x", "allocated by", "allocates", "leak"],
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr).matches("freestone debug").count(), 1);
}

#[test]
fn a_use_after_free_faults() {
    expect_signal("use_after_free", SIGSEGV, &[]);
}

#[test]
fn faults_are_explained() {
    expect_signal(
        "use_after_free_explained",
        SIGSEGV,
        &[
            "use after free of a block of 24 bytes, at offset 2",
            "  allocated by",
            "allocates",
            "  freed by",
            "frees",
            "  accessed by",
            "touches",
        ],
    );
    expect_signal(
        "overrun_explained",
        SIGSEGV,
        &["overrun of a block of 24 bytes, 1 byte behind its end", "allocates", "accessed", "touches"],
    );
    expect_signal(
        "underrun_explained",
        SIGSEGV,
        &["underrun of a block of 24 bytes, 1 byte before its", "allocates", "accessed", "touches"],
    );
}

#[test]
fn a_fault_elsewhere_is_left_as_it_is() {
    let output = child("fault_elsewhere");
    assert_eq!(output.status.signal(), Some(SIGSEGV));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("freestone debug"));
}

#[test]
fn calls_and_reports_can_go_to_the_log() {
    let output = child("logged");
    assert!(output.status.success(), "{output:?}");
    expect_in_order(
        &output,
        &[
            "INFO freestone_kit::debug allocate 24 bytes, align 8: 0x",
            "INFO freestone_kit::debug allocate 32000 bytes, align 8: refused",
            "INFO freestone_kit::debug resize 0x",
            " from 24 to 32 bytes: 0x",
            "INFO freestone_kit::debug free 24 bytes, align 8: 0x",
            "ERROR freestone_kit::debug freestone debug: wrong size on free of a block of 32 bytes: given 24",
        ],
    );
}

#[test]
fn freed_memory_is_not_resident_and_splits_no_mapping() {
    for child_of in ["freed_memory", "closed_pages"] {
        let output = child(child_of);
        assert!(output.status.success(), "{output:?}");
    }
}
