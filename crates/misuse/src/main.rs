//! The command `freestone-misuse`: list, run, expect, matrix.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use freestone_misuse::cases::Suite;
use freestone_misuse::matrix::{self, Matrix};
use freestone_misuse::outcome::{self, Outcome, Subject};
use freestone_misuse::{MODES, expectation, mode, peers};
use lexopt::prelude::*;

const HELP: &str = "\
What programs do wrong with memory, and what an allocator makes of it.

usage: freestone-misuse COMMAND

  list                 the faults
  run [FAULT...]       commit faults (default: all), and say how each ended
      --mode MODE        a mode of Freestone: default, hardened, guarded, debug
      --lib PATH         Freestone's library (default: $FREESTONE_LIB, or a release build)
      --peer PEER        on another allocator: NAME=LIBRARY[,VARIABLE=VALUE]..., or glibc
      --rounds N         as often (default 1), and the worst counts
  expect               the same in the form of the files in expected/, for review
  matrix               the tables of docs/safety.md: every fault in every mode and on the peers
      --peers FOLDER     libraries libpeer_NAME.so (default: where `freestone-bench peers` leaves them)
      --peer PEER        one more
      --rounds N         as often (default 3), and the worst counts
      --write FILE       replace the tables in this document
";

fn main() -> ExitCode {
    match command() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("freestone-misuse: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    mode: Option<String>,
    library: Option<OsString>,
    peers: Vec<Subject>,
    folder: Option<PathBuf>,
    rounds: Option<usize>,
    write: Option<PathBuf>,
    faults: Vec<String>,
}

fn command() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(name)) => name.string()?,
        None | Some(Short('h') | Long("help")) => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("mode") => options.mode = Some(arguments.value()?.string()?),
            Long("lib") => options.library = Some(arguments.value()?),
            Long("peer") => options.peers.push(peer(&arguments.value()?.string()?)?),
            Long("peers") => options.folder = Some(arguments.value()?.into()),
            Long("rounds") => options.rounds = Some(arguments.value()?.parse()?),
            Long("write") => options.write = Some(arguments.value()?.into()),
            Value(fault) => options.faults.push(fault.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let suite = Suite::scan(std::env::temp_dir().join(format!("freestone-misuse-{}", std::process::id())))?;
    let code = match command.as_str() {
        "list" => list(&suite),
        "run" => run(&suite, options),
        "expect" => expect(&suite, options),
        "matrix" => tables(&suite, options),
        other => Err(format!("there is no command {other:?}: it may be list, run, expect or matrix").into()),
    };
    suite.remove();
    code
}

fn peer(text: &str) -> Result<Subject, String> {
    if text == "glibc" { Ok(peers::of_libc()) } else { peers::given(text) }
}

fn list(suite: &Suite) -> Result<ExitCode, Box<dyn Error>> {
    for fault in &suite.faults {
        println!("{:14} {:40} {}", suite.programs[fault.program].name, fault.name, fault.words);
    }
    Ok(ExitCode::SUCCESS)
}

/// The one allocator that `run` and `expect` are about.
fn subject(options: &mut Options) -> Result<Subject, String> {
    if let Some(peer) = options.peers.pop() {
        return Ok(peer);
    }
    let mode = mode(options.mode.as_deref().unwrap_or("default"))?;
    Ok(Subject::freestone(&outcome::library(options.library.as_deref())?, mode))
}

fn run(suite: &Suite, mut options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let subject = subject(&mut options)?;
    if let Some(unknown) =
        options.faults.iter().find(|name| !suite.faults.iter().any(|fault| fault.name == **name))
    {
        return Err(format!("there is no fault {unknown:?}; `freestone-misuse list` names them").into());
    }
    let mut sums = [0usize; Outcome::ALL.len()];
    for fault in &suite.faults {
        if !options.faults.is_empty() && !options.faults.contains(&fault.name) {
            continue;
        }
        let program = suite.executable(fault.program)?;
        let mut worst = subject.commit(program, &fault.name)?;
        for _ in 1..options.rounds.unwrap_or(1) {
            let end = subject.commit(program, &fault.name)?;
            if end.outcome > worst.outcome {
                worst = end;
            }
        }
        let words = if worst.said.is_empty() { &worst.effect } else { &worst.said };
        let words = words.lines().next().unwrap_or("");
        println!("{:40} {:9} {words}", fault.name, worst.outcome);
        sums[worst.outcome as usize] += 1;
    }
    let sums: Vec<_> =
        Outcome::ALL.iter().zip(sums).map(|(outcome, sum)| format!("{sum} {outcome}")).collect();
    println!("{}", sums.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn expect(suite: &Suite, mut options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let subject = subject(&mut options)?;
    for fault in &suite.faults {
        let program = suite.executable(fault.program)?;
        let mut outcomes = Vec::new();
        let mut message = String::new();
        for _ in 0..options.rounds.unwrap_or(1).max(1) {
            let end = subject.commit(program, &fault.name)?;
            if end.outcome == Outcome::Reported {
                message = expectation::pattern(end.message());
            }
            if !outcomes.contains(&end.outcome) {
                outcomes.push(end.outcome);
            }
        }
        outcomes.sort();
        let words: Vec<_> = outcomes.iter().map(|outcome| outcome.word()).collect();
        println!("{}", format!("{:42} {:9} {message}", fault.name, words.join("|")).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn tables(suite: &Suite, options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let library = outcome::library(options.library.as_deref())?;
    let any = suite.executable(0)?;
    let mut subjects = Vec::new();
    for mode in MODES.into_iter().filter(|mode| expectation::path(mode.name).is_file()) {
        let subject = Subject::freestone(&library, mode);
        match subject.complaint(any)? {
            Some(complaint) => eprintln!("left out: {}: {complaint}", mode.name),
            None => subjects.push(subject),
        }
    }
    subjects.push(peers::of_libc());
    subjects.extend(peers::in_folder(&options.folder.unwrap_or_else(peers::built)));
    subjects.extend(options.peers);
    let progress = |name: &str| eprintln!("{name}");
    let matrix = Matrix::measure(suite, &subjects, options.rounds.unwrap_or(3), progress)?;
    let tables = matrix.markdown(suite);
    match options.write {
        Some(path) => {
            let document = std::fs::read_to_string(&path)?;
            let new = matrix::replaced(&document, &tables)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            std::fs::write(path, new)?;
        }
        None => println!("{tables}"),
    }
    Ok(ExitCode::SUCCESS)
}
