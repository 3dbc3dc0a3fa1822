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
        Topic::Record => RECORD.into(),
        Topic::Replay => REPLAY.into(),
        Topic::Compare => COMPARE.into(),
        Topic::Profile => PROFILE.into(),
        Topic::Classes => CLASSES.into(),
        Topic::Stats => STATS.into(),
        Topic::Why => WHY.into(),
        Topic::Report => REPORT.into(),
        Topic::Lab => LAB.into(),
        Topic::Symbolize => SYMBOLIZE.into(),
    }
}

const ALL: &str = "\
freestone: run a program on the Freestone allocator and see where its memory goes

  freestone run [OPTIONS] [--] CMD ARGS…   run CMD on the allocator, report at the end
  freestone record [OPTIONS] [--] CMD …    write every call of CMD to a trace
  freestone replay TRACE --on LIST         the calls of a trace on other allocators
  freestone compare [--on LIST] -- CMD …   CMD itself on several allocators
  freestone report FILES…                  one HTML page: where a program's memory went
  freestone lab [TRACE|WORKLOAD]           the textbooks' placement policies side by side, drawn
  freestone top PID                        watch the memory of a running program
  freestone ctl [PID [COMMAND]]            give a running program a command
  freestone profile FILE|PID               who holds the memory: a list, a flame graph, a pprof file
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
      --profile FILE   take a heap profile; FILE may end in .pb.gz (pprof), .svg (flame graph), .folded or .heap;
                       else it is a list. Shows what lives at the end, or else what lived at the peak
      --leaks          at the end, list the blocks that nothing leads to any more, by call site
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

Watches the memory of a running program: where every resident byte is, rates, size classes. PID is its number, or that of the
`freestone run` that started it. The program must have been
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

const PROFILE: &str = "\
freestone profile [OPTIONS] FILE
freestone profile [OPTIONS] PID

Shows a heap profile: who holds the memory, by call site. FILE comes from `freestone run --profile NAME.heap`, from the option
heap_profile:DIR, or from freestone::profile::write in a Rust program. Of a process that was started by
`freestone run --control`, or with FREESTONE_CONF=control:1, it is taken at this moment; `freestone ctl PID profile start` begins one.

  -m, --measure WHAT   live (bytes, the default; where nothing lives, peak, or else allocated), allocated, peak, stranded, lost,
                       idle; or live-blocks, allocated-blocks, peak-blocks, lost-blocks, idle-blocks
  -f, --format HOW     top (a list of functions, the default), leaks (call sites with their stacks), folded (a stack a line),
                       lines (the same with source lines), svg (a flame graph), pprof (a gzipped file), raw
  -o, --output FILE    write to FILE; without --format, how follows from its name: .svg, .pb.gz, .folded, .heap, else top
  -b, --base FILE      show what has changed since the profile in FILE
      --idle SECONDS   of a process: watch for so long which live blocks are read or written, and show the others
  -n, --top N          the N largest (40)
  -h, --help

  freestone run --profile before.heap -- ./server
  freestone profile -o heap.svg before.heap
  freestone profile --base before.heap after.heap
  freestone profile -o heap.pb.gz 4711 && go tool pprof -http=: heap.pb.gz

Exit code: 0, 1 if there is no such profile, 2 if the command line was wrong.
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

PID is the program's number, or that of the `freestone run` that started it. It must have been started by
`freestone run --control`, or with FREESTONE_CONF=control:1, or must have opened its control itself. Only its user and root
can reach it.

Exit code: 0, 1 if the process cannot be reached or refused, 2 if the command line was wrong.
";

const RECORD: &str = "\
freestone record [OPTIONS] [--] CMD ARGS…

Runs CMD on the allocator as `freestone run` does, and writes every call that it and its children make for memory to a trace,
in a few bytes each. The program takes up to twice as long. Nothing is lost when a process is killed or forks.

  -o, --output FILE    the trace (CMD.trace)
      --stacks N       one call in N, and large ones more often, with its stack (32); 1: all, which takes long; 0: none
      --conf LIST      options of the library, KEY:VALUE separated by commas
      --lib PATH       the library to load
      --recover DIR    make a trace of what a recording left in DIR that was itself killed
  -q, --quiet          say nothing at the end
  -h, --help

