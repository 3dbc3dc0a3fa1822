//! What a run leaves behind that must be the same under every allocator.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::Path;

/// Longer texts are noted by their digest, so that the harness itself stays small in memory.
const LONGEST_TEXT: u64 = 64 << 10;

/// Named pieces of output, in the order in which the job noted them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence(Vec<(String, String)>);

impl Evidence {
    /// Adds a piece.
    pub fn note(&mut self, name: &str, text: impl Into<String>) {
        self.0.push((name.to_string(), text.into()));
    }

    /// The first difference from `reference`, told so that one can see it; `None` if there is none.
    pub fn difference(&self, reference: &Evidence) -> Option<String> {
        for ((name, text), (other_name, other_text)) in self.0.iter().zip(&reference.0) {
            if name != other_name {
                return Some(format!("noted {name:?} where the plain run noted {other_name:?}"));
            }
            if text != other_text {
                return Some(format!("{name} differs: {}", first_difference(text, other_text)));
            }
        }
        let (ours, theirs) = (self.0.len(), reference.0.len());
        (ours != theirs).then(|| format!("{ours} pieces of output where the plain run had {theirs}"))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in &self.0 {
            writeln!(f, "== {name}\n{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn first_difference(text: &str, reference: &str) -> String {
    let mut ours = text.lines();
    let mut theirs = reference.lines();
    let mut number = 0;
    loop {
        number += 1;
        match (ours.next(), theirs.next()) {
            (None, None) => return "only in line ends".into(),
            (one, other) if one == other => {}
            (one, other) => {
                let show = |line: Option<&str>| match line {
                    Some(line) => format!("{:?}", line.chars().take(300).collect::<String>()),
                    None => "nothing".into(),
                };
                return format!("line {number} is {} where the plain run has {}", show(one), show(other));
            }
        }
    }
}

/// A digest of everything `source` yields, with its length.
pub fn digest(mut source: impl Read) -> io::Result<String> {
    // Compared only within one process, so the standard hasher's freedom to change is no matter.
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return Ok(format!("{length} bytes, digest {:016x}", hasher.finish()));
        }
        hasher.write(&buffer[..count]);
        length += count as u64;
    }
}

/// A digest of the file's contents.
pub fn digest_file(path: &Path) -> io::Result<String> {
    digest(File::open(path)?)
}

/// The file's text, or its digest if it is long.
pub fn text_or_digest(path: &Path) -> io::Result<String> {
    if path.metadata()?.len() > LONGEST_TEXT {
        return digest_file(path);
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(pieces: &[(&str, &str)]) -> Evidence {
        let mut evidence = Evidence::default();
        for (name, text) in pieces {
            evidence.note(name, *text);
        }
        evidence
    }

    #[test]
    fn the_first_differing_line_is_told() {
        let plain = evidence(&[("a", "same"), ("b", "1\n2\n3")]);
        assert_eq!(plain.difference(&plain), None);
        let other = evidence(&[("a", "same"), ("b", "1\nx\n3")]);
        let told = other.difference(&plain).unwrap();
        assert!(told.contains("b differs") && told.contains("line 2") && told.contains("\"x\""), "{told}");
        assert!(evidence(&[("a", "same")]).difference(&plain).unwrap().contains("1 pieces"));
        assert!(evidence(&[("z", "same")]).difference(&plain).is_some());
    }

    #[test]
    fn digests_depend_on_every_byte_and_not_on_how_it_is_read() {
        let bytes = vec![7u8; 200_000];
        let mut other = bytes.clone();
        other[150_000] = 8;
        assert_eq!(digest(&bytes[..]).unwrap(), digest(&bytes[..]).unwrap());
        assert_ne!(digest(&bytes[..]).unwrap(), digest(&other[..]).unwrap());
    }
}
