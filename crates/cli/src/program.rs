//! What a program file is, and why the library may not have been loaded into it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::os;

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// ELF that asks for a loader: the library can be preloaded.
    Dynamic,
    /// ELF that asks for none: nothing can be preloaded.
    Static,
    /// ELF for another processor or word size.
    Foreign,
    /// A script, with the interpreter that its first line names.
    Script(PathBuf),
    /// Something else, or not readable.
    Other,
}

/// The file that `execvp` would start for this command: the first executable of the name in `PATH`.
pub fn resolve(command: &OsStr) -> Option<PathBuf> {
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if command.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(command)).filter(|path| executable(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(command)).find(|path| executable(path))
}

/// Looks into a file.
pub fn kind(path: &Path) -> Kind {
    File::open(path).ok().and_then(|file| classify(&file)).unwrap_or(Kind::Other)
}

fn classify(file: &File) -> Option<Kind> {
    let mut head = [0u8; 256];
    let len = file.read_at(&mut head, 0).ok()?;
    let head = &head[..len];
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?;
        let interpreter = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
        return Some(Kind::Script(PathBuf::from(OsStr::from_bytes(interpreter))));
    }
    if !head.starts_with(b"\x7fELF") {
        return Some(Kind::Other);
    }
    // Byte 4: 64-bit words, byte 5: little-endian, bytes 18 and 19: the machine.
    if head.get(4) != Some(&2) || head.get(5) != Some(&1) || half(head, 18)? != MACHINE {
        return Some(Kind::Foreign);
    }
    let table = u64::from_le_bytes(head.get(32..40)?.try_into().ok()?);
    let (entry_len, entries) = (half(head, 54)?, half(head, 56)?);
    for entry in 0..u64::from(entries) {
        let mut kind = [0u8; 4];
        file.read_exact_at(&mut kind, table.checked_add(entry * u64::from(entry_len))?).ok()?;
        const INTERP: u32 = 3;
        if u32::from_le_bytes(kind) == INTERP {
            return Some(Kind::Dynamic);
        }
    }
    Some(Kind::Static)
}

/// ELF's number of the machine that this command runs on.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Whether the file can be preloaded: a shared object for this machine. The message says why not.
pub fn check_library(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("cannot read the library {shown}: {error}"))?;
    let mut head = [0u8; 20];
    file.read_exact_at(&mut head, 0).map_err(|_| format!("{shown} is not a shared library"))?;
    const SHARED: u16 = 3;
    if !head.starts_with(b"\x7fELF") || half(&head, 16) != Some(SHARED) {
        return Err(format!("{shown} is not a shared library"));
    }
    if head[4] != 2 || half(&head, 18) != Some(MACHINE) {
        return Err(format!("{shown} is a library for another machine"));
    }
    Ok(())
}

/// The most likely reason why the library wrote nothing for this program, as sentences.
pub fn why_not_loaded(path: Option<&Path>, end: os::End) -> String {
    let Some(path) = path else {
        return "The program's file cannot be found any more.".into();
    };
    if let Some(reason) = never_loads(path) {
        return reason;
    }
    let (file, _) = started(path);
    let shown = file.display();
    const SETID: u32 = 0o6000;
    let setid = file.metadata().is_ok_and(|meta| meta.mode() & SETID != 0);
    match end {
        _ if setid => format!(
            "{shown} runs with the rights of its owner (setuid or setgid): the loader then ignores \
             LD_PRELOAD unless the library lies in a system directory."
        ),
        _ if os::has_capabilities(&file) => format!(
            "{shown} has file capabilities: the loader then ignores LD_PRELOAD unless the library \
             lies in a system directory."
        ),
        os::End::Signal(signal) => format!(
            "The program was ended by {} before the library had written anything.",
            os::signal_name(signal)
        ),
        os::End::Exit(_) => "Either it never asked for memory, or it ended past the C library by a direct system call, or it \
             cleared its environment and started itself anew, or the loader refused the library (it then said so \
             above), or the library could not write to the temporary directory."
            .into(),
    }
}

/// Why no library can be loaded into this program, as a sentence; `None` where one can.
pub fn never_loads(path: &Path) -> Option<String> {
    let (file, kind) = started(path);
    let shown = file.display();
    match kind {
        Kind::Static => Some(format!(
            "{shown} is statically linked: it has no loader that could load a library into it, \
             and brings its own malloc."
        )),
        Kind::Foreign => Some(format!("{shown} was built for another machine than the library.")),
        _ => None,
    }
}

