//! Shared nodes by reference counts.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::{cell::RefCell, collections::VecDeque};

use super::{Random, Work, single, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// A graph that changes all the time.
pub const GRAPH: Workload = single(
    "shared-graph",
    "a graph of counted nodes with shared labels: nodes come and go, edges are moved, breadth-first walks",
    "std's Rc, Weak and Arc",
);

struct Node {
    label: Arc<str>,
    forward: RefCell<Vec<Rc<Node>>>,
    back: RefCell<Vec<Weak<Node>>>,
}

const NODES: usize = 20_000;

/// Runs [`GRAPH`].
pub fn graph(params: &Params) -> Outcome {
    let steps = params.times(3_200_000);
    let mut random = Random::new(params.seed, 0);
    timed(|| {
        let mut work = Work::default();
        let labels: Vec<Arc<str>> = (0..500).map(|_| word(&mut random).into()).collect();
        // In the order of age, so that edges from younger to older nodes alone make no cycle.
        let mut nodes: VecDeque<Rc<Node>> = VecDeque::new();
        for step in 0..steps {
            let fresh = Rc::new(Node {
                label: match random.below(4) {
                    0 => format!("{}{step}", labels[random.below(labels.len())]).into(),
                    _ => Arc::clone(&labels[random.below(labels.len())]),
                },
                forward: RefCell::default(),
                back: RefCell::default(),
            });
            for _ in 0..random.below(4).min(nodes.len()) {
                let old = &nodes[random.below(nodes.len())];
                old.back.borrow_mut().push(Rc::downgrade(&fresh));
                fresh.forward.borrow_mut().push(Rc::clone(old));
            }
            nodes.push_back(fresh);
            if nodes.len() > NODES {
                // The oldest ends when those that still point to it let go.
                let old = nodes.pop_front().expect("many nodes");
                for back in old.back.take().iter().filter_map(Weak::upgrade) {
                    back.forward.borrow_mut().retain(|node| !Rc::ptr_eq(node, &old));
                }
                work.done(old.label.len() as u64);
            }
            if step % 1000 == 0 {
                work.done(walk(nodes.back().expect("one was added")));
            }
        }
        work
    })
}

/// Adds up the labels of the nodes that can be reached in a few steps.
fn walk(from: &Rc<Node>) -> u64 {
    let mut sum = 0;
    let mut front: VecDeque<(Rc<Node>, u32)> = VecDeque::from([(Rc::clone(from), 0)]);
    while let Some((node, depth)) = front.pop_front() {
        sum += u64::from(depth) + node.label.len() as u64;
        if depth < 7 {
            front.extend(node.forward.borrow().iter().map(|node| (Rc::clone(node), depth + 1)));
        }
    }
    sum
}
