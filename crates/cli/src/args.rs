//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::conf::{CACHES, Conf};
use crate::ctl::{self, CtlOptions};
use crate::lab::{self, LabOptions};
use crate::page::{self, PageOptions};
use crate::profile::{self, ProfileOptions};
use crate::suggest::hint;
use crate::top::TopOptions;
use crate::{compare, record, replay, shown};

/// What to do.
#[derive(Debug)]
pub enum Command {
    Help(Topic),
    Version,
    Classes { json: bool },
    Stats { term: Option<String>, markdown: bool },
    Run(Box<RunOptions>),
    Why { first: PathBuf, second: PathBuf },
    Symbolize(Option<PathBuf>),
    Top(TopOptions),
    Ctl(CtlOptions),
    Record(record::Options),
    Replay(Box<replay::Options>),
    Player(replay::Orders),
    Compare(compare::Options),
    Report(PageOptions),
    Lab(LabOptions),
    Profile(ProfileOptions),
}

/// What the help is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    All,
    Run,
    Top,
    Ctl,
    Record,
    Replay,
    Compare,
    Profile,
    Classes,
    Stats,
    Why,
    Report,
    Lab,
    Symbolize,
}

/// The options of `freestone run`.
#[derive(Debug, Default)]
pub struct RunOptions {
    pub library: Option<PathBuf>,
    pub output: Option<PathBuf>,
    pub json: bool,
    pub quiet: bool,
    /// Where the heap profile goes.
    pub profile: Option<PathBuf>,
    /// List what is lost at the end.
    pub leaks: bool,
    /// Options given as flags and in `--conf`, in their order.
    pub conf: Conf,
    pub command: OsString,
    pub arguments: Vec<OsString>,
}

const COMMANDS: [&str; 14] = [
    "run",
    "record",
    "replay",
    "compare",
    "report",
    "lab",
    "top",
    "ctl",
    "profile",
    "why",
    "symbolize",
    "classes",
    "stats",
    "help",
];

/// Where more is said about what these arguments ask for.
pub fn help_for(arguments: &[OsString]) -> String {
    let command = arguments.first().and_then(|word| word.to_str());
    match command.filter(|word| COMMANDS.contains(word) && *word != "help") {
        Some(command) => format!("freestone help {command}"),
        None => "freestone --help".into(),
    }
}

/// Understands a command line without its first word; the message says what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    match parser.next().map_err(text)? {
        None => Ok(Command::Help(Topic::All)),
        Some(Short('h') | Long("help")) => Ok(Command::Help(Topic::All)),
        Some(Short('V') | Long("version")) => Ok(Command::Version),
        Some(Value(word)) => match word.to_str() {
            Some("run") => run(parser),
            Some("record") => record::parse(parser),
            Some("replay") => replay::parse(parser),
            Some(replay::PLAYER) => replay::parse_orders(parser),
            Some("compare") => compare::parse(parser),
            Some("why") => why(parser),
            Some("symbolize") => symbolize(parser),
            Some("top") => top(parser),
            Some("ctl") => ctl(parser),
            Some("profile") => profile::options(parser)
                .map(|options| options.map_or(Command::Help(Topic::Profile), Command::Profile)),
            Some("classes") => classes(parser),
            Some("stats") => stats(parser),
            Some("report") => page::options(parser),
            Some("lab") => lab::options(parser),
            Some("help") => help(parser),
            _ => {
                let word = shown(&word);
                let hint = hint(&word, COMMANDS);
                Err(format!("there is no command '{word}'.{hint} There are: {}", COMMANDS.join(", ")))
            }
        },
        Some(other) => Err(unknown(other, "freestone", &["help", "version"])),
    }
}

