//! `freestone symbolize`, and the reports of `freestone run --debug`: functions and lines in the place of addresses.
//!
//! The library writes an address as `FILE+0xDISTANCE`, the distance being from where the file's first page lies in memory. A
//! line that is nothing else is replaced by the function and the line of the source, one for each function that was
//! inlined there; everything else passes through.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use addr2line::Loader;

/// Files that were opened, by their paths; none where one cannot be read.
#[derive(Default)]
pub struct Symbols(HashMap<PathBuf, Option<Loader>>);

impl Symbols {
    /// The text with names in the place of addresses.
    pub fn resolve(&mut self, text: &str) -> String {
        let mut resolved = String::new();
        for line in text.lines() {
            match address(line) {
                Some((indent, file, distance)) => {
                    let names = self.names(file, distance);
                    if names.is_empty() {
                        let _ = writeln!(resolved, "{line}");
                    }
                    for name in names {
                        let _ = writeln!(resolved, "{indent}{name}");
                    }
                }
                None => {
                    let _ = writeln!(resolved, "{line}");
                }
            }
        }
        resolved
    }

    /// The functions at a place in a file, the innermost first.
    fn names(&mut self, file: &Path, distance: u64) -> Vec<String> {
        let loader = self.0.entry(file.to_path_buf()).or_insert_with(|| Loader::new(file).ok());
        let Some(loader) = loader else { return Vec::new() };
        // Only a program that is linked for a fixed address begins elsewhere than at 0.
        let address = distance + loader.relative_address_base();
        let mut names = Vec::new();
        if let Ok(mut frames) = loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let Some(function) = frame.function else { continue };
                let function = function.demangle().map_or_else(|_| "?".to_owned(), |name| name.into_owned());
                let place = frame.location.and_then(|place| Some((place.file?, place.line?)));
                names.push(match place {
                    Some((source, line)) => format!("{function} at {source}:{line}"),
                    None => in_file(&function, file),
                });
            }
        }
        if names.is_empty()
            && let Some(symbol) = loader.find_symbol(address)
        {
            names.push(in_file(&addr2line::demangle_auto(symbol.into(), None), file));
        }
        names
    }
}

fn in_file(function: &str, file: &Path) -> String {
    format!("{function} in {}", file.display())
}

/// The parts of a line that is an address: what it is indented by, the file, the distance.
fn address(line: &str) -> Option<(&str, &Path, u64)> {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let (file, distance) = text.rsplit_once("+0x")?;
    let distance = u64::from_str_radix(distance, 16).ok()?;
    (!indent.is_empty() && file.starts_with('/')).then(|| (indent, Path::new(file), distance))
}

/// Resolves what stands in the file, or comes by standard input.
///
/// # Errors
/// A sentence, when that cannot be read.
pub fn answer(file: Option<&Path>) -> Result<String, String> {
    let text = match file {
        Some(path) => {
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
        None => {
            let mut bytes = Vec::new();
            let read = io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| format!("cannot read standard input: {error}"))?;
            bytes
        }
    };
    Ok(Symbols::default().resolve(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_addresses_are_taken() {
        assert_eq!(address("    /a b/c+d+0x12"), Some(("    ", Path::new("/a b/c+d"), 0x12)));
        for line in ["/a+0x12", "    a+0x12", "    /a+12", "    /a+0xzz", "", "    freed by thread 1:"] {
            assert_eq!(address(line), None, "{line}");
        }
    }

    #[test]
    fn this_very_function_has_a_name() {
        let file = std::env::current_exe().unwrap();
        let place = this_very_function_has_a_name as *const () as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let first = maps.lines().find(|line| line.ends_with(file.to_str().unwrap())).unwrap();
        let base = u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap();
        let text =
            format!("double free\n    {}+{:#x}\n    /no/such/file+0x1\n", file.display(), place - base);
        let resolved = Symbols::default().resolve(&text);
        assert!(resolved.contains("this_very_function_has_a_name"), "{resolved}");
        assert!(resolved.starts_with("double free\n    "));
        assert!(resolved.ends_with("\n    /no/such/file+0x1\n"));
    }
}
