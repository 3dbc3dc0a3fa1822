//! The text that the allocator writes: lines of words, described in `docs/profiles.md`.

use std::fmt;

/// How the text begins.
const MAGIC: &str = "freestone-heap-profile 1";
/// No stack is longer in what the allocator writes, with room for more to come.
const MOST_FRAMES: usize = 4096;

/// A profile as the allocator wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw {
    /// Mean distance between two samples, in requested bytes.
    pub mean: u64,
    /// The process's number.
    pub process: u64,
    /// When the profile began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// How long it had been taken, in nanoseconds.
    pub duration_ns: u64,
    /// Samples that were lost because memory was refused.
    pub dropped: u64,
    /// Whether it was written as the process ended.
    pub ended: bool,
    /// Whether it was looked for blocks that nothing leads to.
    pub reachability: bool,
    /// For how long it was watched which blocks are touched, in nanoseconds, where it was.
    pub untouched_ns: Option<u64>,
    /// Executable mappings.
    pub mappings: Vec<Mapping>,
    /// Call sites.
    pub sites: Vec<Site>,
    /// Why the text could not be read to its end; what stands before is there.
    pub damage: Option<Damage>,
}

/// An executable mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The object's build id, empty where it has none.
    pub build_id: Vec<u8>,
    /// The file's path, or a name in brackets.
    pub path: String,
    /// Whether it is the allocator's library, whose frames nobody asked for.
    pub is_own: bool,
}

/// A call site on a thread. Objects and bytes are estimates of the whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// The thread's name.
    pub thread: String,
    /// Samples taken; of those, live ones.
    pub samples: u64,
    /// Samples whose blocks live.
    pub live_samples: u64,
    /// Allocated since the profile began: objects and bytes.
    pub allocated: (f64, f64),
    /// Live.
    pub live: (f64, f64),
    /// Live when the estimated heap was largest.
    pub peak: (f64, f64),
    /// Live, but nothing leads to them.
    pub lost: (f64, f64),
    /// Live, and touched by nobody while that was watched.
    pub idle: (f64, f64),
    /// Free bytes of slabs that the live blocks keep from going back.
    pub stranded: f64,
    /// Return addresses, the innermost first.
    pub frames: Vec<u64>,
}

/// Where a text cannot be read any more, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The line, counted from one.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Damage {}

impl Raw {
    /// Reads a profile; where the text is damaged or cut, what stands before that, and [`Raw::damage`]. O(text).
    ///
    /// # Errors
    /// It does not begin as a profile does.
    pub fn parse(text: &str) -> Result<Raw, Damage> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        match lines.next() {
            Some((_, MAGIC)) => {}
            Some((_, first)) if first.starts_with("freestone-heap-profile ") => {
                return Err(Damage {
                    line: 1,
                    what: format!("'{first}' is of another version; this one reads '{MAGIC}'"),
                });
            }
            _ => {
                return Err(Damage {
                    line: 1,
                    what: format!("this is no heap profile: it does not begin with '{MAGIC}'"),
                });
            }
        }
        let mut raw = Raw::default();
        for (number, line) in lines {
            match raw.take(line) {
                Ok(Next::More) => {}
                Ok(Next::End) => return Ok(raw),
                Err(what) => {
                    raw.damage = Some(Damage { line: number, what });
                    return Ok(raw);
                }
            }
        }
        raw.damage = Some(Damage {
            line: text.lines().count(),
            what: "it was cut: there is no last line 'end N'".into(),
        });
        Ok(raw)
    }

    fn take(&mut self, line: &str) -> Result<Next, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "mean" => self.mean = number(rest)?,
            "process" => self.process = number(rest)?,
            "began" => self.began_ns = number(rest)?,
            "duration" => self.duration_ns = number(rest)?,
            "dropped" => self.dropped = number(rest)?,
            "ended" => self.ended = number::<u8>(rest)? != 0,
            "reachability" => self.reachability = number::<u8>(rest)? != 0,
            "untouched" => self.untouched_ns = Some(number(rest)?),
            "idle" => {
                let site = self.sites.last_mut().ok_or("idle blocks of no site")?;
                let (objects, bytes) = rest.split_once(' ').ok_or("a figure is missing")?;
                site.idle = (figure(objects)?, figure(bytes)?);
            }
            "map" => self.mappings.push(mapping(rest)?),
            "own" => own(&mut self.mappings, rest)?,
            "site" => self.sites.push(site(rest)?),
            "end" => {
                let wanted: usize = number(rest)?;
                if wanted != self.sites.len() {
                    return Err(format!("there are {} sites, but {wanted} were written", self.sites.len()));
                }
                return Ok(Next::End);
            }
            // What a later version adds.
            _ if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()) => {}
            _ => return Err(format!("'{}' is not understood", shown(line))),
        }
        Ok(Next::More)
    }
}

