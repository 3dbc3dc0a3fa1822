//! Strings as a program that handles text makes them.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Strings appended to, copied, dropped.
pub const STRINGS: Workload = Workload::single(
    "strings",
    "a table of 10,000 strings: words appended, copies made to measure, old ones dropped",
    "own: the growth of std::string and String",
)
.latency();

const STRINGS_COUNT: usize = 10_000;

/// Appends `count` bytes to a string of `len` bytes, its room doubled when it is short; returns the calls made.
fn append<M: Memory>(string: &mut Block<M>, len: &mut u32, count: usize) -> u64 {
    let (old, new) = (*len as usize, *len as usize + count);
    *len = new as u32;
    let calls = if string.is_none() {
        *string = Block::alloc(new.max(8));
        1
    } else if new > string.size() {
        *string = string.take().resize(new.max(2 * string.size()));
        1
    } else {
        0
    };
    string.fill_part(old, new, b'a');
    calls
}

/// Runs [`STRINGS`].
pub fn strings<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(18_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut strings = Table::<Block<M>>::new(STRINGS_COUNT);
    let mut lens = Table::<u32>::new(STRINGS_COUNT);
    let mut calls = 0;
    let timer = Timer::new();
    for _ in 0..rounds {
        let place = random.below(STRINGS_COUNT);
        match random.below(8) {
            0 => {
                // A copy to measure of another string.
                let other = random.below(STRINGS_COUNT);
                if other != place && lens[other] > 0 {
                    calls += u64::from(!strings[place].is_none());
                    strings[place].take().free();
                    lens[place] = 0;
                    let len = lens[other] as usize;
                    calls += append(&mut strings[place], &mut lens[place], len);
                }
            }
            1 => {
                calls += u64::from(!strings[place].is_none());
                strings[place].take().free();
                lens[place] = 0;
            }
            _ => {
                let word = random.between(1, 24);
                calls += append(&mut strings[place], &mut lens[place], word);
            }
        }
        if lens[place] > 4096 {
            calls += 1;
            strings[place].take().free();
            lens[place] = 0;
        }
    }
    for string in &mut *strings {
        calls += u64::from(!string.is_none());
        string.take().free();
    }
    Outcome::new(calls, timer.seconds())
}
