//! Marks and canaries: what is noted about a block, beside it and behind what was asked for.
//!
//! A mark says whether a block is live and how much *slack* it has: the bytes behind those that were asked for. In the
//! slack stands the canary. Both are told in `docs/design/hardened.md`.
//!
//! # Safety
//!
//! G1: whoever calls these functions has the block to himself, all of its `capacity` bytes, aligned to 16: it is being handed
//! out or given up. What misuse may have put there is only ever compared.
#![allow(unsafe_code)]

use core::hint::select_unpredictable;
use core::ptr::with_exposed_provenance_mut;

use super::two::{self, Two};
#[cfg(target_arch = "x86_64")]
use super::{settings::SETTINGS, wide};
use crate::sync::atomic::{AtomicU64, Ordering};
/// Blocks up to this size, in bytes, are looked at whole in any case.
pub(crate) use crate::tune::WHOLE;

/// The mark of a block that was never handed out.
pub(crate) const FRESH: u8 = 0;
/// The mark of a block that was freed.
pub(crate) const FREED: u8 = 1;
/// The mark of a live block without slack. Each byte of slack adds 1.
pub(super) const EXACT: u8 = 2;
/// The mark of a live block whose slack is longer than marks can say: its last word does.
const FAR: u8 = 255;
/// The longest slack that a mark says.
const MOST: usize = (FAR - 1 - EXACT) as usize;

/// Whether the mark is a live block's.
#[inline]
pub(crate) fn is_live(mark: u8) -> bool {
    mark >= EXACT
}

/// Blocks up to this size, in bytes, are cleared and looked at without a loop or a call.
pub(crate) const SHORT: usize = 256;
/// Blocks up to this size, in bytes, are cleared without a call of libc's memset where that can be done by whole lines.
#[cfg(target_arch = "x86_64")]
const BRIEF: usize = 1024 + 256;
/// Blocks from this size on, in bytes, would not stay in the second-level cache, and are cleared past it.
#[cfg(target_arch = "x86_64")]
const APART: usize = 2 << 20;
/// Bytes of a line of the processor's caches.
const LINE: usize = 64;
/// Of longer ones, a line is looked at in each so many bytes,
const STEP: usize = 512;
/// or in each so many of those that are longer than [`LONG`].
const FAR_STEP: usize = 4096;
const LONG: usize = 8 << 10;

/// What the canaries of one block are made of.
#[derive(Clone, Copy)]
pub(crate) struct Key(u64);

impl Key {
    /// What mixes an address and the secret.
    pub(super) const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    /// The highest bit of each byte.
    pub(super) const HIGHEST: u64 = 0x8080_8080_8080_8080;

    /// The key of the block at `addr`. Each byte has its highest bit set, as text and zeros have not.
    #[inline]
    pub(crate) fn new(secret: u64, addr: usize) -> Key {
        let mixed = (addr as u64 ^ secret).wrapping_mul(Key::FACTOR);
        Key((mixed ^ mixed >> 32) | Key::HIGHEST)
    }

    /// The eight bytes of the canary at `offset` of the block.
    #[inline]
    fn at(self, offset: usize) -> u64 {
        self.0.rotate_right((offset % 8 * 8) as u32)
    }
}

/// Reads the eight bytes at `offset` of the block. G1; the offset is at most `capacity - 8`.
#[inline]
fn read(block: usize, offset: usize) -> u64 {
    // SAFETY: G1.
    unsafe { with_exposed_provenance_mut::<u64>(block + offset).read_unaligned() }
}

#[inline]
fn write(block: usize, offset: usize, word: u64) {
    // SAFETY: G1.
    unsafe { with_exposed_provenance_mut::<u64>(block + offset).write_unaligned(word) }
}

/// Slack up to this many bytes is canary all through,
pub(super) const FULL: usize = 64;
/// and up to this many lies in the block's last sixteen bytes, and is written and compared as two words.
pub(super) const NEAR: usize = 16;

