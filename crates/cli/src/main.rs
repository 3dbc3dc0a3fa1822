//! The command `freestone`; all of it is in the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    freestone_cli::main()
}
