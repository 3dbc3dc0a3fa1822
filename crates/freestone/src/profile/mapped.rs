//! The executable mappings of the process, each with the build id of its object: by these an address gets a name later, outside.

use core::fmt;
use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux::read_file::ReadFile;

use super::build_id;
use crate::stack::library;

/// Names of files are compared up to so many bytes.
const LONGEST_NAME: usize = 512;

/// An executable mapping; shown as `START-END OFFSET BUILDID NAME`.
pub(crate) struct Mapped<'a> {
    /// The first address, and one past the last.
    pub(crate) start: usize,
    pub(crate) end: usize,
    range: &'a str,
    offset: &'a str,
    id: &'a [u8],
    name: &'a str,
}

impl Mapped<'_> {
    /// `START-END` of a mapping with the allocator's code and nothing else, as it has where it is preloaded; else `None`.
    pub(crate) fn own(&self) -> Option<&str> {
        library::is_range(self.start..self.end).then_some(self.range)
    }
}

impl fmt::Display for Mapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.range, self.offset)?;
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "{} {}", if self.id.is_empty() { "-" } else { "" }, self.name)
    }
}

/// Calls `visit` with each executable mapping as the kernel has them. O(mappings).
pub(crate) fn each(mut visit: impl FnMut(&Mapped<'_>)) {
    const LINE: usize = 4096;
    let Some(file) = ReadFile::open(c"/proc/self/maps") else { return };
    let mut buffer = [0; LINE];
    let mut base = Base { at: 0, name: FixedText::new() };
    file.lines(&mut buffer, |line| {
        let mut id = [0; build_id::MOST];
        if let Some(mapped) = mapped(line, &mut base, &mut id) {
            visit(&mapped);
        }
    });
}

/// The beginning of the object whose mappings are being listed.
struct Base {
    at: usize,
    name: FixedText<LONGEST_NAME>,
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE      NAME`
fn mapped<'a>(line: &'a [u8], base: &mut Base, id: &'a mut [u8; build_id::MOST]) -> Option<Mapped<'a>> {
    let line = core::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (range, permissions, offset) = (words.next()?, words.next()?, words.next()?);
    let (_device, _inode) = (words.next()?, words.next()?);
    // The name may have spaces.
    let name = words.next().map_or("", |word| &line[word.as_ptr().addr() - line.as_ptr().addr()..]);
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    if offset.bytes().all(|digit| digit == b'0') && name.len() <= LONGEST_NAME && !name.is_empty() {
        base.name.clear();
        let _ = base.name.write_str(name);
        base.at = start;
    }
    if permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let known = base.at != 0 && base.name.as_bytes() == name.as_bytes();
    let len = if known { build_id::of(base.at, id) } else { 0 };
    Some(Mapped { start, end, range, offset, id: &id[..len], name })
}