enum Next {
    More,
    End,
}

fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("'{}' is no number that can stand here", shown(text)))
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("'{}' is no address", shown(text)))
}

impl Mapping {
    /// Reads `START-END OFFSET BUILDID PATH`, numbers in base 16, `-` for no build id.
    ///
    /// ```
    /// let mapping = freestone_profile::Mapping::parse("1000-3000 200 0aff /bin/a program").unwrap();
    /// assert_eq!((mapping.start, mapping.offset, mapping.path.as_str()), (0x1000, 0x200, "/bin/a program"));
    /// ```
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Mapping, String> {
        mapping(text)
    }

    /// Reads a list of them, a line each, as traces have it; lines that are none are passed over. After that of the allocator's library
    /// stands `own START-END`.
    ///
    /// ```
    /// let list = "1000-3000 0 - /bin/a\n5000-6000 0 - /lib/b.so\nown 5000-6000\n";
    /// let mappings = freestone_profile::Mapping::parse_list(list);
    /// assert!(mappings.len() == 2 && !mappings[0].is_own && mappings[1].is_own);
    /// ```
    pub fn parse_list(text: &str) -> Vec<Mapping> {
        let mut all = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("own ") {
                // What is no range belongs to nobody.
                Some(range) => drop(own(&mut all, range)),
                None => all.extend(mapping(line)),
            }
        }
        all
    }
}

/// `START-END`: one of the mappings is the allocator's own.
fn own(mappings: &mut [Mapping], text: &str) -> Result<(), String> {
    let (start, end) = range(text)?;
    let inside = |mapping: &&mut Mapping| mapping.start == start && mapping.end == end;
    mappings.iter_mut().filter(inside).for_each(|mapping| mapping.is_own = true);
    Ok(())
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (start, end) = text.split_once('-').ok_or("a mapping has no range")?;
    Ok((hexadecimal(start)?, hexadecimal(end)?))
}

fn mapping(text: &str) -> Result<Mapping, String> {
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().ok_or_else(|| "a mapping ends early".to_string());
    let (start, end) = range(word()?)?;
    let (offset, id) = (word()?, word()?);
    let build_id = match id {
        "-" => Vec::new(),
        id if id.is_ascii() && id.len() % 2 == 0 => (0..id.len() / 2)
            .map(|byte| {
                u8::from_str_radix(&id[2 * byte..2 * byte + 2], 16)
                    .map_err(|_| format!("'{}' is no build id", shown(id)))
            })
            .collect::<Result<_, _>>()?,
        id => return Err(format!("'{}' is no build id", shown(id))),
    };
    if start >= end {
        return Err("a mapping ends before it begins".into());
    }
    Ok(Mapping { start, end, offset: hexadecimal(offset)?, build_id, path: word()?.into(), is_own: false })
}

/// `THREAD SAMPLES LIVE-SAMPLES (OBJECTS BYTES)×4 STRANDED : FRAME…`
fn site(text: &str) -> Result<Site, String> {
    let (figures, frames) = text.split_once(" :").ok_or("a site has no frames")?;
    let mut words = figures.split(' ');
    let mut word = || words.next().ok_or_else(|| "a site has too few figures".to_string());
    let thread = thread_name(word()?)?;
    let (samples, live_samples) = (number(word()?)?, number(word()?)?);
    let mut sum = || -> Result<(f64, f64), String> { Ok((figure(word()?)?, figure(word()?)?)) };
    let (allocated, live, peak, lost) = (sum()?, sum()?, sum()?, sum()?);
    let stranded = figure(word()?)?;
    let frames = frames
        .split(' ')
        .filter(|frame| !frame.is_empty())
        .map(hexadecimal)
        .collect::<Result<Vec<_>, _>>()?;
    if frames.len() > MOST_FRAMES {
        return Err(format!("a stack has {} frames, more than can be", frames.len()));
    }
    let idle = (0.0, 0.0);
    Ok(Site { thread, samples, live_samples, allocated, live, peak, lost, idle, stranded, frames })
}

