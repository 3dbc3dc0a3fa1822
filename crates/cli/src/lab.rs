//! `freestone lab`: a trace, or small workloads, through the placement policies of the textbooks, drawn.

mod calls;
mod draw;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use freestone_kit::trace::workloads::{self, Workload};
use freestone_kit::trace::{DESIGNS, Trace};
use freestone_pictures::lab::{Lab, page};
use lexopt::prelude::*;

use crate::args::{self, Command, Topic};
use crate::page::{number, write};
use crate::suggest::hint;
use crate::{complain, print, shown};

/// Calls of a trace that are drawn, unless told otherwise.
const CALLS: usize = 2_000_000;

/// The options of `freestone lab`.
#[derive(Debug)]
pub struct LabOptions {
    /// Names of workloads, and files of traces.
    pub what: Vec<PathBuf>,
    /// Where the page goes.
    pub output: Option<PathBuf>,
    /// Where pictures go.
    pub svg: Option<PathBuf>,
    /// The policies, all or some of [`DESIGNS`].
    pub policies: Vec<&'static str>,
    /// Calls of a trace.
    pub calls: usize,
    /// The process of a trace, by its place.
    pub process: Option<usize>,
    /// Only name the workloads.
    pub list: bool,
}

/// Understands the command line behind `lab`.
pub fn options(mut parser: lexopt::Parser) -> Result<Command, String> {
    const OPTIONS: [&str; 7] = ["output", "svg", "policies", "calls", "process", "list", "help"];
    let mut options = LabOptions {
        what: Vec::new(),
        output: None,
        svg: None,
        policies: DESIGNS.to_vec(),
        calls: CALLS,
        process: None,
        list: false,
    };
    while let Some(argument) = parser.next().map_err(args::text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Lab)),
            Short('o') | Long("output") => options.output = Some(parser.value().map_err(args::text)?.into()),
            Long("svg") => options.svg = Some(parser.value().map_err(args::text)?.into()),
            Long("policies") => options.policies = policies(&shown(&parser.value().map_err(args::text)?))?,
            Long("calls") => options.calls = number(&mut parser, "--calls")?.max(1),
            Long("process") => options.process = Some(number(&mut parser, "--process")?),
            Long("list") => options.list = true,
            Value(name) => options.what.push(name.into()),
            other => return Err(args::unknown(other, "freestone lab", &OPTIONS)),
        }
    }
    Ok(Command::Lab(options))
}

/// The policies of a list; hyphens stand for spaces, too.
fn policies(list: &str) -> Result<Vec<&'static str>, String> {
    let one = |word: &str| {
        let name = word.trim().replace('-', " ");
        DESIGNS.into_iter().find(|design| *design == name || *design == format!("{name} fit")).ok_or_else(
            || {
                format!(
                    "--policies: there is no policy '{}'.{} It takes {}",
                    word.trim(),
                    hint(&name, DESIGNS),
                    DESIGNS.join(", ")
                )
            },
        )
    };
    list.split(',').map(one).collect()
}

/// Draws, and writes what was drawn.
pub fn run(options: &LabOptions) -> ExitCode {
    if options.list {
        print(&list());
        return ExitCode::SUCCESS;
    }
    match perform(options) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn list() -> String {
    let line =
        |workload: &Workload| format!("{}\n  {}\n  {}\n", workload.name, workload.about, workload.lesson);
    workloads::ALL.iter().map(line).collect()
}

/// A trace to be drawn, and what is to be seen in it.
struct Subject {
    trace: Trace,
    lesson: String,
}

fn perform(options: &LabOptions) -> Result<String, String> {
    let subjects: Vec<Subject> = if options.what.is_empty() {
        workloads::ALL.iter().map(|w| Subject { trace: w.trace(), lesson: w.lesson.into() }).collect()
    } else {
        options.what.iter().map(|what| subject(what, options)).collect::<Result<_, _>>()?
    };
    if subjects.len() > MOST {
        return Err(format!("a page shows at most {MOST}, but {} were named", subjects.len()));
    }
    let mut labs: Vec<Lab> = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        progress(&format!("{} of {}: {}", number + 1, subjects.len(), subject.trace.title));
        labs.push(draw::lab(&subject.trace, &subject.lesson, &options.policies)?);
    }
    progress("");
    let mut text = String::new();
    if let Some(dir) = &options.svg {
        std::fs::create_dir_all(dir).map_err(|error| format!("{} cannot be made: {error}", dir.display()))?;
        for lab in &labs {
            let file = dir.join(format!("{}.svg", file_name(&lab.title)));
            write(&file, &lab.svg())?;
            text.push_str(&format!("A picture is in {}.\n", file.display()));
        }
    }
    // Who asks for pictures alone gets no page that nobody asked for.
    if options.output.is_some() || options.svg.is_none() {
        let output = options.output.as_deref().unwrap_or(Path::new("freestone-lab.html"));
        write(output, &page(&labs))?;
        if output == Path::new("-") {
            return Ok(String::new());
        }
        text.push_str(&format!("The page is in {}.\n", output.display()));
    }
    for lab in &labs {
        let name = lab.title.split(':').next().unwrap_or_default();
        text.push_str(&format!("{name}: {}\n", lab.verdict()));
    }
    Ok(text)
}

/// Sections of one page at most.
const MOST: usize = 12;

fn subject(what: &Path, options: &LabOptions) -> Result<Subject, String> {
    let name = what.to_string_lossy();
    if let Some(workload) = workloads::ALL.iter().find(|workload| workload.name == name) {
        return Ok(Subject { trace: workload.trace(), lesson: workload.lesson.into() });
    }
    if !what.exists() {
        let names = workloads::ALL.map(|workload| workload.name);
        return Err(format!(
            "there is neither a file nor a workload '{name}'.{} The workloads are {}",
            hint(&name, names),
            names.join(", ")
        ));
    }
    let (trace, lesson) =
        calls::read(what, options).map_err(|message| format!("{}: {message}", what.display()))?;
    Ok(Subject { trace, lesson })
}

/// The beginning of a title as a name for a file.
fn file_name(title: &str) -> String {
    let name = title.split([':', ',']).next().unwrap_or_default();
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().take(60).map(letter).collect();
    if name.trim_matches(['-', '.']).is_empty() { "lab".into() } else { name }
}

/// What is being done, in place of what was said before.
fn progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let short: String = text.chars().take(76).collect();
        let _ = write!(out, "\r\x1b[K{short}");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_known_by_several_names() {
        assert_eq!(policies("best fit,first, worst-fit").unwrap(), ["best fit", "first fit", "worst fit"]);
        let message = policies("budy").unwrap_err();
        assert!(message.contains("Did you mean 'buddy'?") && message.contains("segregated fit"), "{message}");
    }

    #[test]
    fn titles_make_safe_names() {
        assert_eq!(file_name("comb: blocks"), "comb");
        assert_eq!(file_name("perl 5.36, indexing"), "perl-5.36");
        assert_eq!(file_name("../../etc"), "..-..-etc");
        assert_eq!(file_name(".."), "lab");
    }
}
