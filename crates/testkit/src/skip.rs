//! Tests that cannot do here what they are for.

use std::fmt::Arguments;
use std::io::Write;

/// Says that the test that runs leaves something out, and why: on standard error past what the test runner holds back of a test that
/// passes, and in the file named by `FREESTONE_SKIPPED`, if there is one, by which such tests are counted.
pub fn skipped(reason: Arguments<'_>) {
    let reason = reason.to_string().trim().replace('\n', "; ");
    let line = format!("skipped: {}: {reason}\n", std::thread::current().name().unwrap_or("a test"));
    // Nobody is left to be told if that fails.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("FREESTONE_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file for what is skipped");
    }
}
