//! Counting a program's instructions under valgrind: the same number on a busy machine as on an idle one.
//!
//! valgrind has no restartable sequences, without which Freestone would keep its caches per thread and take other ways than it
//! does elsewhere. So a small library (`rseq.c`) is preloaded before it, which puts plain memory in the kernel's place. What the
//! kernel does is not counted.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("rseq.c");
/// Variables that name what is preloaded, under the program itself or, by its script, under a part of it.
const PRELOADS: [&str; 2] = ["LD_PRELOAD", "PRELOAD"];

/// Makes the library in `folder`.
///
/// # Errors
/// There is no valgrind, or no C compiler.
pub fn prepare(folder: &Path) -> Result<PathBuf, String> {
    let missing = |tool: &str, package: &str| format!("{tool} is needed to count: apt-get install {package}");
    Command::new("valgrind").arg("--version").output().map_err(|_| missing("valgrind", "valgrind"))?;
    let (source, library) = (folder.join("rseq.c"), folder.join("rseq.so"));
    std::fs::write(&source, SOURCE).map_err(|error| format!("{}: {error}", source.display()))?;
    let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).args([&library, &source]).output();
    let built = built.map_err(|_| missing("a C compiler", "gcc"))?;
    match built.status.success() {
        true => Ok(library),
        false => Err(format!("rseq.c: {}", String::from_utf8_lossy(&built.stderr).trim())),
    }
}

/// The words that start a program under valgrind, and its environment; what is counted goes to files in `output`.
pub fn wrapped(
    words: &[OsString],
    environment: &[(String, String)],
    library: &Path,
    output: &Path,
) -> (Vec<OsString>, Vec<(String, String)>) {
    let mut file = OsString::from("--cachegrind-out-file=");
    file.push(output.join("%p.count"));
    let valgrind =
        ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes", "-q"].map(OsString::from);
    let all = valgrind.into_iter().chain([file]).chain(words.iter().cloned()).collect();
    let first = library.display();
    let mut environment = environment.to_vec();
    for (name, value) in &mut environment {
        if PRELOADS.contains(&name.as_str()) {
            *value = format!("{first}:{value}");
        }
    }
    if !environment.iter().any(|(name, _)| PRELOADS.contains(&name.as_str())) {
        environment.push((PRELOADS[0].into(), first.to_string()));
    }
    (all, environment)
}

/// The instructions of the process that executed most: helpers and clients are none of what is measured.
///
/// # Errors
/// There is no count.
pub fn counted(output: &Path) -> Result<u64, String> {
    let files = std::fs::read_dir(output).map_err(|error| format!("{}: {error}", output.display()))?;
    let counts =
        files.flatten().map(|file| file.path()).filter(|path| path.extension() == Some(OsStr::new("count")));
    let most = counts.filter_map(|path| summary(&std::fs::read_to_string(path).ok()?)).max();
    most.ok_or_else(|| "valgrind counted nothing".into())
}

fn summary(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("summary:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_comes_first_wherever_one_is_preloaded() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        let words = [OsString::from("/bin/program"), "-x".into()];
        let set = [pair("PRELOAD", "/a.so"), pair("LD_PRELOAD", "/b.so"), pair("X", "y")];
        let (all, environment) = wrapped(&words, &set, Path::new("/s.so"), Path::new("/o"));
        assert!(all[0] == "valgrind" && all.ends_with(&words), "{all:?}");
        assert!(all.contains(&OsString::from("--cachegrind-out-file=/o/%p.count")));
        let expected = [pair("PRELOAD", "/s.so:/a.so"), pair("LD_PRELOAD", "/s.so:/b.so"), pair("X", "y")];
        assert_eq!(environment, expected);
        let (_, environment) = wrapped(&words, &set[2..], Path::new("/s.so"), Path::new("/o"));
        assert_eq!(environment, [pair("X", "y"), pair("LD_PRELOAD", "/s.so")]);
    }

    #[test]
    fn the_largest_count_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert!(counted(folder.path()).is_err());
        for (name, text) in
            [("1.count", "events: Ir\nsummary: 70\n"), ("2.count", "summary: 9\n"), ("3.log", "x")]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(counted(folder.path()), Ok(70));
    }
}
