//! A slab's free bits: taking blocks out of it and putting them back, with every check.
//!
//! Requires of the caller: the lock of the slab's class (or heap) is held. Bit = 1 means the block is free.

use freestone_base::ClassInfo;

use crate::pageheap::SpanRef;
use crate::sync::atomic::Ordering;

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
    put_run(span, info, &[addr]).map(drop).map_err(|(misuse, _)| misuse)
}

/// Puts those blocks back with which `addrs` begins whose bits lie in one word of the slab's bitmap, the first at least; returns how many
/// and how many of the slab's are free then, or the first misuse and its address, after which the slab must not be used any more. O(blocks).
///
/// No further than a word, though more may lie in the slab: where blocks come in no order, whether they do is a branch that
/// no processor foresees, and costs more than looking for the slab once more. Neighbours, upwards or downwards, have their
/// bits set together; whether there are any is seen from the fourth, since two side by side come by chance.
#[inline(always)]
pub(crate) fn put_run(
    span: SpanRef,
    info: &ClassInfo,
    addrs: &[usize],
) -> Result<(usize, usize), (Misuse, usize)> {
    let (first_block, blocks, size) = (span.first_block(), span.blocks(), info.size as usize);
    // Only an address in the slab has an offset that is the product of a block's number.
    let number =
        |addr: usize| info.block_starting_at(addr.wrapping_sub(first_block)).filter(|&block| block < blocks);
    let free = span.free_blocks();
    let Some(&addr) = addrs.first() else { return Ok((0, free)) };
    let Some(block) = number(addr) else { return Err((Misuse::NotABlock, addr)) };
    let (index, bit) = (block / 64, block % 64);
    let word = &span.bitmap()[index];
    let mut bits = word.load(Ordering::Relaxed);
    if index < span.hint() {
        span.set_hint(index);
    }
    // Alone, as most are that come in no order.
    let is_near = |next: usize| next.wrapping_sub(addr).wrapping_add(64 * size) < 128 * size;
    if !addrs.get(1).is_some_and(|&next| is_near(next)) {
        if bits >> bit & 1 != 0 {
            return Err((Misuse::AlreadyFree, addr));
        }
        word.store(bits | 1 << bit, Ordering::Relaxed);
        span.set_free_blocks(free + 1);
        return Ok((1, free + 1));
    }
    let fourth = addrs.get(3).map_or(0, |fourth| fourth.wrapping_sub(addr));
    let upwards = fourth == 3 * size;
    let (mut mask, mut put) = (1 << bit, 1);
    if upwards || fourth == (3 * size).wrapping_neg() {
        let (step, most) =
            if upwards { (size, (63 - bit).min(blocks - 1 - block)) } else { (size.wrapping_neg(), bit) };
        let more = neighbours(addrs, step, most);
        mask = u64::MAX >> (63 - more) << if upwards { bit } else { bit - more };
        put += more;
    }
    loop {
        if bits & mask != 0 {
            let again = index * 64 + (bits & mask).trailing_zeros() as usize;
            return Err((Misuse::AlreadyFree, first_block + again * size));
        }
        bits |= mask;
        match addrs.get(put).and_then(|&addr| number(addr)) {
            Some(block) if block / 64 == index => mask = 1 << (block % 64),
            _ => break,
        }
        put += 1;
    }
    word.store(bits, Ordering::Relaxed);
    span.set_free_blocks(free + put);
    Ok((put, free + put))
}

/// How many of `addrs`, at most `most`, follow the first at distances of `step`, one after the other.
#[inline]
fn neighbours(addrs: &[usize], step: usize, most: usize) -> usize {
    let pairs = addrs.windows(2).take(most);
    pairs.take_while(|pair| pair[1].wrapping_sub(pair[0]) == step).count()
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
    info.block_starting_at(offset).filter(|&block| block < span.blocks())
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
