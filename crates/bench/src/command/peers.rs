//! `peers`: the allocators to compare with, their versions, and what is missing.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

use super::Done;
use freestone_bench::peers::{self, Build, Workshop};

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut build = Build::Needed;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("no-build") => build = Build::Never,
            other => return Err(other.unexpected().into()),
        }
    }
    let workshop = Workshop::of_this_repository();
    for name in peers::names().chain(peers::secure()) {
        let mut told = |package: &str| eprintln!("building {package} (if it is not up to date)");
        let Some(peer) = peers::find(name, &workshop, build, &mut told) else { continue };
        println!("{:<16} {}", peer.name, peer.about);
        println!("{:<16} version {}", "", peer.version);
        for (key, value) in peer.environment {
            println!("{:<16} runs with {key}={value}", "");
        }
        say_form("preloaded", &peer.preload);
        say_form("in Rust", &peer.program);
    }
    Ok(ExitCode::SUCCESS)
}

fn say_form(form: &str, found: &Result<PathBuf, String>) {
    match found {
        Ok(path) => println!("{:<16} {form}: {}", "", path.display()),
        Err(reason) => println!("{:<16} {form}: absent, {reason}", ""),
    }
}