fn run(mut parser: lexopt::Parser) -> Result<Command, String> {
    const OPTIONS: [&str; 12] = [
        "lib", "output", "json", "quiet", "no-count", "cache", "control", "debug", "conf", "profile",
        "leaks", "help",
    ];
    let mut options = RunOptions::default();
    loop {
        match parser.next().map_err(text)? {
            Some(Long("lib")) => options.library = Some(parser.value().map_err(text)?.into()),
            Some(Short('o') | Long("output")) => options.output = Some(parser.value().map_err(text)?.into()),
            Some(Long("json")) => options.json = true,
            Some(Short('q') | Long("quiet")) => options.quiet = true,
            Some(Long("profile")) => options.profile = Some(parser.value().map_err(text)?.into()),
            Some(Long("leaks")) => options.leaks = true,
            Some(Long("no-count")) => options.conf.set("count", "0"),
            Some(Long("control")) => options.conf.set("control", "1"),
            Some(Long("debug")) => options.conf.set("debug", "1"),
            Some(Long("cache")) => {
                let cache = shown(&parser.value().map_err(text)?);
                if !CACHES.contains(&cache.as_str()) {
                    let hint = hint(&cache, CACHES.iter().copied());
                    return Err(format!("--cache cannot be '{cache}'.{hint} It takes {}", CACHES.join(", ")));
                }
                options.conf.set("cache", &cache);
            }
            Some(Long("conf")) => {
                let conf = shown(&parser.value().map_err(text)?);
                options.conf.add(&conf).map_err(|message| format!("--conf: {message}"))?;
                if options.conf.get("heap_profile").is_some() || options.conf.get("leaks").is_some() {
                    return Err("--conf: freestone run sets heap_profile and leaks itself; say --profile FILE or --leaks".into());
                }
                if options.conf.get("report").is_some() {
                    return Err("--conf: freestone run sets report itself; to keep the figures use \
                                --json --output FILE"
                        .into());
                }
            }
            Some(Short('h') | Long("help")) => return Ok(Command::Help(Topic::Run)),
            Some(Value(command)) => {
                options.command = command;
                options.arguments = parser.raw_args().map_err(text)?.collect();
                return Ok(Command::Run(Box::new(options)));
            }
            Some(other) => return Err(unknown(other, "freestone run", &OPTIONS)),
            None => return Err("freestone run: which program? Say `freestone run -- CMD ARGS…`".into()),
        }
    }
}

fn top(mut parser: lexopt::Parser) -> Result<Command, String> {
    const OPTIONS: [&str; 5] = ["interval", "sort", "once", "json", "help"];
    let (mut pid, mut interval, mut sort) = (None, None, None);
    let (mut once, mut json) = (false, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('i') | Long("interval") => interval = Some(shown(&parser.value().map_err(text)?)),
            Short('s') | Long("sort") => sort = Some(shown(&parser.value().map_err(text)?)),
            Short('1') | Long("once") => once = true,
            Long("json") => json = true,
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Top)),
            Value(word) if pid.is_none() => pid = Some(shown(&word)),
            other => return Err(unknown(other, "freestone top", &OPTIONS)),
        }
    }
    let pid =
        pid.ok_or("freestone top: which process? Say `freestone top PID`; `freestone ctl` lists processes")?;
    let options = TopOptions::new(&pid, interval.as_deref(), sort.as_deref())?;
    Ok(Command::Top(TopOptions { once, json, ..options }))
}

fn ctl(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut words = Vec::new();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Ctl)),
            Value(word) => words.push(shown(&word)),
            other => return Err(unknown(other, "freestone ctl", &["help"])),
        }
    }
    ctl::options(&words).map(Command::Ctl)
}

fn why(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Why)),
            Value(file) => files.push(file.into()),
            other => return Err(unknown(other, "freestone why", &["help"])),
        }
    }
    match <[PathBuf; 2]>::try_from(files) {
        Ok([first, second]) => Ok(Command::Why { first, second }),
        Err(files) => Err(format!(
            "freestone why compares two files, but got {}. Say `freestone why BEFORE.json AFTER.json`",
            files.len()
        )),
    }
}

fn symbolize(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut path = None;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Symbolize)),
            Value(file) if path.is_none() => path = Some(file.into()),
            other => return Err(unknown(other, "freestone symbolize", &["help"])),
        }
    }
    Ok(Command::Symbolize(path))
}

fn classes(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut json = false;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("json") => json = true,
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Classes)),
            other => return Err(unknown(other, "freestone classes", &["json", "help"])),
        }
    }
    Ok(Command::Classes { json })
}

fn stats(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut words: Vec<String> = Vec::new();
    let mut markdown = false;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("markdown") => markdown = true,
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Stats)),
            // A term of several words need not be quoted.
            Value(word) => words.push(shown(&word)),
            other => return Err(unknown(other, "freestone stats", &["markdown", "help"])),
        }
    }
    Ok(Command::Stats { term: (!words.is_empty()).then(|| words.join(" ")), markdown })
}

