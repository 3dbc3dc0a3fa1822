//! Operations on the calling CPU's cache, as restartable sequences (x86-64).
//!
//! Each sequence announces itself by storing the address of its descriptor in the thread's `rseq_cs` field,
//! then reads the number of its cache, works, and commits with one instruction that stores. When the kernel preempts, migrates
//! or signals the thread between announcement and commit, the thread resumes at the abort handler, which
//! starts anew. So between the first read and the commit nobody else can have used the same cache, and no
//! lock and no atomic instruction is needed. (P. Turner, A. Hunter, LPC 2013; the ABI in `linux/rseq.h`.)
//!
//! The base of the regions is read *inside* the sequence. Whoever swaps it and then makes the kernel abort
//! all running sequences (`membarrier`) knows that no sequence works on the old regions any more.
//!
//! # Safety
//!
//! - Q1: `HOT.rseq_cs` is the offset of a field of an rseq area that every thread has, and `index` that of a number in
//!   it, which is registered with the kernel or reads -1; region -1 is all zeros for ever.
//! - Q2: `HOT.regions` points at as many regions as there are cache numbers (the real ones or zeros).
//! - R2, R3 of `region.rs`. A commit keeps R2, because the header it is based on cannot have changed.
//! - A region of zeros is never written: pushes find it full, [`replace_header`] is told the region's address.
#![allow(unsafe_code)]

use core::arch::asm;
use core::mem::offset_of;

use freestone_base::ClassId;

use super::region::{self, HEADERS_OFFSET, Header, REGION_SHIFT, Region};
use crate::harden::settings::{SETTINGS, Settings};
use crate::harden::yard;
use crate::hot::{HOT, Hot};
use crate::sync::atomic::Ordering;

/// Whether this processor has them here.
pub(crate) const SUPPORTED: bool = true;
/// The signature before every abort handler, as glibc registers it on x86.
pub(crate) const SIGNATURE: u32 = 0x5305_3053;

/// The descriptor of a sequence, at label 22, and its abort handler, as lines of assembly: the sequence lies between the
/// labels 44 and 55 and begins anew at 33. The handler stands behind the signature, made an operand of `ud1` so that
/// disassemblers keep step.
///
/// Where the thread goes step by step (the trap flag is set), as under a debugger that watches a variable or records what is executed, each step is an interruption,
/// and the sequence would begin anew for ever. There it goes on at 45, behind the reading of the cache's number, with -1 in the register named, as a thread
/// without a cache: unannounced, but nothing is committed to the zeros. The room below the stack pointer may be in use.
#[macro_export]
#[doc(hidden)]
macro_rules! rseq_descriptor {
    ($number:literal) => {
        concat!(
            ".pushsection .data.rel.ro.freestone_rseq_cs, \"aw\", @progbits
            .p2align 5
            22:
            .long 0, 0
            .quad 44f, 55f - 44f, 66f
            .popsection
            .pushsection .text.freestone_rseq_abort, \"ax\", @progbits
            .byte 0x0f, 0xb9, 0x3d
            .long 0x53053053
            66:
            lea rsp, [rsp - 128]
            pushfq
            pop ",
            $number,
            "
            lea rsp, [rsp + 128]
            bt ",
            $number,
            ", 8
            jnc 33f
            mov ",
            $number,
            ", -1
            jmp 45f
            .popsection"
        )
    };
}