/// Allocators that programs have built in, by what they write when something is wrong: that is there in stripped programs, too.
const BUILT_IN: [(&[u8], &str); 2] = [(b"<jemalloc>: ", "jemalloc"), (b"mimalloc: error: ", "mimalloc")];

/// The allocator that a program seems to have built in, as one in Rust has its `#[global_allocator]`. What it asks of that, no preloaded
/// library serves.
pub fn built_in(path: &Path) -> Option<&'static str> {
    let contents = std::fs::read(started(path).0).ok()?;
    let has = |words: &[u8]| contents.windows(words.len()).any(|window| window == words);
    BUILT_IN.into_iter().find(|(words, _)| has(words)).map(|(_, name)| name)
}

/// The file that the system starts for this one, a script's interpreter, and what it is.
fn started(path: &Path) -> (PathBuf, Kind) {
    match kind(path) {
        Kind::Script(interpreter) => {
            let kind = kind(&interpreter);
            (interpreter, kind)
        }
        kind => (path.to_path_buf(), kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, contents: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("freestone-{}-{name}", std::process::id()));
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// An ELF header with the one program header given.
    fn elf(machine: u16, segment: u32) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes
    }

    #[test]
    fn program_files_are_told_apart() {
        let cases: [(&str, Vec<u8>, Kind); 6] = [
            ("dynamic", elf(MACHINE, 3), Kind::Dynamic),
            ("static", elf(MACHINE, 1), Kind::Static),
            ("foreign", elf(40, 3), Kind::Foreign),
            ("script", b"#! /bin/sh -e\n".to_vec(), Kind::Script("/bin/sh".into())),
            ("cut", b"\x7fELF\x02\x01".to_vec(), Kind::Other),
            ("text", b"hello".to_vec(), Kind::Other),
        ];
        for (name, contents, expected) in cases {
            let path = file(name, &contents);
            assert_eq!(kind(&path), expected, "{name}");
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(kind(Path::new("/nonexistent")), Kind::Other);
        assert_eq!(kind(&std::env::current_exe().unwrap()), Kind::Dynamic);
    }

    #[test]
    fn the_reason_fits_the_file() {
        let path = file("why-static", &elf(MACHINE, 1));
        assert!(why_not_loaded(Some(&path), os::End::Exit(0)).contains("statically linked"));
        std::fs::remove_file(&path).unwrap();
        let path = file("why-setuid", &elf(MACHINE, 3));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)).unwrap();
        assert!(why_not_loaded(Some(&path), os::End::Exit(0)).contains("setuid"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(why_not_loaded(Some(&path), os::End::Signal(15)).contains("SIGTERM"));
        assert!(why_not_loaded(Some(&path), os::End::Exit(0)).contains("never asked for memory"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_allocator_that_is_built_in_is_named() {
        let mut contents = elf(MACHINE, 3);
        let plain = file("plain", &contents);
        contents.extend(b"\0<jemalloc>: Error in munmap(): %s\n\0");
        let with = file("with-jemalloc", &contents);
        assert_eq!((built_in(&plain), built_in(&with)), (None, Some("jemalloc")));
        std::fs::remove_file(plain).unwrap();
        std::fs::remove_file(with).unwrap();
        assert_eq!(built_in(Path::new("/nonexistent")), None);
    }

    #[test]
    fn libraries_are_checked_before_the_loader_sees_them() {
        let text = file("no-library", b"this is surely not a library");
        assert!(check_library(&text).unwrap_err().contains("not a shared library"));
        std::fs::remove_file(&text).unwrap();
        let foreign = file("foreign-library", &elf(40, 1));
        assert!(check_library(&foreign).unwrap_err().contains("another machine"));
        std::fs::remove_file(&foreign).unwrap();
        assert!(check_library(Path::new("/nonexistent.so")).is_err());
    }

    #[test]
    fn commands_are_found_as_the_system_finds_them() {
        assert!(resolve(OsStr::new("sh")).is_some_and(|path| path.ends_with("sh")));
        assert_eq!(resolve(OsStr::new("/nonexistent/sh")), None);
        assert_eq!(resolve(OsStr::new("no-such-command-anywhere")), None);
    }
}
