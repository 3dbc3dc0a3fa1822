//! The other allocators: which there are, in which versions, and where their libraries and programs lie.
//!
//! Most are built from their crates in the workspace `peers/` (see its README), each form by itself: one that cannot be
//! built is *absent*, with the reason, and the others are there all the same. Some come from the system's packages.

mod lock;
mod system;
mod workshop;

use std::path::PathBuf;

pub use workshop::Workshop;

/// An allocator to measure against.
#[derive(Clone, Debug)]
pub struct Peer {
    /// How tables call it.
    pub name: &'static str,
    /// What is behind the name.
    pub about: &'static str,
    /// Its own version as far as it has one, and where that was read.
    pub version: String,
    /// What must stand in the environment of each program that it serves.
    pub environment: &'static [(&'static str, &'static str)],
    /// The library to preload, or why there is none.
    pub preload: Result<PathBuf, String>,
    /// The workloads' program whose global allocator it is, or why there is none.
    pub program: Result<PathBuf, String>,
}

/// Whether peers are built that are not there, or are out of date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// Cargo decides what there is to do.
    Needed,
    /// Only what an earlier build left is found.
    Never,
}

struct Entry {
    name: &'static str,
    about: &'static str,
    origin: Origin,
    environment: &'static [(&'static str, &'static str)],
}

enum Origin {
    /// The C library of this system.
    System,
    /// A library from a package of the system.
    Package { file: &'static str, package: &'static str },
    /// A library that comes with clang.
    Clang { file: &'static str },
    /// A folder of the workspace `peers/` with a library alone, and the crate that has the allocator in it.
    Library { folder: &'static str, source: &'static str },
    /// A folder of the workspace `peers/`; the crate that has the allocator in it; a package that can stand in for the
    /// library.
    Crate { folder: &'static str, source: &'static str, stand_in: Option<(&'static str, &'static str)> },
}

/// The C library registers each thread's restartable sequences for itself, and TCMalloc can have its caches per CPU
/// only if it does not.
const NO_RSEQ_IN_LIBC: &[(&str, &str)] = &[("GLIBC_TUNABLES", "glibc.pthread.rseq=0")];

const ALL: [Entry; 10] = [
    Entry { name: "glibc", about: "the C library's own", origin: Origin::System, environment: &[] },
    crate_entry("mimalloc3", "mimalloc 3, options as by default", "mimalloc3", "libmimalloc-sys"),
    Entry {
        name: "mimalloc2",
        about: "mimalloc 2, options as by default",
        origin: Origin::Crate {
            folder: "mimalloc2",
            source: "libmimalloc-sys",
            stand_in: Some(("libmimalloc.so.2", "libmimalloc2.0")),
        },
        environment: &[],
    },
    Entry {
        name: "jemalloc",
        about: "jemalloc, options as by default",
        origin: Origin::Crate {
            folder: "jemalloc",
            source: "tikv-jemalloc-sys",
            stand_in: Some(("libjemalloc.so.2", "libjemalloc2")),
        },
        environment: &[],
    },
    crate_entry("snmalloc", "snmalloc without its checks", "snmalloc", "snmalloc-sys"),
    crate_entry(
        "tcmalloc",
        "Google's TCMalloc, with caches per thread beside glibc",
        "tcmalloc",
        "libtcmalloc-sys",
    ),
    Entry {
        name: "tcmalloc-percpu",
        about: "Google's TCMalloc with caches per CPU, glibc being told to leave rseq alone",
        origin: Origin::Crate { folder: "tcmalloc", source: "libtcmalloc-sys", stand_in: None },
        environment: NO_RSEQ_IN_LIBC,
    },
    Entry {
        name: "gperftools",
        about: "gperftools' TCMalloc, from the system's package",
        origin: Origin::Package { file: "libtcmalloc_minimal.so.4", package: "libtcmalloc-minimal4" },
        environment: &[],
    },
    crate_entry("rpmalloc", "rpmalloc, options as by default", "rpmalloc", "rpmalloc-sys"),
    crate_entry("rusty-alloc", "rusty_alloc, in Rust", "rusty-alloc", "rusty_alloc"),
];

/// Those that are made for safety, and take part only where they are asked for.
const SECURE: [Entry; 5] = [
    library_entry(
        "hardened-malloc-light",
        "hardened_malloc, its light configuration",
        "hardened-malloc-light",
        "hardened-malloc-sys",
    ),
    library_entry(
        "hardened-malloc",
        "hardened_malloc, its default configuration",
        "hardened-malloc",
        "hardened-malloc-sys",
    ),
    Entry {
        name: "scudo",
        about: "LLVM's Scudo, options as by default",
        origin: Origin::Clang { file: "libclang_rt.scudo_standalone" },
        environment: &[],
    },
    library_entry(
        "mimalloc-secure",
        "mimalloc 3 built with MI_SECURE=4",
        "mimalloc-secure",
        "libmimalloc-sys",
    ),
    library_entry("snmalloc-checks", "snmalloc with all its checks", "snmalloc-checks", "snmalloc-sys"),
];

const fn library_entry(
    name: &'static str,
    about: &'static str,
    folder: &'static str,
    source: &'static str,
) -> Entry {
    Entry { name, about, origin: Origin::Library { folder, source }, environment: &[] }
}

const fn crate_entry(
    name: &'static str,
    about: &'static str,
    folder: &'static str,
    source: &'static str,
) -> Entry {
    Entry { name, about, origin: Origin::Crate { folder, source, stand_in: None }, environment: &[] }
}

/// The names of all peers that take part unless told otherwise, in the order of the tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|entry| entry.name)
}

