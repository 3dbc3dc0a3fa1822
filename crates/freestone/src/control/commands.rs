//! What may be asked over the control socket: one line a request.

use crate::knobs;
use core::fmt::{self, Write};

use freestone_base::Bytes;
use freestone_base::live::word;
use freestone_sys::linux;

use super::page::Page;
use super::reply::Reply;
use crate::{ledger, profile, raw, tune};

/// A command.
struct Command {
    name: &'static str,
    meaning: &'static str,
    answer: fn(&Page<'_>, &mut Reply) -> fmt::Result,
}

/// Those without an argument; `set` has one and stands apart.
static COMMANDS: &[Command] = &[
    Command { name: "help", meaning: "this list", answer: help },
    Command {
        name: "knobs",
        meaning: "what can be set, with the present values",
        answer: |_, out| knobs::list(out),
    },
    Command {
        name: "ledger",
        meaning: "all figures and the ledger of every resident byte as JSON",
        answer: |_, out| ledger::write_json(out),
    },
    Command { name: "ping", meaning: "the process and how long its control is open", answer: ping },
    Command {
        name: "prometheus",
        meaning: "the same as Prometheus text",
        answer: |_, out| ledger::write_prometheus(out),
    },
    Command { name: "release", meaning: "give all free memory back to the system now", answer: release },
    Command { name: "stats", meaning: "the figures of the shared page as JSON", answer: stats },
    Command { name: "version", meaning: "the version of the library", answer: version },
];

const SET: &str = "set NAME=VALUE";

/// Answers a request: a line without its end.
pub(super) fn answer(request: &[u8], page: &Page<'_>, reply: &mut Reply) {
    let Ok(request) = core::str::from_utf8(request) else {
        return reply.fail(format_args!("the request is not UTF-8"));
    };
    let request = request.trim_ascii();
    if let Some(setting) = request.strip_prefix("set ") {
        return set(setting.trim_ascii(), reply);
    }
    if request == "profile" || request.starts_with("profile ") {
        return profile_of(request["profile".len()..].trim_ascii(), reply);
    }
    match COMMANDS.iter().find(|command| command.name == request) {
        // What goes wrong in the writing is that the reply is full, which it tells itself.
        Some(command) => drop((command.answer)(page, reply)),
        None if request == "set" => {
            reply.fail(format_args!("set takes NAME=VALUE; `knobs` lists what there is"))
        }
        None => reply.fail(format_args!(
            "there is no command '{}'; `help` lists those there are",
            request.escape_debug()
        )),
    }
}

/// `profile start [BYTES]`, `stop`, `dump`, `leaks`, `idle begin`, `idle end`, or nothing: how it stands.
fn profile_of(words: &str, reply: &mut Reply) {
    let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
    match (word, rest.trim_ascii()) {
        ("start", bytes) => {
            let mean = if bytes.is_empty() {
                Some(profile::DEFAULT_MEAN)
            } else {
                tune::parse_size(bytes.as_bytes()).map(|mean| mean as u64)
            };
            match mean.map(profile::start) {
                Some(Ok(())) => {}
                Some(Err(reason)) => return reply.fail(format_args!("{reason}")),
                None => {
                    return reply.fail(format_args!(
                        "profile start takes a number of bytes, with K or M if you like"
                    ));
                }
            }
        }
        ("stop", "") => profile::stop(),
        ("dump", "") if profile::was_begun() => {
            // What goes wrong in the writing is that the reply is full, which it tells itself.
            let _ = profile::write(reply);
            return;
        }
        ("leaks", "") if profile::was_begun() => {
            let _ = profile::write_with_lost(reply);
            return;
        }
        ("idle", "begin") if profile::was_begun() => {
            let Some(pages) = profile::watch_touches() else {
                return reply.fail(format_args!("the kernel does not tell which pages are touched"));
            };
            let _ = writeln!(reply, "{pages} pages are watched; `profile idle end` tells");
            return;
        }
        ("idle", "end") if profile::was_begun() => {
            let _ = profile::write_with_idle(reply);
            return;
        }
        ("dump" | "leaks", "") | ("idle", "begin" | "end") => {
            return reply
                .fail(format_args!("no profile was started; `freestone ctl PID profile start` does"));
        }
        ("", _) => {}
        _ => {
            return reply.fail(format_args!(
                "profile takes start [BYTES], stop, dump, leaks, idle begin or idle end, or nothing to say how it stands"
            ));
        }
    }
    let _ = match profile::mean() {
        0 if profile::was_begun() => {
            writeln!(reply, "no profile is being taken now; what the last one found can be had")
        }
        0 => writeln!(reply, "no profile is being taken"),
        mean => writeln!(reply, "a sample every {} requested, on average", Bytes(mean as usize)),
    };
}

fn set(setting: &str, reply: &mut Reply) {
    let Some((name, value)) = setting.split_once('=') else {
        return reply.fail(format_args!("set takes NAME=VALUE; `knobs` lists what there is"));
    };
    match knobs::set(name.trim_ascii().as_bytes(), value.trim_ascii().as_bytes()) {
        Ok(()) => drop(writeln!(reply, "{}={}", name.trim_ascii(), value.trim_ascii())),
        Err(problem) => {
            let text = core::str::from_utf8(problem.as_bytes()).unwrap_or("it cannot be set");
            reply.fail(format_args!("{text}"));
        }
    }
}

fn help(_: &Page<'_>, out: &mut Reply) -> fmt::Result {
    for command in COMMANDS {
        writeln!(out, "{:<16}{}", command.name, command.meaning)?;
    }
    writeln!(
        out,
        "{:<16}the heap profile: start [BYTES], stop, dump, leaks, idle begin, idle end",
        "profile"
    )?;
    writeln!(out, "{SET:<16}change an option while the program runs")
}

fn ping(page: &Page<'_>, out: &mut Reply) -> fmt::Result {
    let open_ms = linux::monotonic_ns().saturating_sub(page.get(word::OPENED)) / 1_000_000;
    writeln!(out, "process {}, control open for {open_ms} ms", linux::process_id())
}

fn version(_: &Page<'_>, out: &mut Reply) -> fmt::Result {
    writeln!(out, "{}", env!("CARGO_PKG_VERSION"))
}

fn release(page: &Page<'_>, out: &mut Reply) -> fmt::Result {
    let bytes = raw::trim();
    page.update(linux::monotonic_ns());
    writeln!(out, "gave back {} ({bytes} bytes)", Bytes(bytes))
}

fn stats(page: &Page<'_>, out: &mut Reply) -> fmt::Result {
    page.update(linux::monotonic_ns());
    page.write_json(out)
}

#[cfg(test)]
mod tests {
    use freestone_base::live;

