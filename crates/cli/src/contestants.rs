//! The allocators that are compared, and where they are found.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::conf::{self, Conf};
use crate::replay::KIT;
use crate::suggest::hint;
use crate::{library, program};

/// How a process gets an allocator.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// What the process has anyway.
    None,
    /// A library that is preloaded.
    Preload(PathBuf),
    /// One of the kit's, by its name.
    Kit(String),
}

/// One that takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct Contestant {
    /// As it is shown.
    pub name: String,
    /// How a process gets it.
    pub way: Way,
    /// Options for Freestone's library.
    pub conf: Conf,
}

/// Names under which allocators are known, with the beginnings of their libraries' names.
const KNOWN: [(&str, &[&str]); 8] = [
    ("jemalloc", &["libjemalloc.so"]),
    ("mimalloc", &["libmimalloc.so"]),
    ("tcmalloc", &["libtcmalloc_minimal.so", "libtcmalloc.so"]),
    ("snmalloc", &["libsnmallocshim.so"]),
    ("rpmalloc", &["librpmallocwrap.so", "librpmalloc.so"]),
    ("hardened_malloc", &["libhardened_malloc.so"]),
    ("scudo", &["libscudo.so"]),
    ("hoard", &["libhoard.so"]),
];

/// Where the system keeps libraries.
const FOLDERS: [&str; 7] = [
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
];

impl Contestant {
    fn new(name: impl Into<String>, way: Way) -> Contestant {
        Contestant { name: name.into(), way, conf: Conf::default() }
    }

    /// Sets what has a process use it: nothing else of ours is in its environment.
    pub fn equip(&self, command: &mut Command) {
        command.env_remove("LD_PRELOAD").env_remove(conf::VARIABLE);
        if let Way::Preload(library) = &self.way {
            command.env("LD_PRELOAD", library);
        }
        let conf = self.conf.text();
        if !conf.is_empty() {
            command.env(conf::VARIABLE, conf);
        }
    }
}

/// Those of a list, then Freestone with each set of other options. `kit` says whether those of the kit may take part.
pub fn choose(
    list: Option<&str>,
    what_if: &[Conf],
    own: Option<&Path>,
    kit: bool,
    usual: &[&str],
) -> Result<Vec<Contestant>, String> {
    let names: Vec<&str> = match list {
        Some(list) => list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
        None => usual.to_vec(),
    };
    let mut all: Vec<Contestant> = Vec::new();
    for name in names {
        let contestant = find(name, own, kit)?;
        if all.iter().any(|other| other.name == contestant.name) {
            return Err(format!("--on names {} twice", contestant.name));
        }
        all.push(contestant);
    }
    for conf in what_if {
        let freestone =
            Contestant::new(format!("freestone {}", conf.text()), Way::Preload(library::find(own)?));
        all.push(Contestant { conf: conf.clone(), ..freestone });
    }
    if all.is_empty() {
        return Err("--on names no allocator".into());
    }
    Ok(all)
}

/// Names of those that are installed beside libc's.
pub fn installed() -> Vec<&'static str> {
    KNOWN.iter().filter(|(_, files)| in_folders(files).is_some()).map(|(name, _)| *name).collect()
}

fn find(name: &str, own: Option<&Path>, kit: bool) -> Result<Contestant, String> {
    if let Some(policy) = name.strip_prefix("kit:") {
        return match (kit, KIT.contains(&policy)) {
            (false, _) => {
                Err(format!("--on cannot have {name} here: the kit's allocators are for `freestone replay`"))
            }
            (true, true) => Ok(Contestant::new(name, Way::Kit(policy.into()))),
            (true, false) => {
                let hint = hint(policy, KIT);
                Err(format!("the kit has no '{policy}'.{hint} It has {}", KIT.join(", ")))
            }
        };
    }
    match name {
        "freestone" => return Ok(Contestant::new(name, Way::Preload(library::find(own)?))),
        "glibc" | "libc" | "system" => return Ok(Contestant::new("glibc", Way::None)),
        _ => {}
    }
    if name.contains('/') || name.contains(".so") {
        let path = Path::new(name);
        if !path.is_file() {
            return Err(format!("there is no library at {name}, which --on names"));
        }
        program::check_library(path)?;
        let path = path.canonicalize().map_err(|error| format!("cannot read {name}: {error}"))?;
        let short = path.file_name().map_or(name.into(), |file| file.to_string_lossy().into_owned());
        return Ok(Contestant::new(short, Way::Preload(path)));
    }
    let pattern = format!("lib{name}.so");
    let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, files)| in_folders(files));
    match known.unwrap_or_else(|| in_folders(&[&pattern])) {
        Some(path) => Ok(Contestant::new(name, Way::Preload(path))),
        None => {
            let hint =
                hint(name, ["freestone", "glibc"].into_iter().chain(KNOWN.iter().map(|(name, _)| *name)));
            let there = installed();
            let there = if there.is_empty() { "none".into() } else { there.join(", ") };
            Err(format!(
                "no library of '{name}' is installed.{hint} There are freestone, glibc, the path of any .so, and \
                 installed: {there}"
            ))
        }
    }
}

/// The first library whose name begins with one of these.
fn in_folders(beginnings: &[&str]) -> Option<PathBuf> {
    let own: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|path: OsString| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let folders = own.into_iter().chain(FOLDERS.map(PathBuf::from));
    for folder in folders {
        for beginning in beginnings {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
            let mut found: Vec<PathBuf> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| name(path).is_some_and(|name| name.starts_with(beginning)) && path.is_file())
                .filter(|path| program::check_library(path).is_ok())
                .collect();
            // The newest version has the largest name.
            found.sort();
            if let Some(path) = found.pop() {
                return path.canonicalize().ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_and_mistakes_told() {
        let chosen = |list: &str| choose(Some(list), &[], None, true, &[]);
        let found = chosen("glibc, kit:best-fit").unwrap();
        assert_eq!(found[0], Contestant::new("glibc", Way::None));
        assert_eq!(found[1].way, Way::Kit("best-fit".into()));
        for (list, expected) in [
            ("kit:bestfit", "Did you mean 'best-fit'?"),
            ("glibc,libc", "glibc twice"),
            ("/no/such.so", "no library at /no/such.so"),
            ("jemaloc", "Did you mean 'jemalloc'?"),
            (",", "names no allocator"),
        ] {
            let message = chosen(list).unwrap_err();
            assert!(message.contains(expected), "{list}: {message}");
        }
        let message = choose(Some("kit:slab"), &[], None, false, &[]).unwrap_err();
        assert!(message.contains("for `freestone replay`"), "{message}");
    }
}
