//! The tree behind a flame graph: who called whom, with a few figures for each.

use hashbrown::HashMap;
use serde::Serialize;

use crate::html::{Escaped, json_element};
use crate::stacks::{StackId, Stacks};

use super::axis::Unit;

/// Functions below this part of the whole are left out.
const LEAST: f64 = 0.0003;

/// A graph shows at most so many functions; the smallest are left out.
const MOST: usize = 6000;

/// What a graph can be drawn by.
#[derive(Clone, Debug)]
pub struct Measure {
    /// What it is called.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// Of each stack.
    pub values: Vec<(StackId, f64)>,
}

#[derive(Debug, Default)]
struct Node {
    name: String,
    values: Vec<f64>,
    children: HashMap<String, usize>,
    parent: usize,
}

#[derive(Serialize)]
struct Data {
    measures: Vec<(String, &'static str)>,
    names: Vec<String>,
    /// The number of the name, of the parent, and the values; parents come first.
    nodes: Vec<(usize, usize, Vec<f64>)>,
}

/// The flame graph as HTML, to be drawn by the page's script; nothing where there is nothing to draw. `id` tells it from others of the page.
pub fn html(id: &str, title: &str, stacks: &Stacks, measures: &[Measure]) -> String {
    let measures: Vec<&Measure> =
        measures.iter().filter(|measure| measure.values.iter().any(|&(_, value)| value > 0.0)).collect();
    if measures.is_empty() {
        return String::new();
    }
    let nodes = tree(stacks, &measures);
    let data = data(nodes, &measures);
    let mut html = format!("<figure class=\"flame\" id=\"{id}\">\n<div class=\"tools\">");
    if measures.len() > 1 {
        html.push_str("<label>Width shows <select class=\"measure\">");
        for (place, measure) in measures.iter().enumerate() {
            html.push_str(&format!("<option value=\"{place}\">{}</option>", Escaped(&measure.name)));
        }
        html.push_str("</select></label> ");
    }
    html.push_str(
        "<label>Find <input type=\"search\" class=\"seek\" autocomplete=\"off\"></label> \
         <button type=\"button\" class=\"out\">Whole graph</button></div>\n\
         <p class=\"path\" role=\"status\"></p>\n",
    );
    html.push_str(&format!("<div class=\"flames\" role=\"tree\" aria-label=\"{}\"></div>\n", Escaped(title)));
    html.push_str(
        "<noscript><p>The flame graph is drawn by the page's script. The table of call sites has the same figures.</p></noscript>\n",
    );
    html.push_str(&json_element("flame-data", &data));
    html.push_str("</figure>\n");
    html
}

fn tree(stacks: &Stacks, measures: &[&Measure]) -> Vec<Node> {
    let mut nodes = vec![Node { name: "all".into(), values: vec![0.0; measures.len()], ..Node::default() }];
    for (place, measure) in measures.iter().enumerate() {
        for &(stack, value) in measure.values.iter().filter(|(_, value)| *value > 0.0) {
            let mut at = 0;
            nodes[at].values[place] += value;
            for frame in stacks.frames(stack) {
                at = child(&mut nodes, at, frame, measures.len());
                nodes[at].values[place] += value;
            }
        }
    }
    nodes
}

fn child(nodes: &mut Vec<Node>, parent: usize, name: &str, measures: usize) -> usize {
    if let Some(&found) = nodes[parent].children.get(name) {
        return found;
    }
    let number = nodes.len();
    nodes.push(Node { name: name.to_owned(), values: vec![0.0; measures], parent, ..Node::default() });
    nodes[parent].children.insert(name.to_owned(), number);
    number
}

/// The nodes that are wide enough by any measure. A parent is as wide as its children, so none is without.
fn data(nodes: Vec<Node>, measures: &[&Measure]) -> Data {
    let totals = nodes[0].values.clone();
    let widest = |node: &Node| {
        node.values.iter().zip(&totals).map(|(value, total)| value / total.max(1.0)).fold(0.0, f64::max)
    };
    let mut widths: Vec<f64> = nodes.iter().map(widest).collect();
    widths.sort_by(|a, b| b.total_cmp(a));
    let least = widths.get(MOST).copied().unwrap_or(0.0).max(LEAST);
    let mut names: Vec<String> = Vec::new();
    let mut name_ids: HashMap<String, usize> = HashMap::new();
    let mut places = vec![None; nodes.len()];
    let mut kept = Vec::new();
    for (number, node) in nodes.into_iter().enumerate() {
        // Parents were entered before their children.
        let parent = if number == 0 { Some(0) } else { places[node.parent] };
        let (true, Some(parent)) = (number == 0 || widest(&node) > least, parent) else { continue };
        let name = *name_ids.entry(node.name.clone()).or_insert_with(|| {
            names.push(node.name.clone());
            names.len() - 1
        });
        places[number] = Some(kept.len());
        kept.push((name, parent, node.values.iter().map(|value| value.round()).collect()));
    }
    let unit = |unit| if unit == Unit::Bytes { "bytes" } else { "count" };
    Data { measures: measures.iter().map(|m| (m.name.clone(), unit(m.unit))).collect(), names, nodes: kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_add_up_along_the_tree() {
        let mut stacks = Stacks::default();
        let a = stacks.enter(["main", "a"]);
        let b = stacks.enter(["main", "b", "c"]);
        let measure = Measure { name: "live".into(), unit: Unit::Bytes, values: vec![(a, 10.0), (b, 5.0)] };
        let data = data(tree(&stacks, &[&measure]), &[&measure]);
        let node = |name: &str| {
            let id = data.names.iter().position(|n| n == name).unwrap();
            data.nodes.iter().find(|node| node.0 == id).unwrap()
        };
        assert_eq!(node("all").2, [15.0]);
        assert_eq!(node("main").2, [15.0]);
        assert_eq!(node("c").2, [5.0]);
        assert_eq!(data.nodes.len(), 5);
    }

    #[test]
    fn what_is_too_small_to_see_is_left_out() {
        let mut stacks = Stacks::default();
        let values = (0..50_000).map(|n| (stacks.enter([format!("f{n}")]), 1.0)).collect();
        let big = stacks.enter(["big", "inner"]);
        let mut measure = Measure { name: "calls".into(), unit: Unit::Count, values };
        measure.values.push((big, 1e6));
        let text = html("f", "t", &stacks, &[measure]);
        assert!(text.contains("inner") && !text.contains("f77"));
    }
}
