//! Whatever a file holds, reading and packing it neither panics nor takes more memory than the file is long.
//!
//! `cargo +nightly fuzz run read` in `crates/trace`.
#![no_main]

use freestone_trace::{Trace, pack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(trace) = Trace::new(bytes) else { return };
    for process in 0..trace.processes().len().min(4) {
        let Ok(mut calls) = trace.calls(process) else { continue };
        calls.by_ref().for_each(drop);
        let _ = (calls.ending().to_string(), calls.blocks().peak_bytes(), trace.mappings(process));
    }
    let mut packed = Vec::new();
    pack(&trace, &mut packed).expect("memory takes everything");
    if !packed.is_empty() {
        let again = Trace::new(packed).expect("what was packed is a trace");
        assert!(again.damage().is_none(), "{:?}", again.damage());
    }
});
