//! `freestone report`: one page about a program, from a trace, figures, stacks, or all of them.

mod figures;
mod sources;
pub mod trace;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

use crate::args::{self, Command, Topic};
use crate::{complain, shown};

/// The options of `freestone report`.
#[derive(Debug, Default)]
pub struct PageOptions {
    /// What to show.
    pub files: Vec<PathBuf>,
    /// Where the page goes.
    pub output: Option<PathBuf>,
    /// The process of a trace, by its place.
    pub process: Option<usize>,
}

/// Understands the command line behind `report`.
pub fn options(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut options = PageOptions::default();
    while let Some(argument) = parser.next().map_err(args::text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Report)),
            Short('o') | Long("output") => options.output = Some(parser.value().map_err(args::text)?.into()),
            Long("process") => options.process = Some(number(&mut parser, "--process")?),
            Value(file) => options.files.push(file.into()),
            other => return Err(args::unknown(other, "freestone report", &["output", "process", "help"])),
        }
    }
    if options.files.is_empty() {
        return Err("freestone report: of what? Say `freestone report FILE`, FILE being a trace of `freestone record`, the \
                    figures of `freestone run --json --output FILE`, a heap profile, or folded stacks"
            .into());
    }
    Ok(Command::Report(options))
}

/// The value of an option that takes a whole number.
pub fn number(parser: &mut lexopt::Parser, option: &str) -> Result<usize, String> {
    let value = shown(&parser.value().map_err(args::text)?);
    value.parse().map_err(|_| format!("{option} takes a whole number, but got '{value}'"))
}

/// Writes the page.
pub fn run(options: &PageOptions) -> ExitCode {
    let written = sources::read(&options.files, options.process).and_then(|sources| {
        let output = options.output.as_deref().unwrap_or(Path::new("freestone-report.html"));
        write(output, &sources.page())?;
        let found = sources.findings();
        if output != Path::new("-") {
            let first = found.first().map_or("\nNothing stands out.".into(), |finding| {
                format!("\n{}. {}", finding.kind, finding.seen)
            });
            crate::print(&format!("The page is in {}.{first}\n", output.display()));
        }
        Ok(())
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// Writes a page to a file, or to standard output for `-`.
pub fn write(output: &Path, text: &str) -> Result<(), String> {
    if output == Path::new("-") {
        crate::print(text);
        return Ok(());
    }
    let file = std::fs::File::create(output).and_then(|mut file| file.write_all(text.as_bytes()));
    file.map_err(|error| format!("{} cannot be written: {error}", output.display()))
}