/// Wraps the body of a sequence: descriptor, abort handler, announcement. The labels: 33 restart, 44 start,
/// 45 the number is read, 55 end (just behind the committing store). `{t}` is a scratch register and then holds the region. What stands behind
/// `then` is done once that is committed, outside of the sequence; who commits nothing jumps past it, to 56.
macro_rules! sequence {
    ($index:expr; $($body:literal),*; then $($after:literal),*; $($operands:tt)*) => {
        asm!(
            $crate::rseq_descriptor!("{t}"),
            "33:",
            "lea {t}, [rip + 22b]",
            "mov qword ptr fs:[{cs}], {t}",
            "44:",
            "movsxd {t}, dword ptr fs:[{index}]",
            "45:",
            "shl {t}, {shift}",
            "add {t}, qword ptr [rip + {hot} + {regions}]",
            $($body,)*
            "55:",
            $($after,)*
            "56:",
            t = out(reg) _,
            cs = in(reg) HOT.rseq_cs.load(Ordering::Relaxed),
            shift = const REGION_SHIFT,
            hot = sym HOT,
            index = in(reg) $index,
            regions = const offset_of!(Hot, regions),
            headers = const HEADERS_OFFSET,
            $($operands)*
        )
    };
    ($index:expr; $($body:literal),*; $($operands:tt)*) => {
        sequence!($index; $($body),*; then; $($operands)*)
    };
}

