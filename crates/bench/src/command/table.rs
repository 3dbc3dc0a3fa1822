//! `table`: the tables of a result again, on the terminal or into a document.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

use super::{Done, options};
use crate::result::table::{self, Style};
use crate::result::{Results, overhead};

/// Between these lines of a document stands what was made from a result.
const MARKS: (&str, &str) = ("<!-- freestone-bench: begin -->", "<!-- freestone-bench: end -->");

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
    let text = match overhead::is_about(&results) {
        true => overhead::write(&results, metrics.as_deref().unwrap_or(&overhead::USUAL), &only, style)?,
        false if only.is_empty() => {
            table::write(&results, metrics.as_deref().unwrap_or(&table::USUAL), style)
        }
        false => return Err("--only is for the result of an overhead".into()),
    };
    match into {
        None => print!("{text}"),
        Some(path) => insert(&path, &document(&results, &text))?,
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
fn insert(path: &Path, text: &str) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let old = std::fs::read_to_string(path).map_err(told)?;
    let new = between_marks(&old, text).ok_or_else(|| {
        format!("{} lacks the lines {} and {}, in this order", path.display(), MARKS.0, MARKS.1)
    })?;
    std::fs::write(path, new).map_err(told)
}

fn between_marks(old: &str, text: &str) -> Option<String> {
    let (before, rest) = old.split_once(MARKS.0)?;
    let (_, after) = rest.split_once(MARKS.1)?;
    Some(format!("{before}{}\n\n{text}\n\n{}{after}", MARKS.0, MARKS.1))
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
        let old = format!("a\n{}\nold\n{}\nb\n", MARKS.0, MARKS.1);
        let new = between_marks(&old, "new").unwrap();
        assert_eq!(new, format!("a\n{}\n\nnew\n\n{}\nb\n", MARKS.0, MARKS.1));
        assert_eq!(between_marks(&new, "new").unwrap(), new);
        assert_eq!(between_marks("nothing", "new"), None);
    }
}
