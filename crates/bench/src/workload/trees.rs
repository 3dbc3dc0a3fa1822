//! Binary trees built and dropped.
//!
//! # Safety
//!
//! Every block here is a node with two links, which nobody writes to but through [`Block::link`].
#![allow(unsafe_code)]

use super::{Block, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Perfect trees of many depths beside one that lives throughout.
pub const TREES: Workload = Workload::single(
    "trees",
    "perfect binary trees of depth 4 to 16 built and freed beside one that lives throughout",
    "Ellis, Kovac & Boehm, GCBench, 1997; binary-trees of the Computer Language Benchmarks Game",
);

const LEAST: u32 = 4;

fn build<M: Memory>(depth: u32) -> Block<M> {
    let mut node = Block::node(2, 16);
    if depth > 0 {
        for side in 0..2 {
            // SAFETY: a node.
            *unsafe { node.link(side) } = build(depth - 1);
        }
    }
    node
}

fn free<M: Memory>(mut node: Block<M>) -> u64 {
    let mut count = 1;
    for side in 0..2 {
        // SAFETY: a node.
        let child = unsafe { node.link(side) }.take();
        if !child.is_none() {
            count += free(child);
        }
    }
    node.free();
    count
}

/// Runs [`TREES`].
pub fn trees<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(80);
    let deepest = if params.scale < 0.01 { 8 } else { 16 };
    let timer = Timer::new();
    let mut nodes = 0;
    let lasting = build::<M>(deepest);
    for _ in 0..rounds {
        for depth in (LEAST..=deepest).step_by(4) {
            // As many nodes of each depth.
            for _ in 0..1u64 << (deepest - depth) {
                nodes += free(build::<M>(depth));
            }
        }
    }
    nodes += free(lasting);
    Outcome::new(2 * nodes, timer.seconds())
}
