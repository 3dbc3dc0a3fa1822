//! The program that runs one workload and prints what came of it.

use std::process::ExitCode;

use lexopt::prelude::*;

use crate::workload::{self, Workload};
use crate::{Memory, Params};

const HELP: &str = "\
Runs one workload and prints its outcome as a line of JSON.

Usage: PROGRAM WORKLOAD [options]
       PROGRAM --list | --version | --help

  --scale X      how much work: 1 is about a second (default 1)
  --threads N    threads or processes that work
  --seed N       where the random numbers start (default 1)
  --latency      time single calls, in workloads where that is worth it
  --every N      with --latency: one call of N is timed (default 4)
  --live BYTES   in workloads about growth: bytes that live meanwhile; 64M, 2G
  --parked N     in workloads about growth: threads that are parked meanwhile";

/// Runs the workload that the arguments name. Exit status 2 says that they were not understood.
pub fn main<M: Memory>() -> ExitCode {
    let mut args = lexopt::Parser::from_env();
    match parse(&mut args) {
        Ok(Request::Once) => ExitCode::SUCCESS,
        Ok(Request::Text(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Request::Run(workload, params)) => {
            let outcome = workload::run::<M>(workload.name, &params).expect("a workload that was found");
            println!("{}", serde_json::to_string(&outcome).expect("numbers and names"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let path = args.bin_name().unwrap_or("bench");
            eprintln!("{}: {error}", path.rsplit('/').next().unwrap_or(path));
            ExitCode::from(2)
        }
    }
}

enum Request {
    Run(&'static Workload, Params),
    Text(String),
    /// The process that does nothing.
    Once,
}

fn parse(args: &mut lexopt::Parser) -> Result<Request, lexopt::Error> {
    let mut name = None;
    let (mut threads, mut latency, mut every) = (None, false, 4);
    let mut params = Params::default();
    while let Some(arg) = args.next()? {
        match arg {
            Value(value) if name.is_none() => name = Some(value.string()?),
            Long("once") => return Ok(Request::Once),
            Long("list") => return Ok(Request::Text(list())),
            Long("version") | Short('V') => return Ok(Request::Text(env!("CARGO_PKG_VERSION").to_string())),
            Long("help") | Short('h') => return Ok(Request::Text(HELP.to_string())),
            Long("scale") => params.scale = args.value()?.parse_with(scale)?,
            Long("threads") => threads = Some(args.value()?.parse_with(count)?),
            Long("seed") => params.seed = args.value()?.parse()?,
            Long("latency") => latency = true,
            Long("every") => every = args.value()?.parse_with(count)?,
            Long("live") => params.live = args.value()?.parse_with(bytes)?,
            Long("parked") => params.parked = args.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    let name = name.ok_or("which workload? --list names them")?;
    let workload =
        workload::find(&name).ok_or_else(|| format!("no workload is called {name:?}; --list names them"))?;
    if latency && !workload.latency {
        return Err(format!("{name} has no single calls worth timing: leave out --latency").into());
    }
    params.threads = threads.unwrap_or(workload.threads);
    params.every = if latency { every as u32 } else { 0 };
    Ok(Request::Run(workload, params))
}

fn list() -> String {
    let lines = workload::all().iter().map(|workload| format!("{:<20} {}", workload.name, workload.about));
    lines.collect::<Vec<_>>().join("\n")
}

fn scale(text: &str) -> Result<f64, String> {
    let allowed = |&x: &f64| x > 0.0 && x <= 1e6;
    text.parse().ok().filter(allowed).ok_or("a number above 0, at most 1e6".to_string())
}

fn count(text: &str) -> Result<usize, String> {
    let allowed = |n: &usize| (1..=100_000).contains(n);
    text.parse().ok().filter(allowed).ok_or("a whole number from 1 to 100000".to_string())
}

fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<usize>().ok().filter(|&n| n > 0 && n < 1 << 40 >> shift);
    number.map(|n| n << shift).ok_or("bytes, perhaps with K, M or G behind, below 1024G".to_string())
}