fn help(mut parser: lexopt::Parser) -> Result<Command, String> {
    let Some(argument) = parser.next().map_err(text)? else {
        return Ok(Command::Help(Topic::All));
    };
    let word = match argument {
        Short('h') | Long("help") => return Ok(Command::Help(Topic::All)),
        Value(word) => word,
        other => return Err(unknown(other, "freestone help", &["help"])),
    };
    match word.to_str() {
        Some("run") => Ok(Command::Help(Topic::Run)),
        Some("record") => Ok(Command::Help(Topic::Record)),
        Some("replay") => Ok(Command::Help(Topic::Replay)),
        Some("compare") => Ok(Command::Help(Topic::Compare)),
        Some("why") => Ok(Command::Help(Topic::Why)),
        Some("symbolize") => Ok(Command::Help(Topic::Symbolize)),
        Some("top") => Ok(Command::Help(Topic::Top)),
        Some("ctl") => Ok(Command::Help(Topic::Ctl)),
        Some("profile") => Ok(Command::Help(Topic::Profile)),
        Some("classes") => Ok(Command::Help(Topic::Classes)),
        Some("stats") => Ok(Command::Help(Topic::Stats)),
        Some("report") => Ok(Command::Help(Topic::Report)),
        Some("lab") => Ok(Command::Help(Topic::Lab)),
        Some("help") => Ok(Command::Help(Topic::All)),
        _ => {
            let word = shown(&word);
            let hint = hint(&word, COMMANDS);
            Err(format!("there is no command '{word}'.{hint} There are: {}", COMMANDS.join(", ")))
        }
    }
}

pub(crate) fn unknown(argument: lexopt::Arg, command: &str, allowed: &[&str]) -> String {
    let allowed_text = match allowed {
        [] => "It takes no options".into(),
        _ => format!(
            "It takes {}",
            allowed.iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join(", ")
        ),
    };
    match argument {
        Long(name) => {
            let hint = hint(name, allowed.iter().copied()).replace('\'', "'--").replace("'--?", "'?");
            format!("{command} has no option '--{name}'.{hint} {allowed_text}")
        }
        Short(letter) => format!("{command} has no option '-{letter}'. {allowed_text}"),
        Value(word) => format!("{command} takes no argument '{}'. {allowed_text}", shown(&word)),
    }
}

pub(crate) fn text(error: lexopt::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run_options(line: &str) -> RunOptions {
        match parsed(line) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_programs_own_options_are_left_alone() {
        for line in ["run ls --json -q", "run -- ls --json -q"] {
            let options = run_options(line);
            assert_eq!(options.command, "ls");
            assert_eq!(options.arguments, ["--json", "-q"]);
            assert!(!options.json && !options.quiet);
        }
        let options = run_options("run -- env -- true");
        assert_eq!(options.arguments, ["--", "true"]);
        assert_eq!(run_options("run -- --odd").command, "--odd");
    }

    #[test]
    fn options_are_understood() {
        let options =
            run_options("run --json -o out.json --no-count --cache thread --conf check:1,cache:cpu ls");
        assert!(options.json);
        assert_eq!(options.output.unwrap(), PathBuf::from("out.json"));
        assert_eq!(options.conf.text(), "count:0,cache:cpu,check:1");
    }

    #[test]
    fn mistakes_are_answered_with_what_is_allowed() {
        for (line, expected) in [
            ("rnu ls", "Did you mean 'run'? There are: run, record, replay, compare, report, lab, top, ctl"),
            ("run --jsn ls", "Did you mean '--json'?"),
            ("run --cache gpu ls", "It takes auto, cpu, thread, none"),
            ("run --conf nothing:1 ls", "There are:\n  cache "),
            ("run --conf report:/x ls", "--output FILE"),
            ("run --lib", "missing argument"),
            ("run", "which program?"),
            ("classes all", "takes no argument"),
            ("why a.json", "compares two files, but got 1"),
            ("why --json a b", "has no option '--json'"),
            ("stats -x", "has no option '-x'"),
            ("--verbose", "It takes --help, --version"),
            ("help me", "There are: run"),
        ] {
            let message = parsed(line).unwrap_err();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn terms_of_several_words_need_no_quotes() {
        let Ok(Command::Stats { term: Some(term), markdown: false }) = parsed("stats peak live") else {
            panic!()
        };
        assert_eq!(term, "peak live");
    }
}
