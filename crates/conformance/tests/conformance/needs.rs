//! What the shared library asks of the C library it is loaded with, read from its file.
//!
//! One build is to serve every glibc from 2.17 on: it asks for no versions, needs libc alone, and of libc only what 2.17 has there.

use std::fs;
use std::path::Path;

/// What glibc 2.17 has in libc itself, as far as the library cannot do without.
const OF_LIBC: [&str; 24] = [
    "__errno_location",
    "__register_atfork",
    "__sigaction",
    "abort",
    "bcmp",
    "clock_gettime",
    "environ",
    "fwrite",
    "getauxval",
    "getpid",
    "getrlimit",
    "madvise",
    "memmove",
    "memset",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "raise",
    "sbrk",
    "sched_yield",
    "strlen",
    "syscall",
    "sysinfo",
];

/// Fails where the library asks for more.
pub fn only_what_every_glibc_has(library: &Path) -> Result<(), String> {
    let file = fs::read(library).map_err(|error| error.to_string())?;
    let file = Elf(&file);
    let (symbols, names) = (file.section(SYMBOLS)?, file.section(DYNAMIC)?);
    let mut needed = Vec::new();
    for entry in file.entries(&names, 16) {
        match file.number(entry, 8) {
            NEEDED => needed.push(file.text(&names, file.number(entry + 8, 8))?),
            VERSIONS_NEEDED => return Err("asks for versions of symbols".into()),
            _ => {}
        }
    }
    if needed != ["libc.so.6"] {
        return Err(format!("needs {needed:?}"));
    }
    for entry in file.entries(&symbols, 24).skip(1) {
        let (binding, section) = (file.number(entry + 4, 1) >> 4, file.number(entry + 6, 2));
        let name = file.text(&symbols, file.number(entry, 4))?;
        // On x86-64 the oldest of its versions would be taken.
        let is_there = OF_LIBC.contains(&name) || cfg!(not(target_arch = "x86_64")) && name == "memcpy";
        if section == UNDEFINED && binding != WEAK && !is_there {
            return Err(format!("cannot do without {name}"));
        }
    }
    Ok(())
}

/// Types of sections, tags of dynamic entries, bindings and places of symbols, as in `elf.h`.
const SYMBOLS: usize = 11;
const DYNAMIC: usize = 6;
const NEEDED: usize = 1;
const VERSIONS_NEEDED: usize = 0x6fff_fffe;
const WEAK: usize = 2;
const UNDEFINED: usize = 0;

/// An ELF file of 64 bits, little-endian.
struct Elf<'a>(&'a [u8]);

struct Section {
    at: usize,
    size: usize,
    /// Where the table of its names begins.
    names: usize,
}

impl<'a> Elf<'a> {
    fn number(&self, at: usize, bytes: usize) -> usize {
        self.0[at..at + bytes].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
    }

    fn text(&self, section: &Section, at: usize) -> Result<&'a str, String> {
        let from = &self.0[section.names + at..];
        let len = from.iter().position(|&byte| byte == 0).ok_or("a name without an end")?;
        std::str::from_utf8(&from[..len]).map_err(|error| error.to_string())
    }

    /// The first section of a type.
    fn section(&self, kind: usize) -> Result<Section, String> {
        let header = |index: usize| self.number(0x28, 8) + index * self.number(0x3a, 2);
        let index = (0..self.number(0x3c, 2)).find(|&index| self.number(header(index) + 4, 4) == kind);
        let header_of = header(index.ok_or(format!("no section of type {kind}"))?);
        let names = header(self.number(header_of + 0x28, 4));
        Ok(Section {
            at: self.number(header_of + 0x18, 8),
            size: self.number(header_of + 0x20, 8),
            names: self.number(names + 0x18, 8),
        })
    }

    /// Where the entries of a section are.
    fn entries(&self, section: &Section, size: usize) -> impl Iterator<Item = usize> + use<> {
        (section.at..section.at + section.size).step_by(size)
    }
}
