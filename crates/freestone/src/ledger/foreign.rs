//! What is not the allocator's: the kernel's list of mappings, each put in a line.

use core::ops::Range;

use freestone_base::ledger::Line;
use freestone_sys::linux::mappings::{self, Detail, Mapping, MappingKind};
use freestone_sys::linux::read_file::ReadFile;
use freestone_sys::linux::residency::Residency;

use super::own::Own;
use crate::instances::LEVELS;
use crate::pageheap::SpanState;

/// The longest guard below a stack that is taken for one.
const GUARD: usize = 1 << 20;
/// As much above a guard is taken for a stack at most: what glibc gives a thread by default, as a rule. Beyond that,
/// other mappings have grown together with it.
const STACK: usize = 8 << 20;

/// Adds what is not ours to the lines, and returns how much of the window is lazily freed, where sizes are told. `None`
/// when the kernel does not tell anything.
pub(super) fn add(
    residency: &mut Residency,
    own: &Own,
    lines: &mut [usize],
    text: &mut [u8],
    window: Range<usize>,
    detail: Detail,
) -> Option<usize> {
    let memory = ReadFile::open(c"/proc/self/mem");
    let mut walk = Walk { residency, own, lines, detail, previous: Mapping::default(), image_end: 0 };
    let mut lazily_freed = 0;
    let told = mappings::mappings(text, detail, |mapping| {
        if window.start <= mapping.start && mapping.end <= window.end && !is_hole(mapping.start) {
            lazily_freed += mapping.lazily_freed;
        } else {
            if mapping.kind == MappingKind::File && mapping.offset == 0 {
                let end = memory.as_ref().and_then(|memory| mappings::image_end(memory, mapping.start));
                walk.image_end = end.unwrap_or(0);
            }
            walk.mapping(mapping);
        }
        walk.previous = *mapping;
    });
    told.then_some(lazily_freed)
}

/// Whether an address of the window is somebody else's.
fn is_hole(addr: usize) -> bool {
    LEVELS.pages.page_map().span_of(addr).is_some_and(|span| span.state() == SpanState::Hole)
}

struct Walk<'a> {
    residency: &'a mut Residency,
    own: &'a Own,
    lines: &'a mut [usize],
    detail: Detail,
    previous: Mapping,
    /// Where the program or library ends whose first mapping was met last.
    image_end: usize,
}

impl Walk<'_> {
    fn mapping(&mut self, mapping: &Mapping) {
        let (bytes, resident) = self.own.part(self.residency, mapping.start, mapping.end);
        // Where all of a mapping is ours, nothing is taken from the kernel's figure for it: what the walk over our own
        // memory misses shall show as a difference, not as somebody else's.
        if bytes == mapping.end - mapping.start {
            return;
        }
        let all = match self.detail {
            Detail::Sizes => mapping.resident,
            Detail::Ranges if mapping.start > isize::MAX as usize => 0,
            Detail::Ranges => self.residency.bytes(mapping.start, mapping.end),
        };
        let mut left = all.saturating_sub(resident);
        let [_, write, execute, shared] = mapping.permissions;
        let line = match mapping.kind {
            MappingKind::Stack => Line::Stacks,
            MappingKind::Kernel => Line::Kernel,
            MappingKind::HugeFile => return,
            MappingKind::SharedMemory => Line::Shared,
            MappingKind::File if execute => Line::Code,
            MappingKind::File => Line::Files,
            MappingKind::Anonymous if shared => Line::Shared,
            MappingKind::Anonymous => Line::OtherAnonymous,
        };
        if line == Line::OtherAnonymous && write {
            // Neighbours that are alike are one mapping to the kernel: only its beginning says what it is.
            if mapping.start < self.image_end {
                left -= self.part(mapping, self.image_end, Line::Files, left);
            } else if mapping.start == self.previous.end && is_guard(&self.previous) {
                left -= self.part(mapping, mapping.start.saturating_add(STACK), Line::Stacks, left);
            }
        }
        self.lines[line.index()] += left;
    }

    /// Puts what is resident up to `end`, and not ours, in a line: `most` at most. Returns how much it was.
    fn part(&mut self, mapping: &Mapping, end: usize, line: Line, most: usize) -> usize {
        let end = end.min(mapping.end);
        let own = self.own.part(self.residency, mapping.start, end).1;
        let part = self.residency.bytes(mapping.start, end).saturating_sub(own).min(most);
        self.lines[line.index()] += part;
        part
    }
}

/// Whether a mapping looks like the guard below a thread's stack.
fn is_guard(mapping: &Mapping) -> bool {
    mapping.kind == MappingKind::Anonymous
        && mapping.permissions == [false; 4]
        && mapping.end - mapping.start <= GUARD
}