/// The same number, which the compiler then has in one register for all that follows, and does not load anew each time where it is a constant.
#[inline(always)]
pub(crate) fn in_register(mut number: usize) -> usize {
    // SAFETY: there is no instruction in it.
    unsafe { asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// Whether a request may try the caches whose class stands at `entry` of the table for Rust's requests: a comparison in memory, which the
/// compiler makes two instructions of. O(1).
#[inline(always)]
pub(crate) fn is_open(entry: usize) -> bool {
    // SAFETY: reads a static word. What is read after it was stored before it (as `HOT` has it), and no processor of this kind
    // reads earlier what is read later.
    unsafe {
        asm!(
            "cmp {entry}, qword ptr [rip + {hot} + {entries}]",
            "jae {shut}",
            entry = in(reg) entry,
            hot = sym HOT,
            entries = const offset_of!(Hot, entries),
            shut = label { return false },
            options(nostack, readonly)
        );
    }
    true
}

/// Takes the topmost block of `class`; null when there is none. O(1).
///
/// # Safety
/// Q1 and Q2 hold: the allocator has started.
#[inline(always)]
pub(crate) unsafe fn pop(index: usize, class: usize) -> *mut u8 {
    let block: *mut u8;
    // SAFETY: Q1, Q2; the slot read lies in the region (R2), the commit keeps R2.
    unsafe {
        sequence!(index;
            "mov {current:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "mov {block}, qword ptr [{t} + {current}*8]",
            "test {block}, {block}",
            "jz 55f",
            "dec dword ptr [{t} + {class}*8 + {headers}]";
            class = in(reg) class,
            current = out(reg) _,
            block = out(reg) block,
            options(nostack)
        );
    }
    block
}

/// Takes the topmost block of the class that stands `at` bytes behind `WORDS_OFFSET` in the cache's region; null when there is none. O(1).
/// Has the processor fetch the block that the next call but one gets, as `fetch_ahead` of `front_c.rs` says.
///
/// # Safety
/// As [`pop`]; `at` lies in one of the region's tables of classes.
#[inline(always)]
pub(crate) unsafe fn pop_at(index: usize, at: usize) -> *mut u8 {
    let block: *mut u8;
    // SAFETY: Q1, Q2; the slot read lies in the region (R2), the commit keeps R2.
    unsafe {
        sequence!(index;
            "movzx {class:e}, byte ptr [{t} + {at} + {words}]",
            "mov {current:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "mov {block}, qword ptr [{t} + {current}*8]",
            "test {block}, {block}",
            "jz 56f",
            "dec dword ptr [{t} + {class}*8 + {headers}]";
            then "mov {current}, qword ptr [{t} + {current}*8 - 16]",
            "prefetcht0 byte ptr [{current}]";
            at = in(reg) at,
            words = const region::WORDS_OFFSET,
            class = out(reg) _,
            current = out(reg) _,
            block = out(reg) block,
            options(nostack)
        );
    }
    block
}

/// As [`pop`], with the block below the one taken, which the next call would take; zero where there is none. O(1).
///
/// # Safety
/// As [`pop`].
#[inline(always)]
pub(crate) unsafe fn pop_and_peek(index: usize, class: usize) -> (usize, usize) {
    let (block, next): (usize, usize);
    // SAFETY: Q1, Q2; the slots read lie in the region (R2): below a block at least the sentinel does. The commit keeps R2.
    unsafe {
        sequence!(index;
            "mov {next:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "mov {block}, qword ptr [{t} + {next}*8]",
            "test {block}, {block}",
            "jz 55f",
            "mov {next}, qword ptr [{t} + {next}*8 - 8]",
            "dec dword ptr [{t} + {class}*8 + {headers}]";
            class = in(reg) class,
            next = out(reg) next,
            block = out(reg) block,
            options(nostack)
        );
    }
    (block, next)
}

/// As [`pop_at`], with the block below the one taken, which the next call would take, zero where there is none, and the class.
/// O(1).
///
/// # Safety
/// As [`pop_at`].
#[inline(always)]
pub(crate) unsafe fn pop_and_peek_at(index: usize, at: usize) -> (usize, usize, ClassId) {
    let (block, next): (usize, usize);
    let class: usize;
    // SAFETY: as `pop_and_peek`.
    unsafe {
        sequence!(index;
            "movzx {class:e}, byte ptr [{t} + {at} + {words}]",
            "mov {next:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "mov {block}, qword ptr [{t} + {next}*8]",
            "test {block}, {block}",
            "jz 55f",
            "mov {next}, qword ptr [{t} + {next}*8 - 8]",
            "dec dword ptr [{t} + {class}*8 + {headers}]";
            at = in(reg) at,
            words = const region::WORDS_OFFSET,
            class = out(reg) class,
            next = out(reg) next,
            block = out(reg) block,
            options(nostack)
        );
    }
    (block, next, ClassId(class as u8))
}

/// Puts `block` on top of `class`; false when it is full. O(1).
///
/// # Safety
/// As [`pop`]; the caller gives up the block.
#[inline(always)]
pub(crate) unsafe fn push(index: usize, class: usize, block: usize) -> bool {
    // SAFETY: Q1, Q2; the slot written lies below `end` (R2), and only the commit makes it count.
    unsafe {
        sequence!(index;
            "mov {current:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "cmp {current:e}, dword ptr [{t} + {class}*8 + {headers} + 4]",
            "jae {full}",
            "mov qword ptr [{t} + {current}*8 + 8], {block}",
            "inc dword ptr [{t} + {class}*8 + {headers}]";
            class = in(reg) class,
            current = out(reg) _,
            block = in(reg) block,
            full = label { return false },
            options(nostack)
        );
    }
    true
}

/// Takes the topmost blocks, up to `out.len()`, in the order in which they lie, the topmost last; returns how many. O(n).
///
/// # Safety
/// As [`pop`].
pub(crate) unsafe fn pop_batch(index: usize, class: ClassId, out: &mut [usize]) -> usize {
    let taken: usize;
    // SAFETY: Q1, Q2; copies at most out.len() slots of the class into `out`; the commit keeps R2.
    unsafe {
        sequence!(index;
            "mov {current:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "mov {word:e}, {begins:e}", // the sentinel: the near array's, or the far one's
            "cmp {current:e}, {far}",
            "jb 76f",
            "shr {word:e}, 16",
            "76:",
            "movzx {word:e}, {word:x}",
            "mov {n}, {current}",
            "sub {n}, {word}",
            "ja 77f",
            "xor {n:e}, {n:e}", // empty, or without a header yet
            "jmp 55f",
            "77:",
            "cmp {n}, {most}",
            "cmova {n}, {most}",
            "sub {current}, {n}",
            "lea {from}, [{t} + {current}*8 + 8]",
            "xor {i:e}, {i:e}",
            "test {n:l}, 1",
            "jz 78f",
            "mov {word}, qword ptr [{from}]",
            "mov qword ptr [{out}], {word}",
            "inc {i:e}",
            "78:",
            "test {n:l}, 2",
            "jz 79f",
            "movups {two}, xmmword ptr [{from} + {i}*8]",
            "movups xmmword ptr [{out} + {i}*8], {two}",
            "add {i:e}, 2",
            "79:",
            "cmp {i}, {n}",
            "jae 81f",
            "movups {two}, xmmword ptr [{from} + {i}*8]",
            "movups {more}, xmmword ptr [{from} + {i}*8 + 16]",
            "movups xmmword ptr [{out} + {i}*8], {two}",
            "movups xmmword ptr [{out} + {i}*8 + 16], {more}",
            "add {i}, 4",
            "jmp 79b",
            "81:",
            "test {n}, {n}", // none was asked for
            "jz 55f",
            "mov dword ptr [{t} + {class}*8 + {headers}], {current:e}";
            class = in(reg) class.index(),
            begins = in(reg) region::begin(class),
            far = const region::FAR,
            current = out(reg) _,
            from = out(reg) _,
            word = out(reg) _,
            i = out(reg) _,
            two = out(xmm_reg) _,
            more = out(xmm_reg) _,
            n = out(reg) taken,
            most = in(reg) out.len(),
            out = in(reg) out.as_mut_ptr(),
            options(nostack)
        );
    }
    taken
}

/// Puts blocks, `blocks[0]` first; returns how many found room. O(n).
///
/// # Safety
/// As [`push`]; the caller gives up the blocks that found room.
pub(crate) unsafe fn push_batch(index: usize, class: ClassId, blocks: &[usize]) -> usize {
    let put: usize;
    // SAFETY: Q1, Q2; writes only slots up to `end` (R2), and only the commit makes them count.
    unsafe {
        sequence!(index;
            "mov {current:e}, dword ptr [{t} + {class}*8 + {headers}]",
            "mov {n:e}, dword ptr [{t} + {class}*8 + {headers} + 4]",
            "sub {n}, {current}",
            "cmp {n}, {most}",
            "cmova {n}, {most}",
            "test {n}, {n}",
            "jz 55f",
            "lea {to}, [{t} + {current}*8 + 8]",
            "add {current}, {n}",
            "xor {i:e}, {i:e}",
            "test {n:l}, 1",
            "jz 78f",
            "mov {word}, qword ptr [{blocks}]",
            "mov qword ptr [{to}], {word}",
            "inc {i:e}",
            "78:",
            "test {n:l}, 2",
            "jz 79f",
            "movups {two}, xmmword ptr [{blocks} + {i}*8]",
            "movups xmmword ptr [{to} + {i}*8], {two}",
            "add {i:e}, 2",
            "79:",
            "cmp {i}, {n}",
            "jae 81f",
            "movups {two}, xmmword ptr [{blocks} + {i}*8]",
            "movups {more}, xmmword ptr [{blocks} + {i}*8 + 16]",
            "movups xmmword ptr [{to} + {i}*8], {two}",
            "movups xmmword ptr [{to} + {i}*8 + 16], {more}",
            "add {i}, 4",
            "jmp 79b",
            "81:",
            "mov dword ptr [{t} + {class}*8 + {headers}], {current:e}";
            class = in(reg) class.index(),
            current = out(reg) _,
            to = out(reg) _,
            word = out(reg) _,
            i = out(reg) _,
            two = out(xmm_reg) _,
            more = out(xmm_reg) _,
            n = out(reg) put,
            most = in(reg) blocks.len(),
            blocks = in(reg) blocks.as_ptr(),
            options(nostack)
        );
    }
    put
}

/// Replaces the header of `class` if the calling CPU's region is `region` and the header still is `old`.
///
/// # Safety
/// As [`pop`]; `region` is a real one, not one of the zeros; `new` keeps R2.
pub(crate) unsafe fn replace_header(
    index: usize,
    region: Region,
    class: ClassId,
    old: Header,
    new: Header,
) -> bool {
    let replaced: u32;
    // SAFETY: Q1, Q2; commits only when both comparisons hold inside the sequence.
    unsafe {
        sequence!(index;
            "xor {done:e}, {done:e}",
            "cmp {t}, {region}",
            "jne 55f",
            "cmp qword ptr [{t} + {class}*8 + {headers}], {old}",
            "jne 55f",
            "inc {done:e}",
            "mov qword ptr [{t} + {class}*8 + {headers}], {new}";
            class = in(reg) class.index(),
            region = in(reg) region.base(),
            old = in(reg) old.0,
            new = in(reg) new.0,
            done = out(reg) replaced,
            options(nostack)
        );
    }
    replaced != 0
}

/// What [`exchange`] returns where there is nothing to exchange with; no block lies there.
pub(crate) const NO_YARD: usize = 1;
/// Base-two logarithm of the size of a yard.
pub(crate) const YARD_SHIFT: u32 = 17;

/// The place for the next block in a yard of `mask + 1` places, once so many blocks have come: places have their turn in groups of eight,
/// in an order of which `secret` decides; those of a group all have it before the next group's. `mask + 1` is a power of two.
///
/// What [`exchange`] does, for who wants to look at it.
#[cfg(test)]
pub(crate) fn place_in_turn(turn: u64, mask: u64, secret: u64) -> u64 {
    (turn ^ (turn >> 3).wrapping_mul(secret) >> 61) & mask
}

/// Bytes of a yard's memory for one class before its places; the first eight count the turns.
pub(crate) const YARD_HEAD: usize = 64;

/// Exchanges the word whose turn it is, of the class at byte `at` of the calling CPU's yard, for `block`; returns what was there, or
/// [`NO_YARD`] where the thread has no number or there are no yards. O(1).
///
/// # Safety
/// Q1 holds; `YARDS` is null or points at a yard for each cache number; at `at` begins a class's part of one, with `mask + 1` places.
#[inline(always)]
pub(crate) unsafe fn exchange(index: usize, at: usize, mask: usize, block: usize) -> usize {
    let old: usize;
    // SAFETY: Q1; the words lie in the yard of this number, and the block's store is the commit. A turn that is counted twice, because
    // the sequence began anew, skips a place.
    unsafe {
        asm!(
            crate::rseq_descriptor!("{t}"),
            "33:",
            "lea {t}, [rip + 22b]",
            "mov qword ptr fs:[{cs}], {t}",
            "44:",
            "movsxd {t}, dword ptr fs:[{index}]",
            "45:",
            "mov {old:e}, 1",
            "test {t}, {t}",
            "js 55f",
            "shl {t}, {shift}",
            "cmp qword ptr [rip + {yards}], 0",
            "je 55f",
            "add {t}, qword ptr [rip + {yards}]",
            "add {t}, {at}",
            "mov {old}, qword ptr [{t}]",
            "shr {old}, 3",
            "imul {old}, qword ptr [rip + {settings} + {turns}]",
            "shr {old}, 61",
            "xor {old}, qword ptr [{t}]",
            "and {old}, {mask}",
            "inc qword ptr [{t}]",
            "lea {t}, [{t} + {old}*8 + {head}]",
            "mov {old}, qword ptr [{t}]",
            "mov qword ptr [{t}], {block}",
            "55:",
            t = out(reg) _,
            old = out(reg) old,
            cs = in(reg) HOT.rseq_cs.load(Ordering::Relaxed),
            index = in(reg) index,
            yards = sym yard::YARDS,
            settings = sym SETTINGS,
            turns = const Settings::TURNS,
            shift = const YARD_SHIFT,
            head = const YARD_HEAD,
            at = in(reg) at,
            mask = in(reg) mask,
            block = in(reg) block,
            options(nostack)
        );
    }
    old
}

/// The number of the cache that the calling thread would use now; negative when it is not registered.
///
/// # Safety
/// Q1 holds.
pub(crate) unsafe fn cache_number(index: usize) -> i32 {
    let number: i32;
    // SAFETY: Q1, a read of the thread's own area.
    unsafe {
        asm!("mov {n:e}, dword ptr fs:[{index}]", n = out(reg) number,
             index = in(reg) index, options(nostack, readonly, preserves_flags));
    }
    number
}
