//! Under which allocator a program runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An allocator and its options.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How reports call it.
    pub name: String,
    /// The library to preload; `None` runs the program as it is.
    pub library: Option<PathBuf>,
    /// The value of `FREESTONE_CONF`.
    pub options: Option<&'static str>,
}

/// The two kinds of cache, each a setting under which every job must work.
const CACHE_MODES: [(&str, &str); 2] = [("cpu", "cache:cpu"), ("thread", "cache:thread")];

/// The modes that look for misuse: programs without a fault must not notice them.
const MODES: [(&str, &str); 2] = [("hardened", "harden:1"), ("debug", "debug:1,debug_leaks:0")];

impl Setting {
    /// The program as it is, with the allocator it came with.
    pub fn plain() -> Setting {
        Setting { name: "plain".into(), library: None, options: None }
    }

    /// `library` with no options.
    pub fn preload(name: &str, library: &Path) -> Setting {
        Setting { name: name.into(), library: Some(library.into()), options: None }
    }

    /// The settings in which `library` is to be tested: both cache modes if it is Freestone's, and
    /// just as it is if it is another allocator, which knows nothing of our options.
    pub fn of_library(library: &Path) -> Vec<Setting> {
        let file = library.file_name().unwrap_or_default().to_string_lossy();
        if !file.contains("freestone") {
            let name = file.trim_start_matches("lib").split('.').next().unwrap_or("preload");
            return vec![Setting::preload(name, library)];
        }
        of_options(library, &CACHE_MODES)
    }

    /// Freestone's `library` in the modes that look for misuse; none if it is another allocator's.
    pub fn of_modes(library: &Path) -> Vec<Setting> {
        match library.file_name().is_some_and(|file| file.to_string_lossy().contains("freestone")) {
            true => of_options(library, &MODES),
            false => Vec::new(),
        }
    }

    /// Makes `command` run under this setting.
    pub fn apply(&self, command: &mut Command) {
        command.env_remove("LD_PRELOAD").env_remove("FREESTONE_CONF");
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library);
        }
        if let Some(options) = self.options {
            command.env("FREESTONE_CONF", options);
        }
    }

    /// The preloaded library's file name, as it appears in `/proc/PID/maps`.
    pub fn library_name(&self) -> Option<OsString> {
        self.library.as_ref()?.file_name().map(OsString::from)
    }

    /// Checks that the process whose `maps` are given has the library loaded.
    pub fn check_maps(&self, maps: &str) -> Result<(), String> {
        let Some(library) = &self.library else { return Ok(()) };
        // The loader maps the file under the path it resolves to, links followed.
        let real = library.canonicalize().unwrap_or_else(|_| library.clone());
        let paths = [library.to_string_lossy(), real.to_string_lossy()];
        if maps.lines().any(|line| paths.iter().any(|path| line.ends_with(path.as_ref()))) {
            return Ok(());
        }
        Err(format!("{} is not mapped in the process", library.display()))
    }
}

fn of_options(library: &Path, all: &[(&str, &'static str)]) -> Vec<Setting> {
    let setting = |&(name, options): &(&str, &'static str)| Setting {
        options: Some(options),
        ..Setting::preload(name, library)
    };
    all.iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_library_is_tested_in_both_cache_modes_and_others_once() {
        let ours = Setting::of_library(Path::new("/a/libfreestone_malloc.so"));
        assert_eq!(ours.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["cpu", "thread"]);
        let other = Setting::of_library(Path::new("/a/libjemalloc.so.2"));
        assert_eq!(other.len(), 1);
        assert_eq!(other[0].name, "jemalloc");
    }

    #[test]
    fn maps_without_the_library_are_noticed() {
        let setting = Setting::preload("x", Path::new("/a/libx.so"));
        assert!(setting.check_maps("7f00-7f01 r-xp 0 0:0 1 /a/libx.so\n").is_ok());
        assert!(setting.check_maps("7f00-7f01 r-xp 0 0:0 1 /a/libc.so\n").is_err());
        assert!(Setting::plain().check_maps("").is_ok());
    }
}
