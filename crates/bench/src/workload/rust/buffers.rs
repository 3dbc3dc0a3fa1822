//! Byte buffers that grow.

use super::{Random, Work, single, timed};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// Vectors in a vector.
pub const BUFFERS: Workload = single(
    "growing-vectors",
    "1,000 vectors of bytes, appended to at random up to 64 KB each, shrunk, taken and begun anew",
    "std's Vec, doubling by realloc",
);

const BUFFERS_LIVE: usize = 1000;
const MOST: usize = 64 << 10;

/// Runs [`BUFFERS`].
pub fn buffers(params: &Params) -> Outcome {
    let steps = params.times(30_000_000);
    let mut random = Random::new(params.seed, 0);
    timed(|| {
        let mut work = Work::default();
        let mut buffers: Vec<Vec<u8>> = Vec::new();
        buffers.resize_with(BUFFERS_LIVE, Vec::new);
        for step in 0..steps {
            let place = random.below(BUFFERS_LIVE);
            let buffer = &mut buffers[place];
            let more = random.log_size(1, 9);
            buffer.extend(std::iter::repeat_n(step as u8, more));
            // Most are begun anew when they are short, as in a program that answers requests.
            let end = match place % 8 {
                0 => MOST,
                1 => MOST / 8,
                _ => 600,
            };
            if buffer.len() > end {
                match random.below(4) {
                    0 => buffer.shrink_to_fit(),
                    1 => buffer.truncate(10),
                    _ => work.done(std::mem::take(buffer).len() as u64),
                }
                if buffer.len() > end {
                    buffer.drain(..end);
                }
            }
        }
        work.done(buffers.iter().map(|buffer| buffer.len() as u64).sum());
        work
    })
}