/// Which of the last sixteen bytes are slack: those from byte `slack` of this table on.
static SLACKS: [u8; 2 * NEAR] = {
    let mut slacks = [0; 2 * NEAR];
    let mut at = NEAR;
    while at < slacks.len() {
        slacks[at] = 0xff;
        at += 1;
    }
    slacks
};

/// The words of the mask of a slack of at most [`NEAR`].
#[inline(always)]
fn near(slack: usize) -> [u64; 2] {
    let mask = SLACKS.get(slack..).and_then(|rest| rest.first_chunk::<NEAR>()).unwrap_or(&[0; NEAR]);
    let [low, high] = [mask.first_chunk::<8>(), mask.last_chunk::<8>()];
    [low, high].map(|word| word.map_or(0, |word| u64::from_ne_bytes(*word)))
}

/// The word in which the slack begins, and what of it is slack.
#[inline]
fn begin(requested: usize) -> (usize, u64) {
    (requested & !7, u64::MAX << (requested % 8 * 8))
}

/// Writes the canary of a block of `capacity` bytes, a multiple of 16, that is handed out for `requested`; returns its mark.
/// What stands before the canary, in its first word or the last sixteen bytes, is `kept`, or becomes zero. O(1). Requires G1.
#[inline(always)]
pub(crate) fn set(block: usize, requested: usize, capacity: usize, key: Key, kept: bool) -> u8 {
    let slack = capacity - requested;
    if slack <= NEAR {
        let offset = capacity - NEAR;
        let before = if kept { [read(block, offset), read(block, offset + 8)] } else { [0; 2] };
        let [low, high] = near(slack);
        write(block, offset, before[0] & !low | key.0 & low);
        write(block, offset + 8, before[1] & !high | key.0 & high);
        return EXACT + slack as u8;
    }
    if slack <= FULL {
        let (first, mask) = begin(requested);
        let before = if kept { read(block, first) & !mask } else { 0 };
        write(block, first, before | key.0 & mask);
        (first + 8..capacity).step_by(8).for_each(|at| write(block, at, key.0));
        return EXACT + slack as u8;
    }
    write(block, requested, key.at(requested));
    if slack > MOST {
        write(block, capacity - 8, key.0 ^ slack as u64);
        return FAR;
    }
    write(block, capacity - 8, key.0);
    EXACT + slack as u8
}

/// The bytes that were asked for, of a live block; `None` where the note of them was overwritten. O(1). Requires G1.
#[inline]
pub(crate) fn requested(block: usize, mark: u8, capacity: usize, key: Key) -> Option<usize> {
    if mark != FAR {
        return Some(capacity - (mark - EXACT) as usize);
    }
    let slack = (read(block, capacity - 8) ^ key.0) as usize;
    (slack > MOST && slack <= capacity).then(|| capacity - slack)
}

/// Whether the canary of a live block is as it was written. O(1). Requires G1.
#[inline(always)]
pub(crate) fn is_whole(block: usize, requested: usize, capacity: usize, key: Key) -> bool {
    let slack = capacity - requested;
    if slack <= NEAR {
        let offset = capacity - NEAR;
        let [low, high] = near(slack);
        return (read(block, offset) ^ key.0) & low | (read(block, offset + 8) ^ key.0) & high == 0;
    }
    if slack <= FULL {
        let (first, mask) = begin(requested);
        let rest = (first + 8..capacity).step_by(8);
        return rest.fold((read(block, first) ^ key.0) & mask, |all, at| all | read(block, at) ^ key.0) == 0;
    }
    let mut damage = read(block, requested) ^ key.at(requested);
    if slack <= MOST {
        damage |= read(block, capacity - 8) ^ key.0;
    }
    damage == 0
}

