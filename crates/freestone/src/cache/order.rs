//! Puts the blocks of a cache in the order of their addresses, when it overflows and they lie scattered.
//!
//! A cache hands out first what came last. Who builds what belongs together, drops it as a whole and builds the next gets in reverse what he
//! gave back, then parts of that and of what was left before. After a while neighbours lie on pages of their own, and nothing
//! mends that, since hardly a block passes through its slab, whose bits would put it in order. So a cache that overflows is looked at, and sorted
//! if many of its blocks lie far from the one before. The lower half stays, to be handed out from the lowest address on; the upper one leaves, in
//! batches that lie together.
//!
//! Where blocks are freed in no order at all, sorting is in vain: the next time they lie as before. Then the class is left alone for a while.

use freestone_base::{ClassId, ClassInfo, class_info};
use freestone_sys::linux;

use super::Access;
use super::region::Region;
use crate::central::rooms::{Room, SORTING_SLOTS};
use crate::central::{self, Central, SlabSource};
use crate::sync::Lock;
use crate::sync::atomic::Ordering;

/// Blocks below which there is no order worth having.
const LEAST: usize = 64;
/// The most blocks of a class that a cache holds.
const MOST: usize = SORTING_SLOTS / 2 - 1;
/// The largest blocks of which several lie on a page.
const LARGEST: usize = 1024;

/// A page of most systems: blocks that are farther apart share none.
const FAR: usize = 4096;
/// What the second-level cache of any processor holds need hardly be in order: blocks that all lie within so many bytes stay as they are.
const WITHIN: usize = 256 << 10;
/// Pairs of neighbours in a sample.
const SAMPLES: usize = 32;
/// So many of them that lie far apart make a cache scattered.
const SCATTERED: usize = SAMPLES / 16;
/// After sorting, half of the blocks stay in order. If so many are far apart the next time, so are seven eighths of what came since.
const ALL_OVER: usize = SAMPLES * 7 / 16;

/// The room, where caches are sorted one at a time: it would be too much for a small stack.
static ROOM: Lock<Option<&'static mut [usize]>> = Lock::new(None);

/// What a region remembers of a class, in a byte: how many flushes came in a row, up to 15, in the low bits, and
/// [`SORTED`] or [`RESTS`] above them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Turns(u8);

const RUN: u8 = 0xf;
/// The class was sorted when it was looked at last.
const SORTED: u8 = 0x10;
/// The class is left alone for so many looks less one, in steps of [`SORTED`]; the last such value is twice that.
const RESTS: u8 = 0xf0;

impl Turns {
    /// One flush more; and whether the class shall be looked at: with the first, the second, the fourth and the eighth in a row. What a
    /// program frees at a stretch is thus sorted a few times, however much it is.
    fn flushed(self) -> (Turns, bool) {
        let (run, rest) = ((self.0 & RUN) + 1, self.0 & !RUN);
        let due = matches!(run, 1 | 2 | 4 | 8);
        let left = match rest {
            _ if !due || rest <= SORTED => rest,
            _ if rest == 2 * SORTED => 0,
            _ => rest - SORTED,
        };
        (Turns(left | run.min(RUN)), due && rest <= SORTED)
    }

    /// The class was looked at, and so many pairs lie far apart; whether it shall be sorted.
    fn looked(self, far: usize) -> (Turns, bool) {
        let run = self.0 & RUN;
        if far < SCATTERED {
            (Turns(run), false)
        } else if far >= ALL_OVER && self.0 & !RUN == SORTED {
            (Turns(run | RESTS), false)
        } else {
            (Turns(run | SORTED), true)
        }
    }

    fn of(region: Region, class: ClassId) -> Turns {
        Turns(region.state().turns[class.index()].load(Ordering::Relaxed))
    }

    fn note(self, region: Region, class: ClassId) {
        region.state().turns[class.index()].store(self.0, Ordering::Relaxed);
    }
}

/// A refill came: the flushes are no longer in a row.
#[inline]
pub(super) fn note_refill(region: Region, class: ClassId) {
    let turns = Turns::of(region, class);
    if turns.0 & RUN != 0 {
        Turns(turns.0 & !RUN).note(region, class);
    }
}

/// Flushes `block` and the upper half of the class's blocks, if they lie scattered; false when nothing was done. O(blocks in the cache), as
/// a rule O(1).
#[inline(never)]
pub(super) fn flush(
    access: impl Access,
    central: &Central,
    source: &impl SlabSource,
    class: ClassId,
    block: usize,
) -> bool {
    let (region, info) = (access.region(), class_info(class));
    let len = region.header(class).len(class);
    // In hardened mode the order is random on purpose.
    if len < LEAST || info.size as usize > LARGEST || access.is_foreign(class) || central::shuffles() {
        return false;
    }
    let (turns, due) = Turns::of(region, class).flushed();
    turns.note(region, class);
    if !due {
        return false;
    }
    let (turns, sorts) = turns.looked(far_apart(region, class, len));
    turns.note(region, class);
    sorts && flush_sorted(access, central, source, (class, info), block)
}

