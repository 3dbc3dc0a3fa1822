//! `freestone symbolize`, and the reports of `freestone run --debug`: functions and lines in the place of addresses.
//!
//! The library writes an address as `FILE+0xDISTANCE`, the distance being from where the file's first page lies in memory. A
//! line that is nothing else is replaced by the function and the line of the source, one for each function that was
//! inlined there; everything else passes through.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;

use freestone_profile::{Frame, Symbols};

/// The text with names in the place of addresses.
pub fn resolve(symbols: &mut Symbols, text: &str) -> String {
    let mut resolved = String::new();
    for line in text.lines() {
        let (indent, file, frames) = match address(line) {
            Some((indent, file, distance)) => (indent, file, symbols.in_file(file, distance)),
            None => ("", "", Vec::new()),
        };
        if frames.is_empty() {
            let _ = writeln!(resolved, "{line}");
        }
        for frame in &frames {
            let _ = writeln!(resolved, "{indent}{}", named(frame, file));
        }
    }
    resolved
}

fn named(frame: &Frame, file: &str) -> String {
    match frame.line {
        0 => format!("{} in {file}", frame.function),
        line => format!("{} at {}:{line}", frame.function, frame.file),
    }
}

/// The parts of a line that is an address: what it is indented by, the file, the distance.
fn address(line: &str) -> Option<(&str, &str, u64)> {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let (file, distance) = text.rsplit_once("+0x")?;
    let distance = u64::from_str_radix(distance, 16).ok()?;
    (!indent.is_empty() && file.starts_with('/')).then_some((indent, file, distance))
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
    Ok(resolve(&mut Symbols::new(), &String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_addresses_are_taken() {
        assert_eq!(address("    /a b/c+d+0x12"), Some(("    ", "/a b/c+d", 0x12)));
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
        let resolved = resolve(&mut Symbols::new(), &text);
        assert!(resolved.contains("this_very_function_has_a_name"), "{resolved}");
        assert!(resolved.starts_with("double free\n    "));
        assert!(resolved.ends_with("\n    /no/such/file+0x1\n"));
    }
}
