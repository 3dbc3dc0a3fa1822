//! What calls what, by names: who is called by most, and circles (Tarjan's strongly connected components, 1972).

use super::index::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Names are numbers here, in the order of the alphabet.
struct Graph<'i> {
    names: Vec<&'i str>,
    calls: Vec<Vec<usize>>,
}

#[derive(Default)]
struct Search {
    order: Vec<Option<usize>>,
    lowest: Vec<usize>,
    open: Vec<usize>,
    is_open: Vec<bool>,
    circles: Vec<Vec<usize>>,
    visited: usize,
}

impl<'i> Graph<'i> {
    fn of(index: &'i Index) -> Graph<'i> {
        let mut calls = BTreeMap::<&str, BTreeSet<&str>>::new();
        for function in index.files.iter().flat_map(|file| &file.functions) {
            calls.entry(&function.name).or_default().extend(function.calls.iter().map(String::as_str));
        }
        let numbers: BTreeMap<&str, usize> = calls.keys().copied().zip(0..).collect();
        let known =
            |names: &BTreeSet<&str>| names.iter().filter_map(|name| numbers.get(name)).copied().collect();
        Graph { calls: calls.values().map(known).collect(), names: calls.into_keys().collect() }
    }

    fn circles(&self) -> Vec<Vec<usize>> {
        let count = self.names.len();
        let mut search = Search {
            order: vec![None; count],
            lowest: vec![0; count],
            is_open: vec![false; count],
            ..Search::default()
        };
        for node in 0..count {
            if search.order[node].is_none() {
                self.visit(node, &mut search);
            }
        }
        search.circles
    }

    /// With a stack of its own: chains of calls are long.
    fn visit(&self, root: usize, search: &mut Search) {
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.pop() {
            if next == 0 {
                search.order[node] = Some(search.visited);
                search.lowest[node] = search.visited;
                search.visited += 1;
                search.open.push(node);
                search.is_open[node] = true;
            } else {
                let done = self.calls[node][next - 1];
                if search.is_open[done] {
                    search.lowest[node] = search.lowest[node].min(search.lowest[done]);
                }
            }
            let Some(&callee) = self.calls[node].get(next) else {
                search.close(node);
                continue;
            };
            path.push((node, next + 1));
            if search.order[callee].is_none() {
                path.push((callee, 0));
            }
        }
    }
}

impl Search {
    /// All below `node` are visited: is it the first of its circle?
    fn close(&mut self, node: usize) {
        if Some(self.lowest[node]) != self.order[node] {
            return;
        }
        let first = self.open.iter().rposition(|&open| open == node).expect("it was opened");
        let mut circle = self.open.split_off(first);
        circle.iter().for_each(|&member| self.is_open[member] = false);
        if circle.len() > 1 {
            circle.sort_unstable();
            self.circles.push(circle);
        }
    }
}

pub fn report(index: &Index, out: &mut String) -> std::fmt::Result {
    let graph = Graph::of(index);
    let mut callers = vec![0; graph.names.len()];
    graph.calls.iter().flatten().for_each(|&callee| callers[callee] += 1);
    let mut called: Vec<(usize, &str)> = callers.into_iter().zip(graph.names.iter().copied()).collect();
    called.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    writeln!(out, "names of functions {}, called by most", graph.names.len())?;
    called.iter().take(5).try_for_each(|(callers, name)| writeln!(out, "  {name} {callers}"))?;
    let mut circles = graph.circles();
    circles.sort_by_key(|circle| (std::cmp::Reverse(circle.len()), circle[0]));
    writeln!(out, "circles of calls {}, of which", circles.len())?;
    circles.iter().take(3).try_for_each(|circle| {
        let names: Vec<&str> = circle.iter().take(4).map(|&member| graph.names[member]).collect();
        writeln!(out, "  {} {}", circle.len(), names.join(" "))
    })
}
