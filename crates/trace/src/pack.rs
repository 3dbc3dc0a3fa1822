//! Packing: what a recorder left behind, without what it had not filled.

use std::io::Write;

use freestone_base::trace::sheet::{HEADER, OPEN, PROCESS_WORDS};
use freestone_base::trace::{Kind, Model, Next, ProcessWord};

use crate::ending::TraceError;
use crate::file::Trace;
use crate::source::Source;
use crate::write::write_sheet;

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Bytes written.
    pub bytes: u64,
    /// Events in them; those of sheets that were packed before do not count.
    pub events: u64,
}

/// Writes all sheets of `trace` to `out`, each as long as it is used and with its check. What several calls write one after
/// the other is a trace of all their processes. O(bytes).
///
/// What is damaged stays behind, from there to the end of its lane's sheet: the gap in the numbers tells.
///
/// # Errors
/// When `trace` cannot be read or `out` cannot be written.
pub fn pack<S: Source>(trace: &Trace<S>, out: &mut impl Write) -> Result<Packed, TraceError> {
    let mut packed = Packed::default();
    for index in 0..trace.sheets() {
        let header = trace.sheet(index).header;
        let Ok(mut payload) = trace.payload(index)? else { continue };
        if header.used == OPEN {
            let used = match header.kind {
                Kind::Events => {
                    let (used, events) = used_by_events(&payload, header.number, header.ticks, header.thread);
                    packed.events += events;
                    used
                }
                Kind::Process => used_by_process(&payload),
                Kind::Mappings => payload.iter().position(|&byte| byte == 0).unwrap_or(payload.len()),
            };
            payload.truncate(used);
        }
        // One that was given out when its process ended.
        if payload.is_empty() {
            continue;
        }
        write_sheet(out, header, &payload)?;
        packed.bytes += (HEADER + payload.len()) as u64;
    }
    Ok(packed)
}

fn used_by_events(payload: &[u8], number: u64, ticks: u64, thread: u32) -> (usize, u64) {
    let mut model = Model::new();
    model.begin(number, ticks, thread);
    let (mut at, mut events) = (0, 0);
    while let Ok((Next::Event(_), len)) = model.decode(payload.get(at..).unwrap_or_default()) {
        at += len;
        events += 1;
    }
    (at, events)
}

fn used_by_process(payload: &[u8]) -> usize {
    let at = ProcessWord::CommandLen as usize * 8;
    let len = payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    (PROCESS_WORDS * 8).saturating_add(len as usize).min(payload.len())
}