Exit code: as of `freestone run`.
";

const REPLAY: &str = "\
freestone replay [OPTIONS] TRACE

Makes the calls of a trace again: the same calls in the same order by as many threads, each block touched as far as the program
is known or likely to have touched it. Each allocator runs in processes of its own, in turn with the others.

      --on LIST        allocators, separated by commas (freestone,glibc): freestone, glibc, jemalloc, mimalloc, tcmalloc or another
                       that is installed; PATH.so; kit:first-fit, kit:next-fit, kit:best-fit, kit:worst-fit,
                       kit:segregated-fit, kit:buddy, kit:slab, kit:bins, kit:smp
      --what-if LIST   Freestone with other options, KEY:VALUE separated by commas; may be given more than once
      --rounds N       timed runs of each (5)
      --process N      which process of the trace, by its place in the list (that with the most calls)
      --list           only list the processes of the trace
      --paced          keep the pauses of the original, which shows what memory goes back meanwhile
      --json           JSON instead of the table
      --svg FILE       the figures as a picture
  -o, --output FILE    write the table or JSON to FILE
      --lib PATH       the library that `freestone` stands for
  -q, --quiet          no progress
  -h, --help

Exit code: 0, 1 if there is nothing to replay or no allocator could, 2 if the command line was wrong.

Memory is measured in a run of its own, in which the calls follow one another exactly as recorded; times are measured in
others, in which threads wait for each other only where a block passes between them.
";

const COMPARE: &str = "\
freestone compare [OPTIONS] [--] CMD ARGS…

Runs CMD on several allocators, in turn, and says which differences in time and memory are more than noise.

      --on LIST        allocators, separated by commas, as for `freestone replay` but for those of the kit
                       (freestone, glibc and whichever others are installed)
      --what-if LIST   Freestone with other options, KEY:VALUE separated by commas; may be given more than once
      --rounds N       runs on each (7), after one that does not count
      --input FILE     standard input of CMD (nothing)
      --show           let the output of CMD through
      --json           JSON instead of the table
      --svg FILE       the figures as a picture
  -o, --output FILE    write the table or JSON to FILE
      --lib PATH       the library that `freestone` stands for
  -q, --quiet          no progress
  -h, --help

Exit code: 0 however CMD ended, which the table says; 1 if it could not be compared, 2 if the command line was wrong.
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

const REPORT: &str = "\
freestone report [OPTIONS] FILE…

Writes one HTML page about a program: what stands out in words, memory over time, where every
resident byte is, a flame graph, call sites, sizes, lifetimes, churn, the heap by address. The page
needs no network and no other file.

FILE is any of these, and several of them are put on one page:
  a trace              of `freestone record`
  figures              of `freestone run --json --output FILE`, or of `freestone ctl PID ledger`
  a heap profile       of `freestone run --profile NAME.heap` or heap_profile:DIR, or one in pprof's format, compressed
  folded stacks        lines of `outer;inner NUMBER`, for example of a heap profile

  -o, --output FILE    the page; freestone-report.html if not given, `-` for standard output
      --process N      which process of the trace, by its place; the one with most calls if not given
  -h, --help
";

const LAB: &str = "\
freestone lab [OPTIONS] [TRACE|WORKLOAD]…

Runs the calls of a program, or of small built-in workloads, through the textbooks' placement
policies, and draws what becomes of the memory: heap maps over time side by side, curves of what
is held and of fragmentation. Without a name, all workloads. `freestone lab --list` names them.

  -o, --output FILE    the page; freestone-lab.html if not given, `-` for standard output
      --svg DIR        a picture of each into DIR, as NAME.svg
      --policies LIST  some of: first fit, next fit, best fit, worst fit, segregated fit, buddy,
                       slab, bins; separated by commas
      --calls N        of a trace at most its first N calls; 2000000 if not given
      --process N      which process of a trace, by its place; the one with most calls if not given
      --list           the workloads and what they show
  -h, --help
";
