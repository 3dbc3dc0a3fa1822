//! The subcommands.

mod compare;
mod contestants;
mod growth;
mod latency;
mod list;
mod memory;
mod modes;
mod options;
mod overhead;
mod peers;
mod plot;
mod profile;
mod progress;
mod ranks;
mod rows;
mod run;
mod table;

use std::error::Error;
use std::process::ExitCode;

use lexopt::prelude::*;

use crate::measure::launcher;

/// What a subcommand returns.
type Done = Result<ExitCode, Box<dyn Error>>;

const HELP: &str = "\
Measures allocators against each other: time, memory, latency, growth.

usage: freestone-bench COMMAND [options]

  list                   the workloads and programs
  peers                  the allocators compared, with their versions; builds what is missing
  run --all | NAME...    measure rows under all allocators, interleaved, and print the tables
      --json FILE          also write every sample, with the machine described
      --rounds N           rounds (default 5)
      --quick              3 rounds of a fifth of the work: a first look
      --calls              also count system calls, in a run of their own
      --metric A,B         the tables to print: time, cpu, inner, peak, average, faults, switches, calls,
                           instructions
                           (default time,peak)
  modes [NAME...]        what each mode of Freestone costs, beside allocators made for safety (default: 20 workloads and
                         10 programs, 7 rounds at scale 0.25)
      --json FILE          also write every sample
  latency [NAME...]      the time of single calls: p50 to p99.99 and the worst
  growth [NAME...]       the cost of a call against live bytes and against threads
      --to X               largest live heap, as 500M or 10G (default 10G)
      --threads-to N       most threads (default 10000)
  memory [NAME...]       what is resident at a peak, after it, under many threads, after long churn, in a service with
                         a spike, in an emptied database: a table against the goals
      --json FILE          also write every figure and the resident set over time
      --charts FOLDER      also draw the resident set over time
  overhead [NAME...]     what Freestone's instruments cost: nothing, a heap profile, a recording, one with stacks
      --json FILE          also write every sample
      --rounds N           rounds (default 7)
      --stacks A,B         recordings with the stacks of one call in so many (default 16,32)
      --instructions       count them under valgrind instead of timing: without noise, twenty times as slow (default 1 round at
                           scale 0.1, stacks 32)
      --metric A,B         as for run (default cpu,time)
  ranks [NAME...]        programs under five allocators, and replays of their traces on the same: do they rank them alike?
      --json FILE          also write every sample
  table RESULT           the tables of a result again
      --metric A,B         as for run
      --markdown           for a document
      --into FILE          into the document FILE, between its marks
      --only A,B           of an overhead, these instruments
  compare A B            two results: what became faster or leaner, and whether that is more than noise
      --contestant NAME    whose figures (default freestone)
      --absolute           as they are, not in terms of glibc's of the same run
      --fail-above PCT     exit with 1 if a row became worse by more than PCT per cent, noise apart
  plot RESULT FOLDER     charts of a result, as SVG
  profile NAME --under perf|callgrind
                         one workload under a profiler; callgrind tells the instructions of each call
      --peer NAME          the allocator (default freestone)
      --out FILE           keep the profiler's file

run, modes, latency, growth, memory, overhead, ranks and profile also take:
      --peers A,B          these peers only (default: all but those made for safety; glibc is also its own control)
      --interface c|rust|both
                           preloaded under a C program, as global allocator of a Rust program, or both
                           (default both; modes, latency, growth, memory and profile: c)
      --freestone FILE     the library to measure as freestone, instead of building it
      --lib NAME=FILE      one more library to measure; may be given several times
      --mode NAME=CONF     Freestone with these options, besides its default (modes: instead of those usual there); may be
                           given several times
      --without A,B        leave allocators out; freestone may be among them
      --scale X            the work of a run, 1 being about a second under glibc
      --threads N          threads of the workloads that have several
      --seed N             where random numbers start (default 1)
      --limit SECONDS      after so many a run counts as hung (default 300)
      --no-build           use what lies beside this program, and peers that an earlier call has built
";

/// Runs the command that the arguments name.
pub fn main() -> Done {
    let mut arguments = lexopt::Parser::from_env();
    let name = match arguments.next()? {
        Some(Value(name)) => name.string()?,
        None | Some(Short('h') | Long("help")) => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(Short('V') | Long("version")) => {
            println!("freestone-bench {}", env!("CARGO_PKG_VERSION"));
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match name.as_str() {
        "run" => run::main(arguments),
        "list" => list::main(arguments),
        "peers" => peers::main(arguments),
        "latency" => latency::main(arguments),
        "growth" => growth::main(arguments),
        "memory" => memory::main(arguments),
        "modes" => modes::main(arguments),
        "overhead" => overhead::main(arguments),
        "ranks" => ranks::main(arguments),
        "table" => table::main(arguments),
        "compare" => compare::main(arguments),
        "plot" => plot::main(arguments),
        "profile" => profile::main(arguments),
        launcher::NAME => Ok(launcher::main(arguments).map(|()| ExitCode::SUCCESS)?),
        "help" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!(
            "there is no command {other:?}: it may be list, peers, run, modes, latency, growth, memory, overhead, ranks, table, compare, plot or profile"
        )
        .into()),
    }
}

/// Fails if there is another argument.
fn no_more(mut arguments: lexopt::Parser) -> Result<(), Box<dyn Error>> {
    match arguments.next()? {
        Some(argument) => Err(argument.unexpected().into()),
        None => Ok(()),
    }
}
