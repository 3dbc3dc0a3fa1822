//! What every figure of the report means: the one place where these texts live.
//!
//! `freestone stats` prints them, `freestone stats --markdown` is `docs/stats.md`, and a test holds
//! that each label of the report is among them.

use freestone_base::ledger::Line;

use crate::suggest::hint;

/// A figure and its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// The label in the report.
    pub name: &'static str,
    /// What it says, where it comes from, what to make of it.
    pub meaning: &'static str,
}

/// A section of the report.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The heading in the report.
    pub name: &'static str,
    /// What the section is about.
    pub about: &'static str,
    /// Its figures, in the order of the report.
    pub terms: &'static [Term],
}

/// The figures of the ledger's section beside its lines.
const LEDGER_HEAD: [Term; 7] = [
    Term {
        name: "resident",
        meaning: "What the kernel counts as resident at that moment (`Rss` of smaps_rollup), in how many threads, and by \
            how much the sum of the lines differs from it.",
    },
    Term { name: "live blocks", meaning: "Blocks in the program's hands." },
    Term { name: "free memory", meaning: "Memory of the heap without a use at present." },
    Term { name: "metadata", meaning: "The allocator's own records." },
    Term { name: "not the heap's", meaning: "Memory that the allocator has nothing to do with." },
    Term { name: "in huge pages", meaning: "What of the heap lies in huge pages." },
    Term {
        name: "in swap",
        meaning: "What of the process lies in swap. It is in no line, as it is not resident.",
    },
];

/// The figures of the ledger's section: its head, then a line each.
const LEDGER: [Term; LEDGER_HEAD.len() + Line::ALL.len()] = {
    let mut terms = [LEDGER_HEAD[0]; LEDGER_HEAD.len() + Line::ALL.len()];
    let mut place = 0;
    while place < terms.len() {
        terms[place] = match place.checked_sub(LEDGER_HEAD.len()) {
            None => LEDGER_HEAD[place],
            Some(line) => Term { name: Line::ALL[line].label(), meaning: Line::ALL[line].about() },
        };
        place += 1;
    }
    terms
};

macro_rules! terms {
    ($($name:literal: $meaning:literal,)*) => { &[$(Term { name: $name, meaning: $meaning }),*] };
}

