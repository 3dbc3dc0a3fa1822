//! Heap profiles, pprof files, folded stacks and snapshots of figures, each as it stands: any bytes at all are read. What a heap profile says
//! is what the pprof file and the folded stacks made of it say.

use std::io::Read;

use freestone_base::ledger::Share;
use freestone_cli::snapshot;
use freestone_pictures::pprof;
use freestone_pictures::stacks::{Stacks, read_folded};
use freestone_profile::{Measure, Raw, Symbols};

/// The name that libFuzzer calls.
///
/// # Safety
/// `data` leads to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise; an empty input may come as null.
    let bytes = if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    let _ = pprof::read(bytes, &mut Stacks::default());
    figures(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = read_folded(text, &mut Stacks::default());
        heap_profile(text);
    }
    0
}

fn figures(bytes: &[u8]) {
    let Ok(snapshot) = snapshot::read(bytes) else { return };
    let _ = (snapshot.calls.total(), snapshot.pages.in_use(), snapshot.system.calls());
    for class in &snapshot.classes {
        let _ = (class.live_blocks(), class.handed_out());
    }
    if let Some(ledger) = &snapshot.ledger {
        let _ = [Share::Live, Share::Free, Share::Metadata, Share::Foreign].map(|share| ledger.share(share));
    }
    let again = serde_json::to_vec(&snapshot).expect("it was read");
    assert_eq!(snapshot::read(&again).as_ref(), Ok(&snapshot), "read otherwise than it was written");
}

fn heap_profile(text: &str) {
    let Ok(mut raw) = Raw::parse(text) else { return };
    // Names come from files, which are not to be opened here.
    for mapping in &mut raw.mappings {
        mapping.path = "[nowhere]".into();
    }
    let profile = Symbols::new().resolve(&raw);
    for measure in Measure::ALL {
        let _ = (profile.top(measure, 3), profile.folded(measure));
    }
    let _ = (profile.leaks(3), profile.less(&profile).total(Measure::LiveBytes));
    let mut file = Vec::new();
    let packed = profile.to_pprof();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut file).expect("what was packed is whole");
    let read = pprof::read(&file, &mut Stacks::default());
    if profile.stacks.is_empty() {
        return;
    }
    let measures = read.expect("what was written is read");
    // Whole numbers stand in the file, each stack's by itself, and nothing below zero has a width.
    let count = profile.stacks.len() as f64;
    for one in Measure::ALL {
        let name = one.pprof_names().0.replace('_', " ");
        let Some(measure) = measures.iter().find(|measure| measure.name == name) else { continue };
        let sum: f64 = measure.values.iter().map(|(_, value)| value).sum();
        let is_plain = profile.stacks.iter().all(|stack| (0.0..1e15).contains(&stack.get(one)));
        assert!(!is_plain || (profile.total(one) - sum).abs() <= count, "{name} is {sum} in the pprof file");
    }
}
