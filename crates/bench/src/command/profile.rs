//! `profile`: one workload under perf or callgrind.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use freestone_bench::workload;
use lexopt::prelude::*;

use super::Done;
use super::contestants::{self, FREESTONE};
use super::options::Options;
use super::rows::Job;
use crate::measure::callgrind;
use crate::result::Interface;

/// Under what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profiler {
    Perf,
    Callgrind,
}

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C]);
    let (mut name, mut under, mut peer) = (None, None, FREESTONE.to_string());
    let mut out: Option<PathBuf> = None;
    let mut scaled = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(value) if name.is_none() => name = Some(value.string()?),
            Long("under") => under = Some(arguments.value()?.parse_with(profiler)?),
            Long("peer") => peer = arguments.value()?.string()?,
            Long("out") => out = Some(arguments.value()?.into()),
            Long(option) => {
                let option = option.to_string();
                scaled |= option == "scale";
                options.take("profile", &option, &mut arguments)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let name = name.ok_or("profile which workload? `freestone-bench list` shows all")?;
    let workload = workload::find(&name).ok_or_else(|| format!("there is no workload {name:?}"))?;
    let under = under.ok_or("--under what? perf or callgrind")?;
    let interface = match options.interfaces[..] {
        [one] => one,
        _ => return Err("profile one interface at a time: --interface c or rust".into()),
    };
    if under == Profiler::Callgrind && !scaled {
        // Everything takes some fifty times as long there, and instructions do not scatter.
        options.parameters.scale = 0.02;
    }
    if peer == FREESTONE {
        options.peers = Some(Vec::new());
    } else {
        options.peers = Some(vec![peer.clone()]);
        options.without.push(FREESTONE.into());
    }
    if options.libraries.iter().any(|(known, _)| *known == peer) {
        options.peers = Some(Vec::new());
    }
    let field = contestants::assemble(&options)?;
    let runner = field.runners.iter().find(|one| one.contestant.name == peer);
    let runner = runner.ok_or_else(|| format!("{peer} takes no part under the {interface} interface"))?;
    let command = Job::workload(workload, &[], interface, &options, &field.bench_c).command(runner);
    let command = command.ok_or_else(|| format!("{peer} has no program"))?;
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let file = out.unwrap_or_else(|| folder.path().join("profile"));
    match under {
        Profiler::Callgrind => under_callgrind(&command, &file)?,
        Profiler::Perf => under_perf(&command, &file)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn profiler(text: &str) -> Result<Profiler, &'static str> {
    match text {
        "perf" => Ok(Profiler::Perf),
        "callgrind" => Ok(Profiler::Callgrind),
        _ => Err("it may be perf or callgrind"),
    }
}

fn under_callgrind(command: &Command, file: &Path) -> Result<(), String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(command.get_program()).args(command.get_args());
    valgrind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(valgrind.stdout(Stdio::null()), "valgrind", "valgrind")?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("Instructions of each call, the seldom slow ones included:\n");
    for (name, calls) in callgrind::entry_points(&text) {
        println!("  {name:<24} {:>10.1}   in {} calls", calls.each(), calls.count);
    }
    println!(
        "\nvalgrind offers no restartable sequences: Freestone and TCMalloc use their caches per thread here, not those per CPU.\n"
    );
    let mut annotate = Command::new("callgrind_annotate");
    annotate.args(["--auto=no", "--threshold=95"]).arg(file);
    show_head(annotate, "callgrind_annotate", "valgrind", 45)
}

fn under_perf(command: &Command, file: &Path) -> Result<(), String> {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "-g", "--freq=2000", "--output"]).arg(file).args(["--", "env"]);
    // Set for the workload alone: perf must not run on the allocator that it looks at.
    for (name, value) in command.get_envs() {
        let mut pair = name.to_owned();
        pair.push("=");
        pair.push(value.unwrap_or_default());
        perf.arg(pair);
    }
    perf.arg(command.get_program()).args(command.get_args());
    run(perf.stdout(Stdio::null()), "perf", "linux-perf")?;
    let mut report = Command::new("perf");
    report.args([
        "report",
        "--stdio",
        "--no-children",
        "--call-graph=none",
        "--percent-limit=0.5",
        "--input",
    ]);
    report.arg(file);
    show_head(report, "perf", "linux-perf", 60)
}

/// Runs a tool to its end.
fn run(command: &mut Command, tool: &str, package: &str) -> Result<(), String> {
    let status = command.stdin(Stdio::null()).status().map_err(|error| missing(tool, package, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{tool} failed: {status}")) }
}

/// Runs a tool and shows the first lines of what it prints.
fn show_head(mut command: Command, tool: &str, package: &str, lines: usize) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(tool, package, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{tool} failed: {}: {}", output.status, said.trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    told.take(lines).for_each(|line| println!("{line}"));
    Ok(())
}

fn missing(tool: &str, package: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("{tool} is not installed: apt-get install {package}"),
        _ => format!("{tool} did not start: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_told_with_its_package() {
        let told = run(&mut Command::new("no-such-tool"), "no-such-tool", "a-package").unwrap_err();
        assert_eq!(told, "no-such-tool is not installed: apt-get install a-package");
        assert!(profiler("gprof").unwrap_err().contains("callgrind"));
    }
}
