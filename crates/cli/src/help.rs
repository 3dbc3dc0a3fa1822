//! The help texts.

use crate::args::Topic;
use crate::conf;

/// The help on a topic.
pub fn text(topic: Topic) -> String {
    match topic {
        Topic::All => ALL.into(),
        Topic::Run => format!("{RUN}\nOptions of the library (KEY:VALUE):\n{}", conf::listing()),
        Topic::Classes => CLASSES.into(),
        Topic::Stats => STATS.into(),
    }
}

const ALL: &str = "\
freestone: run a program on the Freestone allocator and see where its memory goes

  freestone run [OPTIONS] [--] CMD ARGS…   run CMD on the allocator, report at the end
  freestone stats [TERM]                   what the figures of the report mean
  freestone classes [--json]               the size classes and their waste
  freestone help [COMMAND]                 more on one of these
  freestone --version

  freestone run -- python3 script.py
";

const RUN: &str = "\
freestone run [OPTIONS] [--] CMD ARGS…

Runs CMD with every malloc, free, new and delete of it and of its children served by Freestone.
Input, output, signals and the exit code pass through. At the end a report goes to standard error.

  -o, --output FILE    write the report to FILE instead
      --json           the report as JSON
  -q, --quiet          no report (unless --output is given): only run CMD on the allocator
      --no-count       do not count every call: faster, fewer figures
      --cache KIND     what a cache belongs to: auto, cpu, thread, or none
      --conf LIST      options of the library, KEY:VALUE separated by commas
      --lib PATH       the library to load
  -h, --help

The library libfreestone_malloc.so is looked for at --lib, then where the variable FREESTONE_LIB
says, then beside this executable, then in ../lib beside it. FREESTONE_CONF sets options as --conf
does; flags and --conf go before it.

Exit code: that of CMD; if a signal ended CMD, the same signal ends freestone (a shell shows
128 + number). 127: CMD was not found, 126: it could not be started, 125: freestone itself failed
before it started CMD, 2: the command line was wrong.
";

const CLASSES: &str = "\
freestone classes [--json]

Prints the size classes: block size, alignment, pages and blocks of a slab, the slab's bytes that no
block covers, how many blocks move between a cache and the central list at a time, how many a cache
may hold, and how much of a block a request leaves unused at worst and on average.
";

const STATS: &str = "\
freestone stats [TERM]

Explains the figures in the report of `freestone run`: all of them, or those whose name has TERM
in it.

      --markdown   all of them as Markdown
";
