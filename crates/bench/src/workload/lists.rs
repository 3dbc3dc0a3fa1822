//! Linked lists and graphs built, walked and taken apart.
//!
//! # Safety
//!
//! Every block in a list is a node with one link, which nobody writes to but through [`Block::link`].
#![allow(unsafe_code)]

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Lists that grow and shrink in turn, so that the nodes of one lie between those of others.
pub const LISTS: Workload = Workload::single(
    "lists",
    "500 linked lists grow at random, are walked, and are freed whole",
    "Calder, Krintz, John & Austin, Cache-Conscious Data Placement, 1998: the effect of placement on a walk",
);
/// Nodes with arrays of edges.
pub const GRAPH: Workload = Workload::single(
    "graph",
    "a graph of 20,000 nodes: edges appended to growing arrays, nodes deleted and built again",
    "Leskovec & Sosic, SNAP, 2016: a graph as a table of nodes with arrays of edges",
);

/// Runs [`LISTS`].
pub fn lists<M: Memory>(params: &Params) -> Outcome {
    const LISTS: usize = 500;
    let rounds = params.times(60_000);
    let mut random = Random::new(params.seed, 0);
    let mut heads = Table::<Block<M>>::new(LISTS);
    let mut nodes = 0;
    let timer = Timer::new();
    for _ in 0..rounds {
        for _ in 0..200 {
            let list = random.below(LISTS);
            let mut node = Block::node(1, 16 + 16 * (list % 4));
            // SAFETY: a node.
            *unsafe { node.link(0) } = heads[list].take();
            heads[list] = node;
            nodes += 1;
        }
        let whole = random.below(LISTS);
        walk(&mut heads[random.below(LISTS)]);
        free(heads[whole].take());
    }
    for head in &mut *heads {
        free(head.take());
    }
    Outcome::new(2 * nodes, timer.seconds())
}

fn walk<M: Memory>(head: &mut Block<M>) {
    let mut node = head;
    while !node.is_none() {
        // SAFETY: a node.
        node = unsafe { node.link(0) };
    }
}

fn free<M: Memory>(head: Block<M>) {
    let mut node = head;
    while !node.is_none() {
        // SAFETY: a node.
        let next = unsafe { node.link(0) }.take();
        node.free();
        node = next;
    }
}

/// Runs [`GRAPH`].
pub fn graph<M: Memory>(params: &Params) -> Outcome {
    const NODES: usize = 20_000;
    let rounds = params.times(30_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut nodes = Table::<Block<M>>::new(NODES);
    let mut edges = Table::<Block<M>>::new(NODES);
    let mut used = Table::<u32>::new(NODES);
    let mut calls = 0;
    let timer = Timer::new();
    for round in 0..rounds {
        let from = random.below(NODES);
        if round % 8 == 7 {
            calls += u64::from(!nodes[from].is_none()) + u64::from(!edges[from].is_none());
            nodes[from].take().free();
            edges[from].take().free();
            used[from] = 0;
            continue;
        }
        if nodes[from].is_none() {
            nodes[from] = Block::alloc(64);
            edges[from] = Block::alloc(2 * 4);
            calls += 2;
        }
        let offset = 4 * used[from] as usize;
        if offset + 4 > edges[from].size() {
            edges[from] = edges[from].take().resize(2 * offset);
            calls += 1;
        }
        edges[from].write(offset, round as u8);
        used[from] += 1;
    }
    for block in nodes.iter_mut().chain(&mut *edges) {
        calls += u64::from(!block.is_none());
        block.take().free();
    }
    Outcome::new(calls, timer.seconds())
}
