//! Programs that draw, edit and show: Graphviz, vim, w3m.

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "graphviz",
        about: "dot and neato: layered and sprung layouts of graphs, as SVG and PNG",
        needs: &[Need::extra("dot", "graphviz")],
        limit: 120,
        prepare: Some(make_graph),
        run: draw,
    },
    Job {
        name: "vim",
        about: "vim: substitutions, sorting, a macro on every line, undo and redo",
        needs: &[Need::extra("vim", "vim")],
        limit: 120,
        prepare: Some(make_text),
        run: edit,
    },
    Job {
        name: "w3m",
        about: "w3m: a table of a page, laid out under a collector that takes all data of all libraries for roots",
        needs: &[Need::command("w3m", "w3m")],
        limit: 120,
        prepare: Some(make_page),
        run: show,
    },
];

fn make_graph(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(71);
    let edges: Vec<String> =
        (0..150).map(|_| format!("n{} -> n{};\n", numbers.below(90), numbers.below(90))).collect();
    place.write("graph.dot", format!("digraph {{\n{}}}\n", edges.concat()))?;
    Ok(())
}

fn draw(place: &mut Place) -> Outcome {
    let graph = place.inputs().join("graph.dot");
    for (program, form) in [("dot", "-Tsvg"), ("dot", "-Tpng"), ("neato", "-Tsvg")] {
        let step = place.subject(program).arg(form).args(["-o", "drawn"]).arg(&graph);
        place.run_and_note(program, step)?;
        place.note_file("drawn")?;
    }
    Ok(())
}

fn make_text(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(73);
    let lines: Vec<String> = (0..8000).map(|_| numbers.line(8) + "\n").collect();
    place.write("text", lines.concat())?;
    Ok(())
}

fn edit(place: &mut Place) -> Outcome {
    let text = std::fs::read(place.inputs().join("text"))?;
    place.write("text", text)?;
    let commands = ["%s/ba/bbbb/g", "sort", "g/li/normal Ax", "undo", "redo", "wq"];
    let options = commands.iter().flat_map(|command| ["-c", command]);
    let step = place.subject("vim").args(["-es", "-u", "NONE", "-i", "NONE"]).args(options).arg("text");
    place.run_and_note("commands", step)?;
    place.note_file("text")
}

fn make_page(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(89);
    let rows = place.scale().pick(2_500, 40_000);
    let row = |number| {
        let cell = |words| format!("<td>{}</td>", numbers.line(words));
        format!("<tr><td>{number}</td>{}</tr>\n", [1, 4, 9, 3].map(cell).concat())
    };
    let rows: String = (0..rows).map(row).collect();
    place.write("page.html", format!("<html><h1>Rows</h1><table border=1>\n{rows}</table></html>\n"))?;
    Ok(())
}

fn show(place: &mut Place) -> Outcome {
    for columns in ["60", "132"] {
        let page = place.inputs().join("page.html");
        let step = place.subject("w3m").args(["-dump", "-cols", columns, "-T", "text/html"]).arg(page);
        place.run_and_note("page", step)?;
    }
    Ok(())
}