fn figure(word: &str) -> Result<f64, String> {
    let value: f64 = number(word)?;
    if value.is_finite() { Ok(value) } else { Err("a figure is no finite number".into()) }
}

/// The name of a thread, in which `%` and two digits stand for a byte.
fn thread_name(text: &str) -> Result<String, String> {
    if text == "%" {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(value.ok_or_else(|| format!("'{}' is no name of a thread", shown(text)))?);
            rest = &behind[2..];
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "freestone-heap-profile 1\nmean 4096\nprocess 7\nbegan 5\nduration 9\ndropped 1\nended 1\nnovelty x y\n\
        map 1000-3000 00001000 0aff /a b\nmap 5000-6000 0 - [vdso]\n\
        site wor%20ker 3 2 3.50 70 2.00 40 3.00 60 1.00 20 512 : 1001 5001\nsite % 1 0 1 8 0 0 0 0 0 0 0 :\nend 2\n";

    #[test]
    fn what_was_written_is_read() {
        let raw = Raw::parse(TEXT).unwrap();
        assert_eq!((raw.mean, raw.process, raw.began_ns, raw.duration_ns, raw.dropped), (4096, 7, 5, 9, 1));
        assert!(raw.ended && !raw.reachability && raw.damage.is_none());
        assert_eq!(raw.mappings[0].build_id, [10, 255]);
        assert_eq!((raw.mappings[0].path.as_str(), raw.mappings[0].offset), ("/a b", 4096));
        let site = &raw.sites[0];
        assert_eq!((site.thread.as_str(), site.stranded, site.lost), ("wor ker", 512.0, (1.0, 20.0)));
        assert_eq!(site.frames, [0x1001, 0x5001]);
        assert!(raw.sites[1].frames.is_empty() && raw.sites[1].thread.is_empty());
    }

    #[test]
    fn what_is_damaged_or_cut_is_read_up_to_there_and_says_so() {
        for (from, to, sites, expected) in [
            ("end 2\n", "", 2, "line 12: it was cut"),
            ("end 2", "end 3", 2, "3 were written"),
            ("site % 1 0 1 8", "site % 1 0 1 x", 1, "line 12: 'x' is no number"),
            ("site % 1 0 1 8", "site % 1 0 inf 8", 1, "finite"),
            ("site % 1", "\u{1b}[2J", 1, "'\\u{1b}[2J"),
            ("site wor%20ker", "site wor%zz", 0, "no name of a thread"),
            ("1001 5001", "1001 quite", 0, "no address"),
            ("0aff", "0afé", 0, "no build id"),
            ("1000-3000", "3000-1000", 0, "ends before it begins"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let raw = Raw::parse(&TEXT.replace(from, to)).unwrap();
            let damage = raw.damage.unwrap().to_string();
            assert!(damage.contains(expected), "{damage}");
            assert_eq!(raw.sites.len(), sites, "{damage}");
        }
        assert!(Raw::parse("").unwrap_err().to_string().contains("no heap profile"));
        assert!(
            Raw::parse("freestone-heap-profile 9\n").unwrap_err().to_string().contains("another version")
        );
    }

    #[test]
    fn what_was_idle_belongs_to_the_site_before_it() {
        let text = TEXT.replace("site %", "idle 1.50 30\nsite %").replace("ended 1", "untouched 77\nended 1");
        let raw = Raw::parse(&text).unwrap();
        assert_eq!(
            (raw.untouched_ns, raw.sites[0].idle, raw.sites[1].idle),
            (Some(77), (1.5, 30.0), (0.0, 0.0))
        );
        let early = Raw::parse(&text.replace("map 1000", "idle 1 1\nmap 1000")).unwrap();
        assert!(early.damage.unwrap().to_string().contains("idle blocks of no site"));
    }

    #[test]
    fn any_cut_is_survived() {
        for len in 0..TEXT.len() {
            if let Ok(raw) = Raw::parse(&TEXT[..len]) {
                assert!(raw.damage.is_some() || len == TEXT.len() - 1, "{len}");
            }
        }
    }
}
