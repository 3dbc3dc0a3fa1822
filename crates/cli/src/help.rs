//! The help texts.

use crate::args::Topic;
use crate::conf;

/// The help on a topic.
pub fn text(topic: Topic) -> String {
    match topic {
        Topic::All => ALL.into(),
        Topic::Run => format!("{RUN}\nOptions of the library (KEY:VALUE):\n{}", conf::listing()),
        Topic::Top => TOP.into(),
        Topic::Ctl => CTL.into(),
        Topic::Classes => CLASSES.into(),
        Topic::Stats => STATS.into(),
        Topic::Why => WHY.into(),
        Topic::Symbolize => SYMBOLIZE.into(),
    }
}

const ALL: &str = "\
freestone: run a program on the Freestone allocator and see where its memory goes

  freestone run [OPTIONS] [--] CMD ARGS…   run CMD on the allocator, report at the end
  freestone top PID                        watch the memory of a running program
  freestone ctl [PID [COMMAND]]            give a running program a command
  freestone why BEFORE AFTER               what grew between two sets of figures, and why
  freestone symbolize [FILE]               functions and lines for the addresses of a debug report
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
      --debug          find every misuse of memory: each block alone on its pages, with the stacks of its
                       life (slow, much memory); what is found is told with names at the end
      --control        let `freestone top` and `freestone ctl` attach while CMD runs
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

const SYMBOLIZE: &str = "\
freestone symbolize [FILE]

Replaces the addresses in a report of the debug mode (FREESTONE_CONF=debug:1), read from FILE or from standard input, by
functions and lines of source: lines of the form `    /path/of/file+0x1a2b`. All other text passes through. The files must be
those that the program ran with. `freestone run --debug` does it by itself.

  freestone symbolize log.txt

Exit code: 0, 1 if FILE cannot be read, 2 if the command line was wrong.
";

const TOP: &str = "\
freestone top [OPTIONS] PID

Watches the memory of a running program: where every resident byte is, rates, size classes. The program must have been
started by `freestone run --control`, or with FREESTONE_CONF=control:1, or must have opened its control itself; of any other,
what the kernel knows is shown. Where the output is no terminal it is plain text.

  -i, --interval SECONDS   from one look to the next, 0.1 to 3600 (1)
  -s, --sort KEY           size classes by live, free, size, or rate (live)
  -1, --once               one look, then end
      --json               JSON, an object a line
  -h, --help

Keys: q quit, r release all free memory now, s sort by another key, p pause.

Exit code: 0, 1 if the process cannot be watched, 2 if the command line was wrong.
";

const CTL: &str = "\
freestone ctl                      list the processes that can be reached
freestone ctl PID                  list the commands that one knows
freestone ctl PID COMMAND

  freestone ctl 4711 release       give all free memory back to the system now
  freestone ctl 4711 ledger        where every resident byte is, as JSON
  freestone ctl 4711 prometheus    the same as Prometheus text
  freestone ctl 4711 knobs         what can be changed while it runs
  freestone ctl 4711 set NAME=VALUE

The program must have been started by `freestone run --control`, or with FREESTONE_CONF=control:1, or must have opened its
control itself. Only its user and root can reach it.

Exit code: 0, 1 if the process cannot be reached or refused, 2 if the command line was wrong.
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

const WHY: &str = "\
freestone why BEFORE.json AFTER.json

Compares two sets of figures of one process and says in words what grew, by how much, and what would
change it: a leak, fragmentation, caches, free memory not yet returned, threads' stacks, or mappings
that the allocator has nothing to do with.

The files hold what the library writes: `freestone ctl PID ledger` asks a running process for it,
`freestone::ledger::write_json` writes it from within, and `report:DIR` at exit.
";
