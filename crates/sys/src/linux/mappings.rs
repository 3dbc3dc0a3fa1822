//! The mappings of this process and what it has resident, as the kernel tells in `/proc/self`.

use super::read_file::ReadFile;

/// One mapping of this process. The figures are there only where [`Detail::Sizes`] was asked for; bytes unless said
/// otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapping {
    /// The first address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// May be read, written, executed; is shared.
    pub permissions: [bool; 4],
    /// Where in the file the mapping begins.
    pub offset: usize,
    /// What kind of thing is mapped.
    pub kind: MappingKind,
    /// Resident.
    pub resident: usize,
    /// Resident, and read or written since [`forget_references`](super::referenced::forget_references).
    pub referenced: usize,
    /// Resident, but given up: the kernel may take it.
    pub lazily_freed: usize,
}

/// What to tell of mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Where they are and what: `/proc/self/maps`, microseconds.
    Ranges,
    /// Their figures, too: `/proc/self/smaps`, about 25 ms for each GiB that is resident in small pages.
    Sizes,
}

/// What kind of thing is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MappingKind {
    /// No file and no name, or a name that the program gave.
    #[default]
    Anonymous,
    /// The main thread's stack.
    Stack,
    /// The kernel's: `[vdso]` and the like.
    Kernel,
    /// A file.
    File,
    /// Memory made to be shared, under the name of a file that is on no disk.
    SharedMemory,
    /// Huge pages set aside, which the kernel does not count as resident.
    HugeFile,
}

/// How names begin that are on no disk.
const SHARED: [&[u8]; 5] = [b"/dev/shm/", b"/memfd:", b"/SYSV", b"/dev/zero", b"[anon_shmem"];

fn kind_of(name: &[u8]) -> MappingKind {
    let begins = |with: &[u8]| name.starts_with(with);
    if begins(b"[stack") {
        MappingKind::Stack
    } else if begins(b"[v") || begins(b"[uprobes") {
        MappingKind::Kernel
    } else if begins(b"/anon_hugepage") || begins(b"/dev/hugepages/") {
        MappingKind::HugeFile
    } else if SHARED.iter().any(|with| begins(with)) {
        MappingKind::SharedMemory
    } else if name.is_empty() || begins(b"[") {
        MappingKind::Anonymous
    } else {
        MappingKind::File
    }
}

/// A number in base 16, and what follows it.
fn hexadecimal(text: &[u8]) -> (usize, &[u8]) {
    let mut number = 0;
    for (index, &byte) in text.iter().enumerate() {
        match (byte as char).to_digit(16) {
            Some(digit) => number = number << 4 | digit as usize,
            None => return (number, &text[index..]),
        }
    }
    (number, &[])
}

/// The number in a line of the form `Key:   123 kB`, in bytes.
fn kilobytes(line: &[u8], key: &[u8]) -> Option<usize> {
    let rest = line.strip_prefix(key)?.trim_ascii_start();
    Some(decimal(rest) << 10)
}

fn decimal(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, &d| sum * 10 + (d - b'0') as usize)
}

/// `56000-57000 rw-p 00000000 00:00 0      NAME`
fn header(line: &[u8]) -> Option<Mapping> {
    let (start, rest) = hexadecimal(line);
    let (end, rest) = hexadecimal(rest.strip_prefix(b"-")?);
    let rest = rest.strip_prefix(b" ")?;
    let flags = rest.get(..4)?;
    // The name follows four more words.
    let name = rest.splitn(5, |&byte| byte == b' ').nth(4).unwrap_or_default().trim_ascii();
    Some(Mapping {
        start,
        end,
        offset: hexadecimal(rest.get(5..)?).0,
        permissions: [flags[0] == b'r', flags[1] == b'w', flags[2] == b'x', flags[3] == b's'],
        kind: kind_of(name),
        ..Mapping::default()
    })
}

