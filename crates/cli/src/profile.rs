//! `freestone profile`: heap profiles, from a file or from a running process, as lists, pictures and pprof files.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use freestone_profile::{Measure, Profile, Raw, Symbols};
use lexopt::prelude::*;

use crate::attach::Process;
use crate::suggest::hint;
use crate::{complain, print, print_bytes, shown};

/// What becomes of a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Top,
    Leaks,
    Folded,
    Lines,
    Svg,
    Pprof,
    Raw,
}

const FORMATS: [(&str, Format); 7] = [
    ("top", Format::Top),
    ("leaks", Format::Leaks),
    ("folded", Format::Folded),
    ("lines", Format::Lines),
    ("svg", Format::Svg),
    ("pprof", Format::Pprof),
    ("raw", Format::Raw),
];

const MEASURES: [(&str, Measure); 11] = [
    ("live", Measure::LiveBytes),
    ("live-blocks", Measure::LiveObjects),
    ("allocated", Measure::AllocatedBytes),
    ("allocated-blocks", Measure::AllocatedObjects),
    ("peak", Measure::PeakBytes),
    ("peak-blocks", Measure::PeakObjects),
    ("stranded", Measure::StrandedBytes),
    ("lost", Measure::LostBytes),
    ("lost-blocks", Measure::LostObjects),
    ("idle", Measure::IdleBytes),
    ("idle-blocks", Measure::IdleObjects),
];

/// How to come by the other measures.
const OTHERS: &str =
    "A profile in a file NAME.heap has other measures: `freestone profile -m peak -o NAME.svg NAME.heap`";

/// The options of `freestone profile`.
#[derive(Debug)]
pub struct ProfileOptions {
    /// A file, or the number of a process.
    pub input: PathBuf,
    /// A file with an earlier profile, to be subtracted.
    pub base: Option<PathBuf>,
    pub output: Option<PathBuf>,
    pub format: Format,
    /// `None`: what lives, or else what lived.
    pub measure: Option<Measure>,
    pub most: usize,
    /// Of a process: how long to watch which blocks are touched, first.
    pub idle: Option<Duration>,
}

/// Understands what follows `freestone profile`; `None`: the help is wanted.
pub fn options(mut parser: lexopt::Parser) -> Result<Option<ProfileOptions>, String> {
    let text = |error: lexopt::Error| error.to_string();
    let (mut input, mut base, mut output, mut format) = (None, None, None, None);
    let (mut measure, mut most, mut idle) = (None, 40, None);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Short('f') | Long("format") => {
                format = Some(chosen("--format", &shown(&parser.value().map_err(text)?), &FORMATS)?);
            }
            Short('m') | Long("measure") => {
                measure = Some(chosen("--measure", &shown(&parser.value().map_err(text)?), &MEASURES)?);
            }
            Short('b') | Long("base") => base = Some(parser.value().map_err(text)?.into()),
            Short('o') | Long("output") => output = Some(PathBuf::from(parser.value().map_err(text)?)),
            Short('n') | Long("top") => {
                let word = shown(&parser.value().map_err(text)?);
                most = word.parse().map_err(|_| format!("--top cannot be '{word}'; it takes a number"))?;
            }
            Long("idle") => {
                let word = shown(&parser.value().map_err(text)?);
                let seconds = word.parse::<f64>().ok().filter(|seconds| (0.001..1e6).contains(seconds));
                let seconds = seconds.ok_or(format!("--idle cannot be '{word}'; it takes seconds"))?;
                idle = Some(Duration::from_secs_f64(seconds));
            }
            Value(word) if input.is_none() => input = Some(PathBuf::from(word)),
            other => {
                return Err(crate::args::unknown(
                    other,
                    "freestone profile",
                    &["format", "measure", "base", "output", "top", "idle", "help"],
                ));
            }
        }
    }
    let input = input
        .ok_or("freestone profile: of what? Say `freestone profile FILE`, or PID of a running process")?;
    let format = format.or_else(|| output.as_deref().map(format_for)).unwrap_or(Format::Top);
    let measure = measure.or(idle.map(|_| Measure::IdleBytes));
    Ok(Some(ProfileOptions { input, base, output, format, measure, most, idle }))
}