/// How many pairs of neighbours lie far apart, of [`SAMPLES`] among `len` blocks; none where all of the sample lies within a little. Another
/// thread may use the cache meanwhile, and what is read be of the past.
fn far_apart(region: Region, class: ClassId, len: usize) -> usize {
    let step = len / SAMPLES;
    let block = |at| region.peek(class, at);
    let (mut far, mut lowest, mut highest) = (0, usize::MAX, 0);
    for pair in 0..SAMPLES {
        let (one, next) = (block(pair * step), block(pair * step + 1));
        far += usize::from(one.abs_diff(next) > FAR);
        (lowest, highest) = (lowest.min(one), highest.max(one));
    }
    if highest.saturating_sub(lowest) < WITHIN { 0 } else { far }
}

#[cold]
#[inline(never)]
fn flush_sorted(
    access: impl Access,
    central: &Central,
    source: &impl SlabSource,
    (class, info): (ClassId, &ClassInfo),
    block: usize,
) -> bool {
    // Who finds it taken does without.
    let Some(mut room) = ROOM.try_lock() else { return false };
    // In the kernel's strict mode the call would end the program.
    if room.is_none() && !linux::control::is_strict() {
        *room = source.room(Room::Sorting);
    }
    let Some((blocks, copy)) = room.as_deref_mut().and_then(|room| room.split_at_mut_checked(MOST + 1))
    else {
        return false;
    };
    let count = access.pop_batch(class, &mut blocks[..MOST]);
    blocks[count] = block;
    let blocks = &mut blocks[..=count];
    sort_downwards(blocks, copy);
    let (upper, lower) = blocks.split_at(blocks.len().div_ceil(2));
    let put = access.push_batch(class, lower);
    central.give_back_batches(class, source, upper, info.batch as usize);
    if put < lower.len() {
        central.give_back(class, source, &lower[put..]);
    }
    true
}

/// Sorts by address, the highest first, to a 65,536th of the distance between the lowest and the highest. `copy` is no shorter. O(blocks).
fn sort_downwards(blocks: &mut [usize], copy: &mut [usize]) {
    let lowest = blocks.iter().copied().min().unwrap_or(0);
    let highest = blocks.iter().copied().max().unwrap_or(0);
    let shift = (usize::BITS - (highest - lowest).leading_zeros()).saturating_sub(16);
    let copy = &mut copy[..blocks.len()];
    spread(blocks, copy, |block| (highest - block) >> shift);
    spread(copy, blocks, |block| (highest - block) >> shift >> 8);
}

/// Copies `from` to `to`, which is as long, in the order of the low 8 bits of `key`; those of the same in the order in which they lie.
fn spread(from: &[usize], to: &mut [usize], key: impl Fn(usize) -> usize) {
    let mut places = [0_u16; 256];
    for &block in from {
        places[key(block) & 0xff] += 1;
    }
    let mut next = 0;
    for place in &mut places {
        next += core::mem::replace(place, next);
    }
    for &block in from {
        let place = &mut places[key(block) & 0xff];
        to[*place as usize] = block;
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_the_largest_cache() {
        assert!(ClassId::all().all(|class| super::super::capacity_limit(class) <= MOST));
    }

    #[test]
    fn sorts_downwards() {
        let mut next = 1_u64;
        let mut random = || {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (next >> 33) as usize
        };
        let mut copy = vec![0; MOST];
        for len in [0, 1, 2, 100, MOST] {
            // Within 1 MiB each place differs.
            let mut blocks: Vec<usize> = (0..len).map(|_| (1 << 40) + random() % (1 << 16) * 16).collect();
            let mut sorted = blocks.clone();
            sorted.sort_by_key(|&block| core::cmp::Reverse(block));
            sort_downwards(&mut blocks, &mut copy);
            assert_eq!(blocks, sorted);
            // Beyond that the places do, a 65,536th of the whole each.
            let mut blocks: Vec<usize> = (0..len).map(|_| random() << 12).collect();
            let mut sorted = blocks.clone();
            sort_downwards(&mut blocks, &mut copy);
            let near = (1_usize << 43) >> 15;
            assert!(blocks.windows(2).all(|pair| pair[1] < pair[0] + near));
            sorted.sort();
            blocks.sort();
            assert_eq!(blocks, sorted);
        }
    }

    #[test]
    fn looks_now_and_then_and_rests_where_it_is_in_vain() {
        let mut turns = Turns(0);
        let mut flush = |far: usize, after_refill: bool| {
            turns.0 &= if after_refill { !RUN } else { u8::MAX };
            let (next, due) = turns.flushed();
            let (next, sorts) = if due { next.looked(far) } else { (next, false) };
            turns = next;
            sorts
        };
        let in_a_row: Vec<bool> = (0..50).map(|n| flush(SCATTERED, n == 0)).collect();
        assert!(in_a_row.iter().enumerate().all(|(n, &sorts)| sorts == [0, 1, 3, 7].contains(&n)));
        assert!(!flush(SCATTERED - 1, true) && flush(SCATTERED, true));
        // In vain, since it lies all over again: then it is left alone, and tried again.
        assert!(!flush(ALL_OVER, true));
        let rests = (0..100).take_while(|_| !flush(ALL_OVER, true)).count();
        assert_eq!(rests, 14);
        assert!(flush(ALL_OVER - 1, true) && flush(ALL_OVER - 1, true) && !flush(ALL_OVER, true));
    }
}
