//! The options that `run`, `modes`, `latency`, `growth`, `memory`, `overhead`, `ranks` and `profile` share.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::result::score::Metric;
use crate::result::{Interface, Parameters};

/// What the shared options say.
#[derive(Clone, Debug)]
pub struct Options {
    /// The peers asked for; `None` are all.
    pub peers: Option<Vec<String>>,
    /// The contestants to leave out.
    pub without: Vec<String>,
    /// The interfaces asked for, in order.
    pub interfaces: Vec<Interface>,
    /// The library to measure as Freestone.
    pub freestone: Option<PathBuf>,
    /// More libraries, with the names that tables give them.
    pub libraries: Vec<(String, PathBuf)>,
    /// Modes of Freestone to measure besides its default: names, and options as in `FREESTONE_CONF`.
    pub modes: Vec<(String, String)>,
    /// How often and how much.
    pub parameters: Parameters,
    /// Seconds after which a run counts as hung.
    pub limit: f64,
    /// Whether to build what is missing or out of date.
    pub build: bool,
}

impl Options {
    /// The defaults, for these interfaces.
    pub fn new(interfaces: &[Interface]) -> Options {
        Options {
            peers: None,
            without: Vec::new(),
            interfaces: interfaces.to_vec(),
            freestone: None,
            libraries: Vec::new(),
            modes: Vec::new(),
            parameters: Parameters { rounds: 5, scale: 1.0, threads: 0, seed: 1 },
            limit: 300.0,
            build: true,
        }
    }

    /// Takes all arguments of a `command` that has names, `--json FILE` and the shared options: the names and the file.
    pub fn take_all(
        &mut self,
        command: &str,
        mut arguments: lexopt::Parser,
    ) -> Result<(Vec<String>, Option<PathBuf>), lexopt::Error> {
        let (mut names, mut json) = (Vec::new(), None);
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(name) => names.push(name.string()?),
                Long("json") => json = Some(arguments.value()?.into()),
                Long(name) => {
                    let name = name.to_string();
                    self.take(command, &name, &mut arguments)?;
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok((names, json))
    }

    /// Takes the long option `name`; refuses one that is not among the shared ones, since `command` has no other left.
    pub fn take(
        &mut self,
        command: &str,
        name: &str,
        arguments: &mut lexopt::Parser,
    ) -> Result<(), lexopt::Error> {
        match name {
            "peers" => self.peers = Some(words(arguments.value()?)?),
            "without" => self.without = words(arguments.value()?)?,
            "interface" => self.interfaces = arguments.value()?.parse_with(interfaces)?,
            "freestone" => self.freestone = Some(arguments.value()?.into()),
            "lib" => self.libraries.push(arguments.value()?.parse_with(library)?),
            "mode" => self.modes.push(arguments.value()?.parse_with(mode)?),
            "rounds" => self.parameters.rounds = arguments.value()?.parse_with(positive)?,
            "scale" => self.parameters.scale = arguments.value()?.parse_with(scale)?,
            "threads" => self.parameters.threads = arguments.value()?.parse_with(positive)?,
            "seed" => self.parameters.seed = arguments.value()?.parse()?,
            "limit" => self.limit = arguments.value()?.parse_with(scale)?,
            "quick" => {
                self.parameters.rounds = 3;
                self.parameters.scale = 0.2;
            }
            "no-build" => self.build = false,
            _ => {
                return Err(
                    format!("{command} has no option --{name}; freestone-bench --help shows all").into()
                );
            }
        }
        Ok(())
    }
}

/// The metrics of a list separated by commas.
pub fn metrics(text: OsString) -> Result<Vec<Metric>, lexopt::Error> {
    let metrics: Result<Vec<Metric>, String> = words(text)?.iter().map(|name| Metric::named(name)).collect();
    Ok(metrics?)
}

/// The words of a list separated by commas.
pub fn words(text: OsString) -> Result<Vec<String>, lexopt::Error> {
    let text = text.string()?;
    Ok(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(String::from).collect())
}

fn interfaces(text: &str) -> Result<Vec<Interface>, &'static str> {
    match text {
        "c" => Ok(vec![Interface::C]),
        "rust" => Ok(vec![Interface::Rust]),
        "both" => Ok(vec![Interface::C, Interface::Rust]),
        _ => Err("it may be c, rust or both"),
    }
}

fn library(text: &str) -> Result<(String, PathBuf), &'static str> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.into(), path.into())),
        _ => Err("here it must be NAME=FILE"),
    }
}

fn mode(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, options)) if !name.is_empty() && options.contains(':') => {
            Ok((name.into(), options.into()))
        }
        _ => Err("here it must be NAME=OPTION:VALUE,..., options as in FREESTONE_CONF"),
    }
}

/// A number from 1 up.
pub fn positive(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("here it must be a whole number from 1 up")
}

fn scale(text: &str) -> Result<f64, &'static str> {
    let allowed = |number: &f64| number.is_finite() && *number > 0.0;
    text.parse().ok().filter(allowed).ok_or("here it must be a number above 0")
}

/// Bytes, perhaps with K, M or G behind.
pub fn bytes(text: &str) -> Result<f64, &'static str> {
    let (digits, unit) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        Some(b'G') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    scale(digits)
        .map(|number| number * unit)
        .map_err(|_| "here it must be bytes, perhaps with K, M or G behind")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, lexopt::Error> {
        let mut options = Options::new(&[Interface::C]);
        let mut arguments = lexopt::Parser::from_args(words);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long(name) => {
                    let name = name.to_string();
                    options.take("run", &name, &mut arguments)?;
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }

    #[test]
    fn options_are_understood() {
        let words = "--quick --rounds 7 --peers glibc,mimalloc3 --interface=both --lib a=b=c --mode m=harden:1,guard:8M";
        let options = parse(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!((options.parameters.rounds, options.parameters.scale), (7, 0.2));
        assert_eq!(options.peers.unwrap(), ["glibc", "mimalloc3"]);
        assert_eq!(options.interfaces.len(), 2);
        assert_eq!(options.libraries, [("a".to_string(), PathBuf::from("b=c"))]);
        assert_eq!(options.modes, [("m".to_string(), "harden:1,guard:8M".to_string())]);
    }

    #[test]
    fn bad_values_are_told_with_what_is_allowed() {
        for (words, wanted) in [
            (["--rounds", "0"], "from 1 up"),
            (["--interface", "d"], "c, rust or both"),
            (["--lib", "x"], "NAME=FILE"),
            (["--mode", "x=harden"], "NAME=OPTION:VALUE"),
            (["--scale", "-1"], "above 0"),
            (["--sclae", "1"], "run has no option --sclae;"),
        ] {
            let told = parse(&words).unwrap_err().to_string();
            assert!(told.contains(wanted), "{told}");
        }
        assert!(metrics("time,x".into()).unwrap_err().to_string().contains("average"));
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!([bytes("10G"), bytes("500m"), bytes("12")], [Ok(1e10), Ok(5e8), Ok(12.0)]);
        assert!(bytes("G").is_err());
    }
}
