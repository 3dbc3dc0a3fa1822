//! The call stack of the calling thread, as return addresses. Nothing is allocated, no lock is taken, no function of libc's
//! is called but one that is made for this (`_dl_find_object`): safe in the midst of the allocator and in signal handlers.
//!
//! ```text
//! a return address ─ rule known? ─┬ yes ──────────────────────────────────────────────► the caller's frame
//!                                 └ no: object of the address, its search table, FDE, ─┬ found: note the rule ─► …
//!                                       instructions up to the address (`dwarf.rs`)    └ not: by frame pointer
//! ```
//!
//! The unwind tables come first, since they are there and right in programs without frame pointers as in those with; code
//! without tables, as from a just-in-time compiler, is followed by its frame pointers. Whatever the tables or the pointers say,
//! a word of the stack is read only where the kernel says that it can be (`linux::is_readable`, once an OS page), and each frame must
//! lie above the last: a wrong rule ends the stack early, and cannot do more.
//!
//! # Safety
//!
//! - U1: a word is read only at a multiple of 8, at or above the stack pointer that the capture began with, on the page of that,
//!   on the first thread's stack, on a page that was found readable in the same capture, or on one of a thread's [`Own`] stack. Nobody
//!   unmaps a thread's stack under it.
//! - U2: the tables of a loaded object are mapped and stay so while a frame of the object is on the stack.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod dwarf;
pub(crate) mod library;
#[cfg(target_arch = "x86_64")]
mod object;
#[cfg(target_arch = "x86_64")]
mod rules;

use core::ffi::CStr;

use freestone_sys::linux::{self, fault::Access};

use crate::tls;

/// Most frames that are looked at: the innermost.
pub(crate) const MOST: usize = 128;
/// The smallest OS page: what is readable is asked for as often.
const PAGE: usize = 4096;
/// No frame is longer.
const LONGEST: usize = 16 << 20;

/// The words of a stack, read with care (U1).
pub(super) struct Words {
    lowest: usize,
    /// What lies below this is readable without asking.
    certain: usize,
    /// The page read last, or 1.
    page: usize,
}

/// So much of a thread's own stack is looked at page by page at most.
const LONGEST_OWN: usize = 1 << 20;

/// What is known of a thread's own stack, at whose top libc keeps the thread's data: from here up to the thread pointer each page was
/// found readable. Who captures often keeps it for the thread, and need not ask the kernel each time.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    /// 0: nothing yet; the highest address: the pages do not lie side by side.
    lowest: usize,
}

impl Own {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Own = Own { lowest: 0 };

    /// Whether `sp` lies on the stack that is known, which may become known here.
    fn reaches(&mut self, sp: usize, top: usize) -> bool {
        if sp > top || top - sp > LONGEST_OWN || self.lowest == usize::MAX {
            return false;
        }
        if self.lowest == 0 {
            self.lowest = top & !(PAGE - 1);
        }
        let page = sp & !(PAGE - 1);
        if page < self.lowest {
            let readable = (page..self.lowest).step_by(PAGE).all(linux::is_readable);
            self.lowest = if readable { page } else { usize::MAX };
        }
        self.lowest <= page
    }
}

/// Further below the first thread's first words than this, the kernel places other mappings.
const FIRST_STACK: usize = 64 << 20;

impl Words {
    fn above(lowest: usize) -> Words {
        Words { lowest, certain: lowest, page: 1 }
    }

    /// The words of the stack that is in use, and whose pointer this is.
    fn in_use(sp: usize) -> Words {
        let first = linux::first_stack();
        let certain = match first.checked_sub(sp) {
            // The kernel has the first thread's stack grow without a gap.
            Some(distance) if distance < FIRST_STACK => first,
            _ => (sp | (PAGE - 1)) + 1,
        };
        Words { certain, ..Words::above(sp) }
    }

    /// The word at `at`, if it is on the stack.
    pub(super) fn read(&mut self, at: usize) -> Option<usize> {
        if at < self.lowest || !at.is_multiple_of(8) || at > usize::MAX / 2 {
            return None;
        }
        let page = at & !(PAGE - 1);
        if at >= self.certain && page != self.page {
            if !linux::is_readable(at) {
                return None;
            }
            self.page = page;
        }
        let at = core::ptr::with_exposed_provenance::<usize>(at);
        // SAFETY: U1.
        Some(unsafe { at.read_volatile() })
    }
}

/// The registers that lead to the caller's frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) pc: usize,
    pub(super) sp: usize,
    pub(super) bp: usize,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no rules of unwinding there"))]
    pub(super) bx: usize,
}

impl Frame {
    /// The caller's frame by frame pointer: its own is saved where the pointer leads, the return address above it.
    fn by_pointer(self, words: &mut Words) -> Option<Frame> {
        if self.bp < self.sp || self.bp - self.sp > LONGEST {
            return None;
        }
        let (bp, pc) = (words.read(self.bp)?, words.read(self.bp + 8)?);
        Some(Frame { pc, sp: self.bp + 16, bp, ..self })
    }

