//! A slab's free bits: taking blocks out of it and putting them back, with every check.
//!
//! Requires of the caller: the lock of the slab's class (or heap) is held. Bit = 1 means the block is free.

use freestone_base::ClassInfo;

use crate::pageheap::SpanRef;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Why an address cannot be put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Misuse {
    /// Not the start of a block.
    NotABlock,
    /// The block is free already.
    AlreadyFree,
}

/// Takes up to `out.len()` blocks, those with the lowest addresses, the lowest last: so they are handed out in the order
/// in which they lie. Returns how many. O(blocks taken + words of the bitmap).
pub(crate) fn take(span: SpanRef, info: &ClassInfo, out: &mut [usize]) -> usize {
    let bitmap = span.bitmap();
    let (base, size) = (span.first_block(), info.size as usize);
    let taken = span.free_blocks().min(out.len());
    let mut left = taken;
    let mut index = span.hint();
    while left > 0 && index < bitmap.len() {
        let mut word = bitmap[index].load(Ordering::Relaxed);
        while word != 0 && left > 0 {
            // Blocks that lie side by side are taken together.
            let first = word.trailing_zeros();
            let run = (word >> first).trailing_ones().min(left as u32);
            let mut block = base + (index * 64 + first as usize) * size;
            for place in out[left - run as usize..left].iter_mut().rev() {
                *place = block;
                block += size;
            }
            left -= run as usize;
            word &= !((u64::MAX >> (64 - run)) << first);
        }
        bitmap[index].store(word, Ordering::Relaxed);
        if left > 0 {
            index += 1;
        }
    }
    debug_assert!(left == 0, "the slab counts more free blocks than it has bits");
    span.set_hint(index.min(bitmap.len() - 1));
    span.set_free_blocks(span.free_blocks() - taken);
    taken
}

/// Neighbours among which [`take_random`] chooses: 4, 8, 16 or 32. Few, so that what the program gets at one time lies in a few cache
/// lines one behind the other, as the processor's prefetching wants it.
const WINDOW: u32 = 4;

/// As [`take`], but in random order within each [`WINDOW`] of blocks that lie side by side: first what is free from a random
/// place of it on, round its end. `random` gives 32 random bits. O(blocks taken + words of the bitmap).
pub(crate) fn take_random(
    span: SpanRef,
    info: &ClassInfo,
    out: &mut [usize],
    random: impl Fn() -> u32,
) -> usize {
    let bitmap = span.bitmap();
    let (base, size) = (span.first_block(), info.size as usize);
    let taken = span.free_blocks().min(out.len());
    let mut left = taken;
    let mut index = span.hint();
    // Random bits that nobody has seen; the highest set bit only marks their end.
    let mut chance = 1;
    while left > 0 && index < bitmap.len() {
        let mut word = bitmap[index].load(Ordering::Relaxed);
        while word != 0 && left > 0 {
            let window = word.trailing_zeros() / WINDOW * WINDOW;
            if chance < WINDOW {
                chance = random() | 1 << 31;
            }
            let from = chance % WINDOW;
            chance /= WINDOW;
            // The window twice in a row, so that going on from any place leads round its end.
            let free = word >> window & ((1 << WINDOW) - 1);
            let round = (free | free << WINDOW) >> from;
            let place = window + (from + round.trailing_zeros()) % WINDOW;
            word &= !(1 << place);
            left -= 1;
            out[left] = base + (index * 64 + place as usize) * size;
        }
        bitmap[index].store(word, Ordering::Relaxed);
        if left > 0 {
            index += 1;
        }
    }
    span.set_hint(index.min(bitmap.len() - 1));
    span.set_free_blocks(span.free_blocks() - taken);
    taken
}

/// Puts the block at `addr` back. O(1).
pub(crate) fn put(span: SpanRef, info: &ClassInfo, addr: usize) -> Result<(), Misuse> {
    match put_run(span, info, &[addr]) {
        Ok(1) => Ok(()),
        Ok(_) => Err(Misuse::NotABlock),
        Err((misuse, _)) => Err(misuse),
    }
}