/// The sections of the report in their order.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "Program",
        about: "The program as the kernel saw it, and all processes that it started and waited for.",
        terms: terms! {
            "exit": "The exit code, or the signal that ended the program. `freestone run` ends the same way. A program \
                that is killed has no time to report: then the figures are the last that it noted while it ran, about \
                once a second, and the first words say how long before its end that was.",
            "wall time": "Time from the start of the program to its end.",
            "processor time": "Time on a processor: in the program's own code (user) and in the kernel on its \
                behalf (system). With several threads the sum may exceed the wall time.",
            "page faults": "Minor: the kernel had to supply an OS page, but not to read it from a disk; the first \
                touch of fresh memory is one. Major: it had to read. Many minor faults in a short run mean that \
                memory goes back to the system and returns soon after.",
            "peak resident": "The most memory that was resident at a time in the program's own process: the heap, code, stacks, mapped \
                files, everything. Where a process that it started and waited for had clearly more, that stands beside it; of a program that was killed, or that has \
                no `/proc`, only whichever of them had the most is known. The kernel's count, which a few hundred KiB may be missing \
                from; so what the ledger found at exit is shown if that is more. A tiny program is shown with the few MiB \
                of `freestone` itself, since the kernel counts from before the program was loaded.",
        },
    },
    Section {
        name: "Heap",
        about: "The blocks that the program (the first process) held, and the calls by which it got them.",
        terms: terms! {
            "peak live": "The most bytes in live blocks at any time. A live block is one that the program has and \
                has not given back; it counts with the size of the block, not of the request. Known only when calls are \
                counted, and then to half a per cent; the history may show a little more.",
            "live at exit": "What was still live when the process ended. That is no leak by itself: most programs \
                leave it to the kernel to clear up. How much of it had been asked for is an estimate from the mean \
                request of each size class.",
            "calls": "All calls that asked for a block, resized one or gave one back, and how many that is in a \
                second of wall time.",
            "malloc": "Plain requests: malloc, operator new, Rust's alloc.",
            "calloc": "Requests for zeroed memory.",
            "realloc": "Changes of size. In place: the block kept its address, and nothing was copied.",
            "aligned": "Requests with an alignment: aligned_alloc, posix_memalign, memalign, aligned operator new.",
            "free": "Blocks given back: free, operator delete, Rust's dealloc.",
            "failed": "Requests that were refused, for want of memory or because no such size exists.",
        },
    },
    Section {
        name: "Fragmentation",
        about: "Memory that the heap held without a use for the program. Rounding is internal to the blocks and \
            measured over the whole run; all else lies outside live blocks and is measured at exit.",
        terms: terms! {
            "rounding": "The part of all blocks handed out that no request had asked for, because requests are \
                rounded up to a size class: 1 - requested / handed out. Large blocks, which are rounded to whole pages, count \
                as they were asked for.",
            "heap at exit": "All memory of the heap that may be resident: slabs, large blocks, dirty free spans and \
                metadata; and the share of it that was not in live blocks. After a program has cleared up behind \
                itself that share is high and means little.",
            "free in slabs": "Blocks that lie free in slabs of which other blocks are live. Only requests of the same \
                size class can use them. This is what long runs with changing sizes leave behind.",
            "in caches": "Free blocks kept in the caches, ready for the next request without any lock; in hardened mode also those that wait until they get there.",
            "in transfer": "Free blocks in the transfer caches, on their way from one cache to another.",
            "slab remainder": "Bytes at the end of slabs that are too few for one more block.",
            "free dirty": "Free spans that may still be resident: the next large request or the next slab takes them, \
                or the scavenger returns them to the system.",
            "metadata": "Records of spans and the page map.",
        },
    },
    Section {
        name: "Ledger",
        about: "Every resident byte of the process at exit, in one line: shares with what they are made of. What of the heap \
            is resident was looked up in the page tables, what is not the heap's is what the kernel lists. Taking the \
            ledger takes about 25 ms for each GiB that is resident in small pages, most of it the kernel's own sum, and stops \
            nobody.",
        terms: &LEDGER,
    },
    Section {
        name: "History",
        about: "The highest figures of each stretch of the run, from its start to its end; the stretches get longer as it \
            lasts. Only runs long enough for a few samples show it, and only where the allocator's own thread runs.",
        terms: terms! {
            "resident": "What of the whole process was resident.",
            "live": "What was in live blocks, resident or not.",
            "free dirty": "Free spans that might still be resident.",
            "in caches": "Free blocks in caches and between them.",
        },
    },
    Section {
        name: "System",
        about: "What the heap asked of the kernel.",
        terms: terms! {
            "mapped": "Addresses in extents, at exit and at most. They cost memory only where they are touched.",
            "obtained": "Bytes mapped, from start to end.",
            "purged": "Bytes whose contents were dropped, so that the kernel could take the memory back while the \
                addresses stayed; from start to end. Much more than the peak means that the same memory went back \
                and forth.",
            "released": "Bytes whose addresses were given up as well.",
            "system calls": "Calls to the kernel by kind: map (fresh addresses), commit (memory behind addresses), purge, \
                release, remap (a mapping moved or resized), other.",
        },
    },
    Section {
        name: "Slow path",
        about: "Calls that the caches could not serve by themselves.",
        terms: terms! {
            "entries": "How often a call went the slow way, and how many calls there were for each such one.",
            "time": "Time inside the slow path, of all threads together, and its share of the wall time. A thread that waits there, \
                for a lock or for a processor that others have, counts too: what exceeds the processor time of the whole run must have been waiting, and is told.",
            "refills": "Batches of blocks that moved from a central list into a cache.",
            "flushes": "Batches that moved from a cache to a central list.",
            "emergency": "Requests made while the thread was inside the allocator already, as a signal handler \
                may do; the emergency allocator served them.",
        },
    },
    Section {
        name: "Size classes",
        about: "A line for each size class, those with most bytes first; `larger` stands for requests above the \
            largest class, which get whole pages. `freestone classes` prints all classes there are.",
        terms: terms! {
            "size": "Bytes of a block of the class.",
            "handed out": "Blocks of the class that were handed out, from start to end.",
            "live": "Those of them that were live at exit.",
            "unused": "The part of the blocks handed out that no request had asked for.",
            "bytes": "Bytes of the blocks handed out; the bar shows their share of those of all classes.",
            "slabs": "Slabs of the class at exit (in place of the calls, when these were not counted).",
            "in slabs": "Bytes of these slabs, used or not; the bar shows their share of those of all classes.",
        },
    },
    Section {
        name: "Further processes",
        about: "Processes that the program started, as far as the library was loaded and they ended normally before \
            the program did; those with most live bytes at their peak first.",
        terms: terms! {
            "pid": "The number of the process.",
            "command": "The name of the process.",
        },
    },
];

