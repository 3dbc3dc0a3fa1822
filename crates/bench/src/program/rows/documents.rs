//! Documents as trees of blocks: JSON and XML; and a history of versions.

use std::fmt::Write;

use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::text::Numbers;
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[
    Program {
        name: "jq",
        about: "jq reading a JSON document, selecting, joining, grouping and adding up",
        source: "jq: a counted block for each value, copied when written to",
        needs: &[Need::command("jq", "jq")],
        prepare: Some(|place, scale| json(place, scaled(110_000, scale, 100))),
        command: |place, _| place.subject("jq").args(["-c", FILTER]).arg(place.inputs().join(JSON)),
        results: &[],
    },
    Program {
        name: "json-cpp",
        about: "a C++ program on nlohmann's library: JSON parsed, changed, copied, written, parsed again",
        source: "nlohmann-json: std::map, std::vector and std::string in nodes from operator new",
        needs: &[Need::command("g++", "g++"), Need::header("nlohmann/json.hpp", "nlohmann-json3-dev")],
        prepare: Some(build_json),
        command: |place, _| {
            let program = place.inputs().join("rewrite");
            place.subject(&program.to_string_lossy()).arg(place.inputs().join(JSON))
        },
        results: &[],
    },
    Program {
        name: "xml",
        about: "xmllint reading a large XML document into a tree and writing it with indentation",
        source: "libxml2: a block for each element, attribute and text, all freed in the end",
        needs: &[Need::command("xmllint", "libxml2-utils")],
        prepare: Some(xml),
        command: format_xml,
        results: &["formatted.xml"],
    },
];

const JSON: &str = "document.json";

const FILTER: &str = "map(select(.id % 3 == 0) | {name, count: (.tags | length), tags: (.tags | join(\"-\")), x: .at.x}) \
    | group_by(.count) | map({count: .[0].count, sum: map(.x) | add, names: map(.name) | unique | length})";

/// Items of about 110 bytes with a name, some tags and two numbers.
fn json(place: &mut Place, items: u64) -> Outcome {
    let mut numbers = Numbers(11);
    let mut text = String::from("[");
    for id in 0..items {
        let tags: Vec<String> = (0..numbers.below(9)).map(|_| format!("\"{}\"", numbers.word())).collect();
        let (name, x, y) = (numbers.word(), numbers.below(100_000), numbers.below(1000));
        let comma = if id == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}\n{{\"id\":{id},\"name\":\"{name} {id}\",\"tags\":[{}],\"at\":{{\"x\":{x}.5,\"y\":{y}}}}}",
            tags.join(",")
        );
    }
    text.push_str("]\n");
    place.write(JSON, text)?;
    Ok(())
}

fn build_json(place: &mut Place, scale: f64) -> Outcome {
    json(place, scaled(45_000, scale, 100))?;
    place.write("rewrite.cc", include_str!("files/rewrite.cc"))?;
    let step = place.tool("g++").args(["-std=c++17", "-O1", "rewrite.cc", "-o", "rewrite"]);
    place.run(step)?;
    Ok(())
}

fn xml(place: &mut Place, scale: f64) -> Outcome {
    let mut numbers = Numbers(23);
    let mut text = String::from("<?xml version=\"1.0\"?><list>");
    for id in 0..scaled(110_000, scale, 100) {
        let _ =
            write!(text, "<item id=\"{id}\" kind=\"{}\"><name>{}</name>", numbers.below(50), numbers.line(2));
        for _ in 0..numbers.below(7) {
            let _ = write!(text, "<tag weight=\"{}\">{}</tag>", numbers.below(100), numbers.word());
        }
        let _ = write!(text, "<at x=\"{}\" y=\"{}\"/></item>", numbers.below(1000), numbers.below(1000));
    }
    text.push_str("</list>\n");
    place.write("document.xml", text)?;
    Ok(())
}

fn format_xml(place: &Place, _: f64) -> Step {
    let step = place.subject("xmllint").args(["--nodict", "--format", "--output", "formatted.xml"]);
    step.arg(place.inputs().join("document.xml"))
}