/// Puts those blocks back with which `addrs` begins that lie in the slab; returns how many, or the first misuse and its
/// address, after which the slab must not be used any more. O(blocks).
///
/// Neighbours that come back one after the other, upwards or downwards, have their bits set together.
#[inline(always)]
pub(crate) fn put_run(span: SpanRef, info: &ClassInfo, addrs: &[usize]) -> Result<usize, (Misuse, usize)> {
    let bitmap = span.bitmap();
    let (first_block, blocks) = (span.first_block(), span.blocks());
    let size = info.size as usize;
    let mut lowest = span.hint();
    let mut put = 0;
    while let Some(&addr) = addrs.get(put) {
        let offset = addr.wrapping_sub(first_block);
        if offset >= blocks * size {
            break;
        }
        let block = info.block_at(offset);
        if block * size != offset {
            return Err((Misuse::NotABlock, addr));
        }
        let step = addrs.get(put + 1).map_or(0, |next| next.wrapping_sub(addr));
        if step != size && step != size.wrapping_neg() {
            let (word, bit) = (&bitmap[block / 64], 1 << (block % 64));
            let bits = word.load(Ordering::Relaxed);
            if bits & bit != 0 {
                return Err((Misuse::AlreadyFree, addr));
            }
            word.store(bits | bit, Ordering::Relaxed);
            lowest = lowest.min(block / 64);
            put += 1;
            continue;
        }
        let most = if step == size { blocks - 1 - block } else { block };
        let more = neighbours(&addrs[put + 1..], addr, step, most);
        let from = if step == size { block } else { block - more };
        if let Some(again) = mark_free(bitmap, from, from + more) {
            return Err((Misuse::AlreadyFree, first_block + again * size));
        }
        lowest = lowest.min(from / 64);
        put += 1 + more;
    }
    span.set_free_blocks(span.free_blocks() + put);
    span.set_hint(lowest);
    Ok(put)
}

/// Sets the bits of the blocks `from` to `to`, both included; or returns one that is set already.
fn mark_free(bitmap: &[AtomicU64], from: usize, to: usize) -> Option<usize> {
    for (index, word) in bitmap.iter().enumerate().take(to / 64 + 1).skip(from / 64) {
        let low = from.saturating_sub(index * 64);
        let high = (to - index * 64).min(63);
        let mask = (u64::MAX << low) & (u64::MAX >> (63 - high));
        let bits = word.load(Ordering::Relaxed);
        if bits & mask != 0 {
            return Some(index * 64 + (bits & mask).trailing_zeros() as usize);
        }
        word.store(bits | mask, Ordering::Relaxed);
    }
    None
}

/// How many of `addrs`, at most `most`, follow `addr` at distances of `step`, one after the other.
#[inline]
fn neighbours(addrs: &[usize], addr: usize, step: usize, most: usize) -> usize {
    let mut next = addr.wrapping_add(step);
    for (count, &addr) in addrs.iter().take(most).enumerate() {
        if addr != next {
            return count;
        }
        next = next.wrapping_add(step);
    }
    addrs.len().min(most)
}

/// Whether `addr` is the start of a block of the slab that is marked free.
pub(crate) fn is_free(span: SpanRef, info: &ClassInfo, addr: usize) -> bool {
    match block_number(span, info, addr.wrapping_sub(span.first_block())) {
        Some(block) => span.bitmap()[block / 64].load(Ordering::Relaxed) >> (block % 64) & 1 != 0,
        None => false,
    }
}

fn block_number(span: SpanRef, info: &ClassInfo, offset: usize) -> Option<usize> {
    if offset >= span.pages().bytes() {
        return None;
    }
    let block = info.block_at(offset);
    (block * info.size as usize == offset && block < span.blocks()).then_some(block)
}

/// Checks the slab's counters against its bits.
pub(crate) fn verify(span: SpanRef) -> Result<(), &'static str> {
    let bitmap = span.bitmap();
    let mut free = 0;
    for (index, word) in bitmap.iter().enumerate() {
        let bits = word.load(Ordering::Relaxed);
        if bits != 0 && index < span.hint() {
            return Err("a slab has a free block below its hint");
        }
        free += bits.count_ones() as usize;
    }
    if free != span.free_blocks() {
        return Err("a slab's count of free blocks differs from its bits");
    }
    Ok(())
}