/// The explanation asked for: everything, or the terms and sections whose name contains `term`.
pub fn answer(term: Option<&str>) -> Result<String, String> {
    let wanted = term.map(str::to_lowercase);
    let matches = |name: &str| wanted.as_ref().is_none_or(|wanted| name.to_lowercase().contains(wanted));
    let mut text = String::new();
    for section in SECTIONS {
        let whole = matches(section.name);
        let terms: Vec<_> = section.terms.iter().filter(|term| whole || matches(term.name)).collect();
        if !whole && terms.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{}\n", section.name));
        if whole {
            text.push_str(&wrapped(section.about, "  "));
        }
        for term in terms {
            text.push_str(&format!("\n  {}\n{}", term.name, wrapped(term.meaning, "      ")));
        }
    }
    if text.is_empty() {
        let given = term.unwrap_or_default();
        let mut distinct: Vec<_> = Vec::new();
        for name in names() {
            // Some stand in several parts of the report.
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        let hint = hint(given, distinct.iter().copied());
        return Err(format!("no figure is called '{given}'.{hint} There are: {}", distinct.join(", ")));
    }
    Ok(text)
}

fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().flat_map(|section| section.terms).map(|term| term.name)
}

/// All of it as Markdown: `docs/stats.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# The report, figure by figure\n\n\
         `freestone run -- CMD` ends with this report; `freestone stats TERM` explains one figure in the terminal.\n\
         Sizes are in units of 1024 (KiB, MiB, GiB). The words are those of the [glossary](glossary.md).\n\
         This page is printed by `freestone stats --markdown`.\n",
    );
    for section in SECTIONS {
        text.push_str(&format!("\n## {}\n\n{}\n", section.name, wrapped(section.about, "").trim_end()));
        text.push_str("\n| figure | meaning |\n|---|---|\n");
        for term in section.terms {
            text.push_str(&format!("| {} | {} |\n", term.name, term.meaning));
        }
    }
    text.push_str(ELSEWHERE);
    text
}

/// Where else the figures are to be had: the end of the page.
const ELSEWHERE: &str = "
## The same figures elsewhere

| where | what |
|---|---|
| `freestone::stats()` | What can be counted without asking the kernel: microseconds. |
| `freestone::ledger()` | The ledger. |
| `freestone::ledger::write_json(out)`, `freestone ctl PID ledger`, `report:DIR` at exit | All of it as JSON; the \
    fields are documented in `crates/cli/src/snapshot.rs`. |
| `freestone::prometheus(out)`, `freestone ctl PID prometheus` | All of it as Prometheus' text, each family with its \
    meaning: `freestone_resident_bytes{line=…,share=…}` is the ledger. A dashboard for Grafana: \
    [grafana.json](grafana.json). A service that serves it: `crates/freestone/examples/service.rs`. |
| `malloc_info(0, stream)` | All of it as XML. |
| `malloc_stats()` | The ledger in lines of words, to standard error. |
| `mallinfo2()` | Live bytes in `uordblks` and, of large blocks, `hblkhd`; in caches `fsmblks`; could be returned \
    `keepcost`. |
| `freestone why BEFORE.json AFTER.json` | What grew between two of these JSON files, in words, and what would change \
    it: tells a leak from fragmentation, caches, memory not yet returned, stacks, and what is not the heap's. |

How well the lines add up in real programs: `cargo run -rp freestone-programs ledger` runs fourteen jobs and compares the
sum with the kernel's figure for each process as it ends.
";

/// Breaks a paragraph into lines of at most 96 columns, each behind `indent`.
pub(crate) fn wrapped(paragraph: &str, indent: &str) -> String {
    const COLUMNS: usize = 96;
    // A number and its unit stay on one line.
    const UNITS: [&str; 6] = ["%", "B", "KiB", "MiB", "GiB", "TiB"];
    let mut words: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match words.last_mut() {
            Some(number) if UNITS.contains(&word.trim_end_matches(['.', ',', ')', ';'])) => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.into()),
        }
    }
    let mut text = String::new();
    let mut column = 0;
    for word in words {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(indent);
            column = indent.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(&word);
        column += width;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_found_by_a_part_of_its_name() {
        let text = answer(Some("Peak")).unwrap();
        assert!(text.contains("peak resident") && text.contains("peak live") && !text.contains("refills"));
        let section = answer(Some("slow path")).unwrap();
        assert!(section.contains("refills") && section.contains("caches could not serve"));
        assert!(answer(None).unwrap().contains("slab remainder"));
    }

    #[test]
    fn an_unknown_term_is_answered_with_all_there_are() {
        let message = answer(Some("refils")).unwrap_err();
        assert!(message.contains("Did you mean 'refills'?") && message.contains("metadata"), "{message}");
    }

    #[test]
    fn lines_are_broken_and_indented() {
        let text = wrapped(&"word ".repeat(60), "  ");
        assert!(text.lines().all(|line| line.starts_with("  word") && line.len() <= 96));
        assert_eq!(text.split_whitespace().count(), 60);
    }

    /// Also writes the page when `FREESTONE_BLESS` is set.
    #[test]
    fn the_page_in_docs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/stats.md");
        if std::env::var_os("FREESTONE_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/stats.md is out of date: freestone stats --markdown > docs/stats.md"
        );
    }
}
