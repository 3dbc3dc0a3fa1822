//! What address colouring buys: the time to read the first word of each of many blocks of 4 KiB, coloured as malloc
//! gives them and page-aligned as `memalign` does.
//!
//! Page-aligned, all first words fall into one set of the first-level cache and a few of the second; coloured, they
//! spread over all. Run with `cargo run --release -p freestone --example colouring`.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use freestone::raw;

const BLOCK: usize = 4096;
const ROUNDS: usize = 20_000;

fn nanoseconds_a_read(blocks: &[*mut u8]) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            for &block in blocks {
                // SAFETY: a live block.
                black_box(unsafe { block.cast::<u64>().read_volatile() });
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (ROUNDS * blocks.len()) as f64);
    }
    best
}

fn main() {
    println!("blocks   page-aligned   coloured   ratio   cache sets in use");
    for count in [8, 16, 64, 256, 512] {
        let aligned: Vec<*mut u8> = (0..count).map(|_| raw::aligned(BLOCK, BLOCK)).collect();
        let coloured: Vec<*mut u8> = (0..count).map(|_| raw::malloc(BLOCK)).collect();
        for &block in aligned.iter().chain(&coloured) {
            // SAFETY: a live block of that many bytes.
            unsafe { block.write_bytes(1, BLOCK) };
        }
        let sets = |blocks: &[*mut u8]| {
            blocks.iter().map(|block| block.addr() / 64 % 64).collect::<std::collections::HashSet<_>>().len()
        };
        let (slow, fast) = (nanoseconds_a_read(&aligned), nanoseconds_a_read(&coloured));
        println!(
            "{count:6}   {slow:9.2} ns   {fast:5.2} ns   {:5.2}   {} and {}",
            slow / fast,
            sets(&aligned),
            sets(&coloured)
        );
        for block in aligned.into_iter().chain(coloured) {
            // SAFETY: live, freed once.
            unsafe { raw::free(block) };
        }
    }
}