/// Where parts of `len` bytes begin that cover a block of up to four times that: they overlap where they must. So few branches depend on
/// the size: where sizes come in no order, each would be foreseen wrongly half of the time.
#[inline(always)]
fn four_parts(block: usize, capacity: usize, len: usize) -> [usize; 4] {
    let last = capacity - len;
    let step = select_unpredictable(last < len, last, len);
    [block, block + step, block + last - step, block + last]
}

/// Has all of a block of up to [`SHORT`] bytes, a multiple of 16, read as zeros. O(1). Requires G1.
#[inline(always)]
pub(crate) fn clear_short(block: usize, capacity: usize) {
    // Calling libc's memset takes longer than these stores.
    let zeros = Two::zeros();
    let clear_line = |at: usize| {
        zeros.write(at);
        zeros.write(at + 16);
        zeros.write(at + 32);
        zeros.write(at + 48);
    };
    if capacity <= LINE {
        let [first, second, third, last] = four_parts(block, capacity, two::BYTES);
        zeros.write(first);
        zeros.write(second);
        zeros.write(third);
        zeros.write(last);
        return;
    }
    let second = if capacity <= 2 * LINE {
        block + capacity - LINE
    } else {
        let [_, second, third, last] = four_parts(block, capacity, LINE);
        clear_line(third);
        clear_line(last);
        second
    };
    clear_line(block);
    clear_line(second);
}