/// Calls `visit` for each mapping of this process, in the order of addresses. False when the kernel does not tell.
pub fn mappings(buffer: &mut [u8], detail: Detail, mut visit: impl FnMut(&Mapping)) -> bool {
    let path = match detail {
        Detail::Ranges => c"/proc/self/maps",
        Detail::Sizes => c"/proc/self/smaps",
    };
    let Some(file) = ReadFile::open(path) else { return false };
    let mut current: Option<Mapping> = None;
    file.lines(buffer, |line| {
        // Figures begin with a capital letter, mappings with their address.
        if !line.first().is_some_and(u8::is_ascii_uppercase)
            && let Some(found) = header(line)
        {
            if let Some(done) = current.replace(found) {
                visit(&done);
            }
            return;
        }
        let Some(mapping) = &mut current else { return };
        if let Some(bytes) = kilobytes(line, b"Rss:") {
            mapping.resident = bytes;
        } else if let Some(bytes) = kilobytes(line, b"Referenced:") {
            mapping.referenced = bytes;
        } else if let Some(bytes) = kilobytes(line, b"LazyFree:") {
            mapping.lazily_freed = bytes;
        }
    });
    match current {
        Some(last) => visit(&last),
        None => return false,
    }
    true
}

/// Sums over all mappings, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Resident.
    pub resident: usize,
    /// Resident, but given up: the kernel may take it.
    pub lazily_freed: usize,
    /// Resident in huge pages.
    pub huge: usize,
    /// In swap.
    pub swapped: usize,
}

/// The kernel's sums over all mappings. O(page tables): about 25 ms for each GiB that is resident in small pages.
pub fn sums(buffer: &mut [u8]) -> Option<Sums> {
    let file = ReadFile::open(c"/proc/self/smaps_rollup")?;
    let mut sums = Sums::default();
    file.lines(buffer, |line| {
        for (key, sum) in [
            (&b"Rss:"[..], &mut sums.resident),
            (b"LazyFree:", &mut sums.lazily_freed),
            (b"AnonHugePages:", &mut sums.huge),
            (b"Swap:", &mut sums.swapped),
        ] {
            if let Some(bytes) = kilobytes(line, key) {
                *sum = bytes;
            }
        }
    });
    (sums.resident > 0).then_some(sums)
}

/// The resident bytes as the kernel counts them at hand, a few OS pages off for each CPU at most. O(1), microseconds.
pub fn resident_roughly() -> Option<usize> {
    let mut text = [0; 96];
    let len = ReadFile::open(c"/proc/self/statm")?.read(&mut text);
    let word = text[..len].split(|&byte| byte == b' ').nth(1)?;
    Some(decimal(word) * super::process::auxiliary_value(libc::AT_PAGESZ).max(4096))
}

/// The most that ever was resident in this process, in its children not, as the kernel counts it at hand.
pub fn resident_at_most() -> Option<usize> {
    let mut buffer = [0; 512];
    let mut most = None;
    ReadFile::open(c"/proc/self/status")?
        .lines(&mut buffer, |line| most = most.or(kilobytes(line, b"VmHWM:")));
    most
}

/// Threads of this process.
pub fn threads() -> Option<usize> {
    let mut buffer = [0; 512];
    let mut threads = None;
    ReadFile::open(c"/proc/self/status")?.lines(&mut buffer, |line| {
        if let Some(rest) = line.strip_prefix(b"Threads:") {
            threads = Some(decimal(rest.trim_ascii_start()));
        }
    });
    threads
}

/// One past the last address of the program or library whose file is mapped from its beginning at `start`, with the
/// variables that are zero at first; `None` when it is neither. `memory` is `/proc/self/mem`: a file may be shorter by now
/// than its mapping, and reading it directly would end the process.
pub fn image_end(memory: &ReadFile, start: usize) -> Option<usize> {
    const LOAD: u32 = 1;
    const HEADER: usize = size_of::<libc::Elf64_Ehdr>();
    const ENTRY: usize = size_of::<libc::Elf64_Phdr>();
    let mut header = [0; HEADER];
    if memory.read_at(start, &mut header) < HEADER || !header.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let word = |at: usize| usize::from_ne_bytes(header[at..at + 8].try_into().unwrap_or([0; 8]));
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]) as usize;
    let (table, count) = (word(32), half(56).min(64));
    let (mut low, mut high) = (usize::MAX, 0);
    for number in 0..count {
        let mut entry = [0; ENTRY];
        if memory.read_at(start.checked_add(table)? + number * ENTRY, &mut entry) < ENTRY {
            return None;
        }
        let word = |at: usize| usize::from_ne_bytes(entry[at..at + 8].try_into().unwrap_or([0; 8]));
        if u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]) == LOAD {
            let (address, length) = (word(16), word(40));
            low = low.min(address & !4095);
            high = high.max(address.checked_add(length)?);
        }
    }
    start.checked_add(high.checked_sub(low)?)
}

#[cfg(test)]
mod tests;
