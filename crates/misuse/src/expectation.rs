//! What a mode promises for each fault: the files in `expected/`.
//!
//! ```text
//! # comment
//! NAME  OUTCOME[|OUTCOME]  [message, with * for what varies]
//! ```
//!
//! More than one outcome is for what chance decides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::outcome::{End, Outcome};

/// The promise for one fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// The ends that are allowed.
    pub outcomes: Vec<Outcome>,
    /// The exact message, wherever the end is [`Outcome::Reported`]. `*` stands for any characters.
    pub message: String,
}

impl Expectation {
    /// What is wrong with this end, if anything is.
    pub fn objection(&self, end: &End) -> Option<String> {
        if !self.outcomes.contains(&end.outcome) {
            return Some(format!(
                "promised: {}; it was {} ({}){}{}",
                self.words(),
                end.outcome,
                end.status,
                named("; effect: ", &end.effect),
                named("\n", &end.said)
            ));
        }
        if end.outcome == Outcome::Reported && !matches(&self.message, end.message()) {
            return Some(format!("promised: {}; the message was: {}", self.message, end.message()));
        }
        None
    }

    fn words(&self) -> String {
        self.outcomes.iter().map(|outcome| outcome.word()).collect::<Vec<_>>().join(" or ")
    }
}

fn named(before: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}") }
}

/// Where the promises of a mode stand.
pub fn path(mode: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("expected").join(format!("{mode}.txt"))
}

/// The promises of a mode; `None` when it has none yet.
///
/// # Errors
/// A sentence that names the file and the line.
pub fn read(mode: &str) -> Result<Option<BTreeMap<String, Expectation>>, String> {
    let path = path(mode);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).map(Some).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Understands the text of such a file.
///
/// # Errors
/// A sentence that names the line.
///
/// ```
/// use freestone_misuse::expectation::parse;
/// let promises = parse("double_free  reported  double free: *\nwild  stopped|missed\n").unwrap();
/// assert_eq!(promises["double_free"].message, "double free: *");
/// assert!(parse("wild  gone").unwrap_err().contains("line 1"));
/// ```
pub fn parse(text: &str) -> Result<BTreeMap<String, Expectation>, String> {
    let mut promises = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let (name, rest) = line.split_once(char::is_whitespace).ok_or_else(|| wrong("no outcome"))?;
        let rest = rest.trim_start();
        let (outcomes, message) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let outcomes = outcomes.split('|').map(|word| {
            let known = Outcome::ALL.into_iter().find(|outcome| outcome.word() == word);
            known.ok_or_else(|| wrong("an outcome is reported, stopped, harmless, missed or skipped"))
        });
        let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
        let message = message.trim_start().to_owned();
        if outcomes.contains(&Outcome::Reported) == message.is_empty() {
            return Err(wrong("a message stands behind reported, and only there"));
        }
        if promises.insert(name.to_owned(), Expectation { outcomes, message }).is_some() {
            return Err(wrong("a second promise"));
        }
    }
    Ok(promises)
}

/// Whether the text is the pattern, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(before) = last.replace(piece) {
            let Some(at) = rest.find(before) else { return false };
            rest = &rest[at + before.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// The pattern for a message: addresses vary.
pub fn pattern(message: &str) -> String {
    let mut pattern = String::new();
    let mut rest = message;
    while let Some(at) = rest.find("0x") {
        let (before, number) = rest.split_at(at + 2);
        let digits = number.chars().take_while(char::is_ascii_hexdigit).count();
        pattern.push_str(before);
        pattern.push('*');
        rest = &number[digits..];
    }
    pattern + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_messages() {
        assert!(matches("a (address 0x*, class 64)", "a (address 0x7f, class 64)"));
        assert!(!matches("a (address 0x*, class 64)", "a (address 0x7f, class 65)"));
        assert!(!matches("a", "ab"));
        assert!(matches("a*", "ab"));
        assert!(matches("*a*b", "xaxbxb"));
        assert!(!matches("*a*b", "xbxa"));
    }

    #[test]
    fn addresses_become_stars() {
        assert_eq!(pattern("at 0x7f12: 5 (0xa)"), "at 0x*: 5 (0x*)");
        assert_eq!(pattern("none"), "none");
    }

    #[test]
    fn mistakes_in_a_file_are_told_with_their_line() {
        for (text, expected) in [
            ("a reported\n", "line 1: a message"),
            ("\na missed why\n", "line 2: a message"),
            ("a\n", "line 1: no outcome"),
            ("a missed\na missed\n", "line 2: a second promise"),
        ] {
            assert!(parse(text).unwrap_err().contains(expected), "{text}");
        }
    }
}