    fn caller(self, words: &mut Words, is_return: bool) -> Option<Frame> {
        #[cfg(target_arch = "x86_64")]
        let next = match rules::of(self.pc - usize::from(is_return)) {
            Some(rule) => rule.apply(self, words)?,
            None => self.by_pointer(words)?,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let next = {
            let _ = is_return;
            self.by_pointer(words)?
        };
        (next.sp > self.sp && next.sp - self.sp <= LONGEST).then_some(next)
    }
}

/// Notes the return addresses of the callers, the innermost first, of which the first `skip` are left out; returns how many.
/// O(frames), and the first time an address is met, O(instructions of its rule + log of the object's functions).
#[inline(never)]
pub(crate) fn capture(skip: usize, out: &mut [usize]) -> usize {
    let frame = here();
    capture_from(frame, skip, Words::in_use(frame.sp), out)
}

/// The same for who captures often, on one thread.
#[inline(never)]
pub(crate) fn capture_own(skip: usize, out: &mut [usize], own: &mut Own) -> usize {
    let frame = here();
    let mut words = Words::in_use(frame.sp);
    let top = tls::thread_pointer();
    if words.certain <= (frame.sp | (PAGE - 1)) + 1 && own.reaches(frame.sp, top) {
        words.certain = top & !(PAGE - 1);
    }
    capture_from(frame, skip, words, out)
}

/// The same for the place of an access that was refused, which is noted first.
pub(crate) fn capture_access(access: &Access, out: &mut [usize]) -> usize {
    let Some((first, rest)) = out.split_first_mut() else { return 0 };
    *first = access.pc;
    let frame = Frame { pc: access.pc, sp: access.sp, bp: access.bp, bx: access.bx };
    1 + capture_from(frame, 0, Words::above(frame.sp), rest)
}

/// The object in which a return address lies: its name, empty for the program, and how far into it.
pub(crate) fn object_of(pc: usize) -> Option<(&'static CStr, usize)> {
    #[cfg(target_arch = "x86_64")]
    return object::name_of(pc);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = pc;
        None
    }
}

/// Whether all of `pcs` lie in the object in which `own` lies or in the program, where that is known.
pub(crate) fn is_one_object(own: usize, pcs: impl Iterator<Item = usize>) -> bool {
    #[cfg(target_arch = "x86_64")]
    return object::is_one_object(own, pcs);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (own, pcs);
        true
    }
}

fn capture_from(mut frame: Frame, skip: usize, mut words: Words, out: &mut [usize]) -> usize {
    let (mut found, mut seen) = (0, 0);
    while found < out.len() && seen < MOST + skip {
        let Some(caller) = frame.caller(&mut words, seen > 0) else { break };
        if caller.pc < PAGE {
            break;
        }
        if seen >= skip {
            out[found] = caller.pc;
            found += 1;
        }
        seen += 1;
        frame = caller;
    }
    found
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn here() -> Frame {
    let (pc, sp, bp, bx);
    // SAFETY: reads four registers.
    unsafe {
        core::arch::asm!(
            "lea {pc}, [rip]", "mov {sp}, rsp", "mov {bp}, rbp", "mov {bx}, rbx",
            pc = out(reg) pc, sp = out(reg) sp, bp = out(reg) bp, bx = out(reg) bx,
            options(nostack, nomem, preserves_flags)
        );
    }
    Frame { pc, sp, bp, bx }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn here() -> Frame {
    let (pc, sp, bp);
    // SAFETY: reads three registers.
    unsafe {
        core::arch::asm!(
            "adr {pc}, .", "mov {sp}, sp", "mov {bp}, x29",
            pc = out(reg) pc, sp = out(reg) sp, bp = out(reg) bp,
            options(nostack, nomem, preserves_flags)
        );
    }
    Frame { pc, sp, bp, bx: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn deep(n: usize, out: &mut [usize]) -> usize {
        if n == 0 {
            return core::hint::black_box(capture(0, out));
        }
        core::hint::black_box(deep(core::hint::black_box(n - 1), out))
    }

    #[test]
    fn a_stack_has_as_many_frames_as_there_were_calls() {
        let mut out = [0; MOST];
        let shallow = deep(0, &mut out);
        let frames = deep(20, &mut out);
        assert_eq!(frames, shallow + 20);
        // Calls of one place return to one place.
        assert_eq!(out[2], out[15]);
        assert_eq!(capture(0, &mut out[..3]), 3);
    }

    #[test]
    fn the_end_of_a_thread_is_its_first_frame() {
        let frames = std::thread::spawn(|| deep(3, &mut [0; MOST])).join().unwrap();
        assert!((5..60).contains(&frames), "{frames}");
    }

    #[test]
    fn a_thread_finds_the_same_whether_its_stack_is_known_or_not() {
        let thread = std::thread::spawn(|| {
            let mut own = Own::UNKNOWN;
            for _ in 0..3 {
                let (mut asked, mut known) = ([0; MOST], [0; MOST]);
                let frames = capture(0, &mut asked);
                assert_eq!(capture_own(0, &mut known, &mut own), frames);
                assert_eq!(asked[1..], known[1..]);
                assert!(own.lowest != 0 && own.lowest != usize::MAX);
            }
        });
        thread.join().unwrap();
        let mut own = Own::UNKNOWN;
        assert!(!own.reaches(PAGE, PAGE - 8) && !own.reaches(PAGE, PAGE + LONGEST_OWN + 8));
        assert!(!own.reaches(PAGE, 3 * PAGE) && own.lowest == usize::MAX);
    }

    #[test]
    fn what_cannot_be_read_ends_the_stack() {
        let mut words = Words::above(0);
        assert_eq!(words.read(8), None);
        assert_eq!(words.read(usize::MAX - 7), None);
        let here = [7usize; 2];
        let at = (&raw const here).expose_provenance();
        assert_eq!(Words::above(at).read(at), Some(7));
        assert_eq!(Words::above(at + 8).read(at), None);
        assert_eq!(Words::above(at).read(at + 1), None);
    }
}