/// The names of the peers that are made for safety, in the order of the tables.
pub fn secure() -> impl Iterator<Item = &'static str> {
    SECURE.iter().map(|entry| entry.name)
}

/// The peer `name` in both forms; none if nobody is called so. `progress` hears which package is being built.
pub fn find(name: &str, workshop: &Workshop, build: Build, progress: &mut dyn FnMut(&str)) -> Option<Peer> {
    let entry = ALL.iter().chain(&SECURE).find(|entry| entry.name == name)?;
    let peer = Peer {
        name: entry.name,
        about: entry.about,
        version: String::new(),
        environment: entry.environment,
        preload: Err("not looked for".into()),
        program: Err("not looked for".into()),
    };
    Some(match entry.origin {
        Origin::System => Peer {
            version: system::libc_version(),
            preload: system::library("libc.so.6"),
            program: beside("bench-rust-system"),
            ..peer
        },
        Origin::Package { file, package } => Peer {
            version: system::package_version(package).unwrap_or_default(),
            preload: system::library(file).map_err(|reason| format!("{reason}: install {package}")),
            program: Err("there is no crate of it".into()),
            ..peer
        },
        Origin::Clang { file } => {
            let file = format!("{file}-{}.so", std::env::consts::ARCH);
            let preload = system::clang_runtime(&file);
            let version =
                preload.as_ref().map_or(String::new(), |(_, version)| format!("of clang {version}"));
            let program = Err("there is no crate of it".into());
            Peer { version, preload: preload.map(|(path, _)| path), program, ..peer }
        }
        Origin::Library { folder, source } => Peer {
            preload: workshop.preload(folder, build, progress),
            version: workshop.version(folder, source),
            program: Err("it is compared as a library alone".into()),
            ..peer
        },
        Origin::Crate { folder, source, stand_in } => {
            let preload = workshop.preload(folder, build, progress);
            let program = workshop.program(folder, build, progress);
            let version = workshop.version(folder, source);
            match (preload, stand_in) {
                (Err(reason), Some((file, package))) => match system::library(file) {
                    Ok(library) => {
                        let debian = system::package_version(package).unwrap_or_default();
                        let version =
                            format!("preloaded {debian}, for want of the crate's; in Rust {version}");
                        Peer { version, preload: Ok(library), program, ..peer }
                    }
                    Err(_) => Peer { version, preload: Err(reason), program, ..peer },
                },
                (preload, _) => Peer { version, preload, program, ..peer },
            }
        }
    })
}

/// A program of this package, in the folder of the one that runs.
fn beside(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // A test lies one folder deeper than the programs.
    let folders = own.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join(name));
    candidates
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not built: cargo build --release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        let mut all: Vec<_> = names().chain(secure()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ALL.len() + SECURE.len());
    }

    #[test]
    fn every_folder_is_a_package_of_the_workspace() {
        let workshop = Workshop::of_this_repository();
        for entry in ALL.iter().chain(&SECURE) {
            let (folder, source, program) = match entry.origin {
                Origin::Crate { folder, source, .. } => (folder, source, true),
                Origin::Library { folder, source } => (folder, source, false),
                _ => continue,
            };
            let at = workshop.workspace().join(folder);
            assert!(at.join("preload/Cargo.toml").is_file(), "{}", at.display());
            assert_eq!(at.join("rust/Cargo.toml").is_file(), program, "{}", at.display());
            assert!(workshop.version(folder, source).contains(source), "{source} is not locked");
        }
    }

    #[test]
    fn the_c_library_is_always_there() {
        let glibc =
            find("glibc", &Workshop::of_this_repository(), Build::Never, &mut |_| ()).expect("it is listed");
        assert!(glibc.version.starts_with("glibc "), "{}", glibc.version);
        assert!(glibc.preload.is_ok_and(|path| path.ends_with("libc.so.6")));
    }

    #[test]
    fn an_absent_peer_says_why() {
        let nowhere = Workshop::new("/nonexistent/peers".into(), "/nonexistent/target".into());
        let peer = find("snmalloc", &nowhere, Build::Never, &mut |_| ()).expect("it is listed");
        assert_eq!(peer.preload, Err("not built yet".to_owned()));
        assert_eq!(peer.program, Err("not built yet".to_owned()));
        let peer = find("snmalloc", &nowhere, Build::Needed, &mut |_| ()).expect("it is listed");
        assert!(peer.preload.is_err_and(|reason| reason.contains("Cargo.toml")));
        assert!(find("nobody", &nowhere, Build::Never, &mut |_| ()).is_none());
    }
}
