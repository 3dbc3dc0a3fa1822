//! `table`: the tables of a result again, on the terminal or into a document.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

use super::{Done, options};
use crate::result::score::Metric;
use crate::result::table::{self, Style};
use crate::result::{Results, growth, latency, modes, overhead, ranks};

/// Between these lines of a document stands what was made from a result of one kind; `kind` has a space before it, or is empty.
fn marks(kind: &str) -> (String, String) {
    (format!("<!-- freestone-bench{kind}: begin -->"), format!("<!-- freestone-bench{kind}: end -->"))
}

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let (mut result, mut into): (Option<PathBuf>, Option<PathBuf>) = (None, None);
    let mut metrics = None;
    let (mut markdown, mut only) = (false, Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(path) if result.is_none() => result = Some(path.into()),
            Long("into") => into = Some(arguments.value()?.into()),
            Long("metric") => metrics = Some(options::metrics(arguments.value()?)?),
            Long("markdown") => markdown = true,
            Long("only") => only = options::words(arguments.value()?)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let results = Results::read(&result.ok_or("table of which RESULT?")?)?;
    let style = if markdown || into.is_some() { Style::Markdown } else { Style::of_stdout() };
    if !only.is_empty() && !overhead::is_about(&results) {
        return Err("--only is for the result of an overhead".into());
    }
    let metrics = |usual: &[Metric]| metrics.clone().unwrap_or_else(|| usual.to_vec());
    let (kind, text) = if modes::is_about(&results) {
        (" modes", modes::write(&results, style))
    } else if overhead::is_about(&results) && overhead::counts_instructions(&results) {
        (" instructions", overhead::write(&results, &[Metric::Instructions], &only, style)?)
    } else if overhead::is_about(&results) {
        (" overhead", overhead::write(&results, &metrics(&overhead::USUAL), &only, style)?)
    } else if ranks::is_about(&results) {
        (" ranks", ranks::write(&results, style))
    } else if latency::is_about(&results) {
        (" latency", latency::write(&results, style))
    } else if growth::is_about(&results) {
        (" growth", growth::write(&results, style))
    } else {
        ("", table::write(&results, &metrics(&table::USUAL), style))
    };
    match into {
        None => print!("{text}"),
        Some(path) => insert(&path, &marks(kind), &document(&results, &text))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The tables with the command that made the figures. Of files only the names: where they lay is nobody's business.
fn document(results: &Results, text: &str) -> String {
    let names = results.arguments.iter().map(|argument| argument.rsplit('/').next().unwrap_or(argument));
    let command = names.collect::<Vec<_>>().join(" ");
    format!("```sh\ncargo run --release -p freestone-bench -- {command}\n```\n\n{}", text.trim_end())
}

/// Replaces what stands between the marks of the file at `path`.
fn insert(path: &Path, marks: &(String, String), text: &str) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let old = std::fs::read_to_string(path).map_err(told)?;
    let new = between_marks(&old, marks, text).ok_or_else(|| {
        format!("{} lacks the lines {} and {}, in this order", path.display(), marks.0, marks.1)
    })?;
    std::fs::write(path, new).map_err(told)
}

fn between_marks(old: &str, (begin, end): &(String, String), text: &str) -> Option<String> {
    let (before, rest) = old.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{text}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_told_without_its_folders() {
        let mut results = crate::result::example(1, 2);
        results.arguments =
            ["run", "--all", "--json", "/somewhere/else/result.json"].map(String::from).into();
        let text = document(&results, "the tables\n");
        assert!(text.contains("-- run --all --json result.json\n") && text.ends_with("the tables"), "{text}");
    }

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let marks = marks("");
        let old = format!("a\n{}\nold\n{}\nb\n", marks.0, marks.1);
        let new = between_marks(&old, &marks, "new").unwrap();
        assert_eq!(new, format!("a\n{}\n\nnew\n\n{}\nb\n", marks.0, marks.1));
        assert_eq!(between_marks(&new, &marks, "new").unwrap(), new);
        assert_eq!(between_marks(&new, &super::marks(" ranks"), "new"), None);
    }
}