fn chosen<T: Copy>(option: &str, word: &str, all: &[(&'static str, T)]) -> Result<T, String> {
    let names = || all.iter().map(|each| each.0);
    all.iter().find(|each| each.0 == word).map(|each| each.1).ok_or_else(|| {
        let hint = hint(word, names());
        format!("{option} cannot be '{word}'.{hint} It takes {}", names().collect::<Vec<_>>().join(", "))
    })
}

/// What the end of a file's name asks for.
pub fn format_for(path: &Path) -> Format {
    let name = path.to_string_lossy();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if ends(&[".svg"]) {
        Format::Svg
    } else if ends(&[".folded", ".collapsed"]) {
        Format::Folded
    } else if ends(&[".heap"]) {
        Format::Raw
    } else if ends(&[".pb.gz", ".pprof", ".gz", ".pb"]) {
        Format::Pprof
    } else {
        Format::Top
    }
}

/// Does it.
pub fn run(options: &ProfileOptions) -> ExitCode {
    match perform(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &ProfileOptions) -> Result<(), String> {
    let lost = matches!(options.measure, Some(Measure::LostBytes | Measure::LostObjects))
        || options.format == Format::Leaks;
    let look = match options.idle {
        Some(time) => Look::Idle(time),
        None if lost => Look::Lost,
        None => Look::Nothing,
    };
    let text = text_of(&options.input, look)?;
    let base = options.base.as_deref().map(|base| text_of(base, Look::Nothing)).transpose()?;
    let made = make(&text, base.as_deref(), options.format, options.measure, options.most)?;
    put(&made, options.output.as_deref(), options.format)
}

/// A dump may be long, and the process busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process is to look for before it tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Nothing,
    Lost,
    /// What nobody touches for so long.
    Idle(Duration),
}

/// The profile's text: of a file, or else of the process with that number, which looks for what is wanted first.
fn text_of(input: &Path, look: Look) -> Result<String, String> {
    let name = input.display();
    if !input.exists()
        && let Ok(pid) = input.to_string_lossy().parse::<u32>()
    {
        let process = Process::meant(pid)?;
        let ask = |request| process.control()?.ask_within(request, PATIENCE);
        return match look {
            Look::Nothing => ask("profile dump"),
            Look::Lost => ask("profile leaks"),
            Look::Idle(time) => {
                ask("profile idle begin")?;
                std::thread::sleep(time);
                ask("profile idle end")
            }
        };
    }
    if matches!(look, Look::Idle(_)) {
        return Err(format!("--idle is for a running process; {name} is a file"));
    }
    let bytes = fs::read(input).map_err(|error| format!("cannot read {name}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{name} is no heap profile of Freestone (it is not text)"))
}

/// What is shown where no measure was asked for, and what to say about it: live blocks; of a program that cleared up behind itself
/// those at its peak, or all.
fn usual(profile: &Profile) -> (Measure, Option<String>) {
    let some = |measure: &Measure| profile.stacks.iter().any(|stack| stack.get(*measure).round() != 0.0);
    let (live, peak) = (profile.total(Measure::LiveBytes), profile.total(Measure::PeakBytes));
    match [Measure::LiveBytes, Measure::PeakBytes, Measure::AllocatedBytes].into_iter().find(some) {
        Some(Measure::LiveBytes) if live * 10.0 < peak => {
            let share = format!("{:.0} % of what lived at the peak lives", 100.0 * live / peak);
            (Measure::LiveBytes, Some(format!("{share}, and only that is shown. {OTHERS}")))
        }
        Some(measure) if measure != Measure::LiveBytes => {
            let meaning = measure.meaning();
            (measure, Some(format!("no sampled block lives, so {meaning} are shown. {OTHERS}")))
        }
        _ => (Measure::LiveBytes, None),
    }
}

/// Why nothing can be drawn.
fn nothing_to_draw(profile: &Profile, measure: Measure) -> String {
    match profile.stacks.is_empty() {
        true => format!(
            "there is nothing to draw: no request was sampled. A sample is taken every {} requested bytes; `--conf sample:4K` \
             (or another number) takes more",
            profile.mean
        ),
        false => format!("there is nothing to draw: no samples of {}. {OTHERS}", measure.meaning()),
    }
}

/// Makes of a profile's text what is wanted; what could not be read or named, and what is shown instead of live blocks, is told on
/// standard error.
pub fn make(
    text: &str,
    base: Option<&str>,
    format: Format,
    measure: Option<Measure>,
    most: usize,
) -> Result<Vec<u8>, String> {
    if format == Format::Raw {
        return Ok(text.into());
    }
    let mut symbols = Symbols::new();
    let mut resolve = |text: &str| -> Result<Profile, String> {
        let raw = Raw::parse(text).map_err(|damage| damage.what)?;
        if let Some(damage) = &raw.damage {
            complain(&format!("the profile is damaged, what stands before is shown: {damage}"));
        }
        if raw.dropped > 0 {
            complain(&format!("{} samples are missing, for which the process had no memory", raw.dropped));
        }
        Ok(symbols.resolve(&raw))
    };
    let mut profile = resolve(text)?;
    if let Some(base) = base {
        profile = profile.less(&resolve(base)?);
    }
    for complaint in symbols.complaints() {
        complain(complaint);
    }
    // A pprof file has all measures, leaks their own, and of a difference nothing is an answer.
    let chosen = measure.is_some() || base.is_some() || matches!(format, Format::Pprof | Format::Leaks);
    let (measure, note) =
        if chosen { (measure.unwrap_or(Measure::LiveBytes), None) } else { usual(&profile) };
    if let Some(note) = note {
        complain(&note);
    }
    if matches!(measure, Measure::LostBytes | Measure::LostObjects) && !profile.reachability {
        return Err("it was not looked for lost blocks: run the program with `freestone run --leaks`".into());
    }
    if matches!(measure, Measure::IdleBytes | Measure::IdleObjects) && profile.untouched_ns.is_none() {
        return Err("it was not watched what is touched: `freestone profile PID --idle SECONDS` does".into());
    }
    Ok(match format {
        Format::Top => profile.top(measure, most).into(),
        Format::Leaks => profile.leaks(most).into(),
        Format::Folded => profile.folded(measure).into(),
        Format::Lines => profile.folded_with_lines(measure).into(),
        Format::Svg => profile.flame_graph(measure).map_err(|_| nothing_to_draw(&profile, measure))?,
        Format::Pprof => profile.to_pprof(),
        Format::Raw => text.into(),
    })
}

/// Writes to the file, or to standard output.
pub fn put(bytes: &[u8], output: Option<&Path>, format: Format) -> Result<(), String> {
    match output {
        Some(path) => {
            fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
        }
        None if format == Format::Pprof => {
            if io::stdout().is_terminal() {
                return Err("a pprof file is no text: say where to with --output FILE".into());
            }
            print_bytes(bytes);
            Ok(())
        }
        None => {
            print(&String::from_utf8_lossy(bytes));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "freestone-heap-profile 1\nmean 1000\nmap 1000-2000 0 - [p]\n\
        site a 3 2 9 9 2 4000 2 40 0 0 100 : 1010 1020\nend 1\n";

    fn parsed(line: &str) -> Result<Option<ProfileOptions>, String> {
        options(lexopt::Parser::from_args(line.split_whitespace().map(std::ffi::OsString::from)))
    }

    #[test]
    fn the_name_of_the_output_says_what_is_wanted() {
        for (name, format) in [
            ("a.svg", Format::Svg),
            ("a.pb.gz", Format::Pprof),
            ("a.folded", Format::Folded),
            ("a.heap", Format::Raw),
            ("a.txt", Format::Top),
        ] {
            assert_eq!(parsed(&format!("1 -o {name}")).unwrap().unwrap().format, format);
        }
        let options = parsed("-m stranded -f svg --base a.heap b.heap").unwrap().unwrap();
        assert_eq!(
            (options.measure, options.format, options.most),
            (Some(Measure::StrandedBytes), Format::Svg, 40)
        );
        assert!(parsed("--help").unwrap().is_none());
    }

    #[test]
    fn mistakes_are_answered_with_what_is_allowed() {
        for (line, expected) in [
            ("", "of what?"),
            ("a -m lvie", "Did you mean 'live'? It takes live, live-blocks"),
            ("a -f pdf", "It takes top, leaks"),
            ("a --top many", "it takes a number"),
            ("1 --idle long", "it takes seconds"),
            ("a b", "takes no argument"),
        ] {
            let message = parsed(line).unwrap_err();
            assert!(message.contains(expected), "{line}: {message}");
        }
        assert!(make("nothing", None, Format::Top, None, 1).unwrap_err().contains("no heap profile"));
        assert!(make(TEXT, None, Format::Top, Some(Measure::LostBytes), 1).unwrap_err().contains("--leaks"));
        assert!(make(TEXT, None, Format::Top, Some(Measure::IdleBytes), 1).unwrap_err().contains("--idle"));
        let file = Path::new("/no/such/file");
        assert!(text_of(file, Look::Nothing).unwrap_err().contains("cannot read"));
        assert!(text_of(file, Look::Idle(PATIENCE)).unwrap_err().contains("running process"));
    }

    #[test]
    fn every_format_is_made() {
        for (name, format) in FORMATS {
            let made = make(TEXT, None, format, None, 3).unwrap();
            assert!(!made.is_empty(), "{name}");
        }
        let none = make(TEXT, Some(TEXT), Format::Folded, None, 3).unwrap();
        assert!(none.is_empty());
    }
    #[test]
    fn where_nothing_lives_what_lived_is_shown() {
        let text = |live: &str, peak: &str| {
            format!(
                "freestone-heap-profile 1\nmean 1000\nmap 1000-2000 0 - [p]\n\
                 site a 3 0 9 9000 {live} {peak} 0 0 0 : 1010\nend 1\n"
            )
        };
        let made = |text: &str, format, measure| make(text, None, format, measure, 3);
        for (text, title) in [
            (text("1 900", "2 2000"), "bytes in live blocks"),
            (text("0 0", "2 2000"), "bytes at the peak"),
            (text("0 0", "0 0"), "bytes allocated"),
        ] {
            let svg = String::from_utf8(made(&text, Format::Svg, None).unwrap()).unwrap();
            assert!(svg.contains(&format!("Heap: {title}")), "{title}");
            assert!(made(&text, Format::Top, None).unwrap().starts_with(title.as_bytes()));
        }
        // Who asks for live blocks is answered.
        let gone = text("0 0", "2 2000");
        let message = made(&gone, Format::Svg, Some(Measure::LiveBytes)).unwrap_err();
        assert!(message.contains("no samples of bytes in live blocks"), "{message}");
        let noted =
            |text: &str| usual(&Symbols::new().resolve(&Raw::parse(text).unwrap())).1.unwrap_or_default();
        assert!(noted(&text("1 100", "2 2000")).starts_with("5 % of what lived at the peak lives"));
        assert!(noted(&gone).starts_with("no sampled block lives, so bytes at the peak are shown"));
        assert_eq!(noted(&text("1 900", "2 2000")), "");
        let none = "freestone-heap-profile 1\nmean 1000\nend 0\n";
        let message = made(none, Format::Svg, None).unwrap_err();
        assert!(message.contains("no request was sampled") && message.contains("1000"), "{message}");
    }
}
