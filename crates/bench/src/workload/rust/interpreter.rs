//! An interpreter that walks a tree of boxes.

use std::collections::HashMap;

use super::{Random, Work, single, timed};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// Programs made, simplified, run and dropped.
pub const INTERPRETER: Workload = single(
    "box-tree",
    "an interpreter: syntax trees of boxes made, rewritten into new ones, evaluated, dropped",
    "compilers and interpreters in Rust without an arena",
);

#[derive(Clone)]
enum Node {
    Number(i64),
    Variable(String),
    Add(Box<Node>, Box<Node>),
    Times(Box<Node>, Box<Node>),
    Let(String, Box<Node>, Box<Node>),
    List(Vec<Node>),
}

fn grow(random: &mut Random, depth: usize) -> Node {
    if depth == 0 {
        return match random.below(2) {
            0 => Node::Number(random.below(100) as i64 - 50),
            _ => Node::Variable(name(random)),
        };
    }
    let mut child = || Box::new(grow(random, depth - 1));
    let (left, right) = (child(), child());
    match random.below(8) {
        0..3 => Node::Add(left, right),
        3..6 => Node::Times(left, right),
        6 => Node::Let(name(random), left, right),
        _ => Node::List(vec![*left, *right, Node::Number(1)]),
    }
}

fn name(random: &mut Random) -> String {
    format!("variable_{}", random.below(12))
}

/// The tree without sums and products of known numbers.
fn simplify(node: Node) -> Node {
    let fold = |left: Node,
                right: Node,
                apply: fn(i64, i64) -> i64,
                make: fn(Box<Node>, Box<Node>) -> Node| match (simplify(left), simplify(right))
    {
        (Node::Number(left), Node::Number(right)) => Node::Number(apply(left, right)),
        (left, right) => make(Box::new(left), Box::new(right)),
    };
    match node {
        Node::Add(left, right) => fold(*left, *right, i64::wrapping_add, Node::Add),
        Node::Times(left, right) => fold(*left, *right, i64::wrapping_mul, Node::Times),
        Node::Let(name, value, body) => {
            Node::Let(name, Box::new(simplify(*value)), Box::new(simplify(*body)))
        }
        Node::List(nodes) => Node::List(nodes.into_iter().map(simplify).collect()),
        leaf => leaf,
    }
}

fn evaluate(node: &Node, scope: &mut HashMap<String, i64>) -> i64 {
    match node {
        Node::Number(number) => *number,
        Node::Variable(name) => scope.get(name).copied().unwrap_or(3),
        Node::Add(left, right) => evaluate(left, scope).wrapping_add(evaluate(right, scope)),
        Node::Times(left, right) => evaluate(left, scope).wrapping_mul(evaluate(right, scope)),
        Node::Let(name, value, body) => {
            let value = evaluate(value, scope);
            let hidden = scope.insert(name.clone(), value);
            let result = evaluate(body, scope);
            match hidden {
                Some(hidden) => scope.insert(name.clone(), hidden),
                None => scope.remove(name),
            };
            result
        }
        Node::List(nodes) => nodes.iter().fold(0, |sum: i64, node| sum.wrapping_add(evaluate(node, scope))),
    }
}

/// Runs [`INTERPRETER`].
pub fn interpreter(params: &Params) -> Outcome {
    let programs = params.times(3000);
    let mut random = Random::new(params.seed, 0);
    timed(|| {
        let mut work = Work::default();
        // A few programs are kept for a while.
        let mut kept: Vec<Node> = Vec::new();
        for _ in 0..programs {
            let depth = random.between(6, 11);
            let program = grow(&mut random, depth);
            let simple = simplify(program.clone());
            let mut scope = HashMap::new();
            let (result, same) = (evaluate(&program, &mut scope), evaluate(&simple, &mut scope));
            assert_eq!(result, same, "simplifying keeps the result");
            work.done(result as u64);
            if kept.len() < 40 {
                kept.push(program);
            } else {
                let place = random.below(kept.len());
                kept[place] = program;
            }
        }
        work
    })
}
