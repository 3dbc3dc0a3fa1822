//! The command `freestone-bench`: measures allocators against each other.
//!
//! One file a subcommand in `command/`; `measure/` runs and measures a program, `result/` turns figures into ratios and tables,
//! `plot/` draws them.

mod command;
mod measure;
mod plot;
mod result;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("freestone-bench: {error}");
            ExitCode::from(2)
        }
    }
}