/// Takes the canary away, and what the program could write to from byte `from` on: all of it reads as zeros then.
/// O(bytes cleared). Requires G1.
#[inline]
pub(crate) fn clear(block: usize, from: usize, requested: usize, capacity: usize) {
    if capacity <= SHORT {
        // Volatile, or the loop would become a call of libc's memset, which takes longer.
        for offset in (from / 8 * 8..capacity).step_by(8) {
            let kept =
                if offset < from { read(block, offset) & ((1 << ((from - offset) * 8)) - 1) } else { 0 };
            let word = with_exposed_provenance_mut::<u64>(block + offset);
            // SAFETY: G1.
            unsafe { word.write_volatile(kept) };
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if capacity <= BRIEF && from == 0 && SETTINGS.wide() {
        // SAFETY: G1, V1; the block is longer than a line.
        return unsafe { wide::clear_lines(block, block + capacity - LINE) };
    }
    let slack = capacity - requested;
    let end = if slack <= FULL { capacity } else { requested + 8 };
    // SAFETY: G1.
    unsafe { with_exposed_provenance_mut::<u8>(block + from).write_bytes(0, end - from) };
    if slack > FULL {
        write(block, capacity - 8, 0);
    }
}

/// Has `len` bytes at `addr` read as zeros, both multiples of [`LINE`], of a block of `all` bytes. O(len). Requires G1 of the range.
pub(crate) fn scrub(addr: usize, len: usize, all: usize) {
    #[cfg(target_arch = "x86_64")]
    if all >= APART && SETTINGS.wide() {
        // SAFETY: G1, V1.
        return unsafe { wide::clear_apart(addr, len) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = all;
    // SAFETY: G1.
    unsafe { with_exposed_provenance_mut::<u8>(addr).write_bytes(0, len) };
}

/// Has the processor fetch what lies at `addr`, where that is memory; nothing else happens in any case.
#[inline(always)]
pub(crate) fn prefetch(addr: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::without_provenance(addr)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = addr;
}

/// Writes to the end of a block without changing it, so that its page is made for writing at once: were it read first,
/// that would cost a page fault more. O(1). Requires G1.
#[inline]
pub(crate) fn touch(block: usize, capacity: usize) {
    let last = with_exposed_provenance_mut::<AtomicU64>(block + capacity - 8);
    // SAFETY: G1: the last word of the block, aligned to 8. Who misuses the block at this moment shall change it.
    unsafe { &*last }.fetch_or(core::hint::black_box(0), Ordering::Relaxed);
}

/// [`LINE`] bytes at `at`, as two words that are zero if all are. Requires G1 of them.
#[inline(always)]
fn read_line(at: usize) -> Two {
    let two = |offset| Two::read(at + offset);
    two(0).or(two(16)).or(two(32).or(two(48)))
}

/// Whether a block of up to [`SHORT`] bytes, a multiple of 16, reads as zeros. O(1). Requires G1.
#[inline(always)]
pub(crate) fn is_short_zero(block: usize, capacity: usize) -> bool {
    let all = if capacity <= LINE {
        let [first, second, third, last] = four_parts(block, capacity, two::BYTES);
        Two::read(first).or(Two::read(second)).or(Two::read(third).or(Two::read(last)))
    } else if capacity <= 2 * LINE {
        read_line(block).or(read_line(block + capacity - LINE))
    } else {
        let [first, second, third, last] = four_parts(block, capacity, LINE);
        read_line(first).or(read_line(second)).or(read_line(third).or(read_line(last)))
    };
    all.is_zero()
}

/// Whether a longer block reads as zeros. O(capacity). Requires G1.
#[inline(always)]
fn is_long_zero(block: usize, capacity: usize) -> bool {
    let last = block + capacity - LINE;
    #[cfg(target_arch = "x86_64")]
    if SETTINGS.wide() {
        // SAFETY: G1, V1; the block is longer than a line.
        return unsafe { wide::is_zero_lines(block, last) };
    }
    let (mut all, mut at) = (read_line(last), block);
    // Without a branch on what is found, lines are looked at as fast as they come.
    while at < last {
        all = all.or(read_line(at));
        at += LINE;
    }
    all.is_zero()
}

/// Whether a block of `capacity` bytes, a multiple of 16, reads as zeros, as far as it is looked at: whole up to `whole` bytes, which
/// are [`WHOLE`] at least. Of a longer one, its beginning and its end, and of what lies between a line in each [`STEP`] bytes, or
/// [`FAR_STEP`], which `chance` picks. O(capacity). Requires G1.
#[inline]
pub(crate) fn is_zero(block: usize, capacity: usize, whole: usize, chance: impl FnOnce() -> u32) -> bool {
    if capacity <= SHORT {
        is_short_zero(block, capacity)
    } else if capacity <= whole {
        is_long_zero(block, capacity)
    } else {
        is_long_zero(block, WHOLE) && is_sample_zero(block, capacity, chance())
    }
}

/// Whether the last line of a block reads as zeros, and others, one drawn by lot in each step behind its beginning.
fn is_sample_zero(block: usize, capacity: usize, mut chance: u32) -> bool {
    let step = if capacity <= LONG { STEP } else { FAR_STEP };
    let last = block + capacity - LINE;
    let drawn = (WHOLE..capacity).step_by(step).map(|begin| {
        let lines = step / LINE;
        // Where the line begins that the processor has: of the block, for its beginning lies a step before it at least.
        let at = (block + begin + chance as usize % lines * LINE) & !(LINE - 1);
        chance = chance.rotate_right(lines.trailing_zeros());
        at.min(last)
    });
    #[cfg(target_arch = "x86_64")]
    if SETTINGS.wide() {
        // SAFETY: G1, V1: the lines lie in the block.
        let line = |at| unsafe { wide::line(at) };
        return drawn.fold(line(last), |all, at| all | line(at)) == 0;
    }
    drawn.fold(read_line(last), |all, at| all.or(read_line(at))).is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(capacity: usize) -> Vec<u64> {
        vec![0; capacity / 8]
    }

    fn clear_all(block: usize, requested: usize, capacity: usize) {
        if capacity <= SHORT {
            clear_short(block, capacity);
        } else {
            clear(block, 0, requested, capacity);
        }
    }

    fn is_zero_all(block: usize, capacity: usize) -> bool {
        is_zero(block, capacity, usize::MAX, || 0)
    }

    #[test]
    fn every_byte_behind_the_request_is_watched_near_it_and_at_the_end() {
        for capacity in [16, 32, 48, 64, 256, 512, 4096] {
            for requested in
                (0..capacity).filter(|size| *size < 40 || size + 40 > capacity || *size == capacity / 2)
            {
                let mut memory = block(capacity);
                let at = memory.as_mut_ptr().expose_provenance();
                let key = Key::new(0x1234_5678_9abc_def0, at);
                let mark = set(at, requested, capacity, key, false);
                assert!(is_live(mark) && is_whole(at, requested, capacity, key));
                assert_eq!(super::requested(at, mark, capacity, key), Some(requested));
                let slack = capacity - requested;
                let whole = if slack <= FULL { slack } else { 8 };
                let near = (0..whole).chain(slack.saturating_sub(8)..slack);
                for watched in near {
                    for value in [0, b'A', 0xff] {
                        // SAFETY: within the block.
                        let byte =
                            unsafe { &mut *with_exposed_provenance_mut::<u8>(at + requested + watched) };
                        let was = core::mem::replace(byte, value);
                        let found = super::requested(at, mark, capacity, key)
                            .is_none_or(|size| size != requested || !is_whole(at, size, capacity, key));
                        assert!(found || was == value, "{capacity} {requested} {watched} {value}");
                        *byte = was;
                    }
                }
                clear_all(at, requested, capacity);
                assert!(is_zero_all(at, capacity));
            }
        }
    }

    #[test]
    fn what_the_program_has_in_the_canarys_word_stays() {
        let mut memory = block(16);
        let at = memory.as_mut_ptr().expose_provenance();
        memory[1] = 0x0011_2233_4455_6677;
        set(at, 13, 16, Key::new(5, at), true);
        assert_eq!(memory[1] & 0xff_ffff_ffff, 0x33_4455_6677);
        assert!(memory[1] >> 40 & 0x80_8080 == 0x80_8080);
    }

    #[test]
    fn a_single_bit_anywhere_is_not_zero_and_is_cleared() {
        for words in (2..=40).step_by(2).chain([64, 514]) {
            let mut memory = block(8 * words);
            let at = memory.as_mut_ptr().expose_provenance();
            (0..words).for_each(|word| {
                memory[word] = 1 << (word % 64);
                assert!(!is_zero_all(at, 8 * words));
                memory[word] = 0;
            });
            assert!(is_zero_all(at, 8 * words));
            memory.fill(u64::MAX);
            clear_all(at, 8 * words, 8 * words);
            assert!(is_zero_all(at, 8 * words));
        }
    }

    #[test]
    fn of_a_long_block_both_ends_are_always_looked_at_and_each_other_line_as_often_as_is_said() {
        let draws: Vec<u32> =
            (1..=1024u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32).collect();
        for (capacity, step) in [(1024, STEP), (4096 + 48, STEP), (40 << 10, FAR_STEP)] {
            let mut memory = block(capacity);
            let at = memory.as_mut_ptr().expose_provenance();
            let found = || draws.iter().filter(|&&chance| !is_zero(at, capacity, WHOLE, || chance)).count();
            for word in (0..capacity / 8).step_by(13) {
                memory[word] = 1;
                let (times, expected) = (found(), draws.len() * LINE / step);
                if !(WHOLE / 8..(capacity - LINE) / 8).contains(&word) {
                    assert_eq!(times, draws.len(), "{capacity} {word}");
                } else {
                    assert!(times > expected / 2, "{capacity} {word}: {times} of {expected}");
                }
                memory[word] = 0;
            }
            // Whatever is drawn, a run of two steps has a whole one in it.
            for from in (WHOLE / 8..(capacity / 8).saturating_sub(2 * step / 8)).step_by(97) {
                let run = from..from + 2 * step / 8;
                memory[run.clone()].fill(1);
                assert_eq!(found(), draws.len(), "{capacity} {from}");
                memory[run].fill(0);
            }
        }
    }
}
