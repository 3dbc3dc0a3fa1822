//! The command `freestone`: run a program on the Freestone allocator and see where its memory goes.
//!
//! One file a subcommand: `run.rs` starts a program and reports, `classes.rs` prints the size
//! classes, `why.rs` compares two sets of figures, `page/` writes a page about a program, `lab/` one about placement policies, [`explain`] says what each figure of the report
//! means. The command knows the allocator only by the file that the allocator writes at exit ([`snapshot`]) and by the size classes of
//! `freestone-base`.

mod args;
mod attach;
mod chart;
mod classes;
mod compare;
mod conf;
mod contestants;
mod ctl;
pub mod explain;
mod help;
mod lab;
mod library;
mod os;
mod output;
mod page;
mod private_dir;
mod profile;
mod program;
mod record;
mod replay;
mod report;
mod run;
pub mod snapshot;
mod suggest;
mod symbolize;
mod top;
mod verdict;
mod why;

use freestone_pictures::quantity;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code for a command line that cannot be understood.
const USAGE: u8 = 2;

/// Runs the command with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let see = args::help_for(&arguments);
    match args::parse(arguments) {
        Ok(command) => {
            let code = perform(command);
            if NOT_PRINTED.load(Ordering::Relaxed) { ExitCode::FAILURE } else { code }
        }
        Err(message) => {
            complain(&format!("{message}\nSee `{see}`."));
            ExitCode::from(USAGE)
        }
    }
}

fn perform(command: args::Command) -> ExitCode {
    match command {
        args::Command::Help(topic) => print(&help::text(topic)),
        args::Command::Version => print(&format!("freestone {}\n", env!("CARGO_PKG_VERSION"))),
        args::Command::Classes { json } => {
            print(&if json { classes::json() } else { classes::table() });
        }
        args::Command::Stats { markdown: true, .. } => print(&explain::markdown()),
        args::Command::Stats { term, .. } => match explain::answer(term.as_deref()) {
            Ok(text) => print(&text),
            Err(message) => {
                complain(&message);
                return ExitCode::from(USAGE);
            }
        },
        args::Command::Why { first, second } => match why::answer(&first, &second) {
            Ok(text) => print(&text),
            Err(message) => {
                complain(&message);
                return ExitCode::FAILURE;
            }
        },
        args::Command::Symbolize(file) => match symbolize::answer(file.as_deref()) {
            Ok(text) => print(&text),
            Err(message) => {
                complain(&message);
                return ExitCode::FAILURE;
            }
        },
        args::Command::Run(options) => return run::run(*options),
        args::Command::Top(options) => return top::run(options),
        args::Command::Ctl(options) => return ctl::run(&options),
        args::Command::Record(options) => return record::run(options),
        args::Command::Replay(options) => return replay::run(*options),
        args::Command::Player(orders) => return replay::play(&orders),
        args::Command::Compare(options) => return compare::run(options),
        args::Command::Report(options) => return page::run(&options),
        args::Command::Lab(options) => return lab::run(&options),
        args::Command::Profile(options) => return profile::run(&options),
    }
    ExitCode::SUCCESS
}

/// Whether something could not be written to standard output, which makes the command a failure.
static NOT_PRINTED: AtomicBool = AtomicBool::new(false);

/// Writes to standard output; a reader that went away is no error.
fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// The same of what is no text.
fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        complain(&format!("cannot write to standard output: {error}"));
        NOT_PRINTED.store(true, Ordering::Relaxed);
    }
}

/// Writes a message to standard error; there is nobody to tell if that fails.
fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "freestone: {message}");
}

/// Shows an argument as the user would recognise it.
fn shown(argument: &OsString) -> String {
    argument.to_string_lossy().into_owned()
}