    use super::*;
    use core::sync::atomic::AtomicU64;

    fn asked(request: &[u8]) -> String {
        let words: Vec<AtomicU64> = (0..live::WORDS).map(|_| AtomicU64::new(0)).collect();
        let mut reply = Reply::new().unwrap();
        answer(request, &Page(&words), &mut reply);
        reply.finish();
        String::from_utf8(reply.rest(0).into()).unwrap()
    }

    #[test]
    fn every_command_that_help_lists_answers() {
        let help = asked(b"help");
        for command in COMMANDS {
            assert!(help.contains(command.name));
            assert!(asked(command.name.as_bytes()).starts_with("ok "), "{}", command.name);
        }
        assert!(asked(b" version \r").ends_with(concat!(env!("CARGO_PKG_VERSION"), "\n")));
        assert!(asked(b"release").contains("gave back "));
        assert!(asked(b"stats").contains("\"resident\":"));
    }

    #[test]
    fn knobs_are_set_and_mistakes_are_answered() {
        assert!(asked(b"set check=0").ends_with("\ncheck=0\n"));
        for (request, expected) in [
            (&b"set check=maybe"[..], "it takes 0 or 1"),
            (b"set check", "NAME=VALUE"),
            (b"set", "NAME=VALUE"),
            (b"profile begin", "start [BYTES], stop, dump, leaks, idle begin or idle end"),
            (b"profile start many", "a number of bytes"),
            (b"profile start 1G", "must be 1 to"),
            (b"set nothing=1", "there is no knob 'nothing'"),
            (b"", "there is no command ''"),
            (b"reboot\x1b[2J", "there is no command 'reboot\\u{1b}[2J'"),
            (b"\xff\xfe", "not UTF-8"),
        ] {
            let reply = asked(request);
            assert!(reply.starts_with("error ") && reply.contains(expected), "{reply}");
        }
    }
}
