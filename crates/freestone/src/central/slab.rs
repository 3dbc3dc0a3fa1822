//! A slab's free bits: taking blocks out of it and putting them back, with every check.
//!
//! Requires of the caller: the lock of the slab's class (or heap) is held. Bit = 1 means the block is free.

use freestone_base::ClassInfo;
use freestone_base::size_class::MAX_BLOCKS;

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

/// Puts blocks back with which `addrs` begins and that lie in the slab, the first at least; returns how many, or the first misuse and
/// its address, after which the slab must not be used any more. O(blocks).
#[inline(always)]
pub(crate) fn put_run(span: SpanRef, info: &ClassInfo, addrs: &[usize]) -> Result<usize, (Misuse, usize)> {
    let Some(&addr) = addrs.first() else { return Ok(0) };
    let inside =
        |at: usize| addrs.get(at).is_some_and(|&other| other.wrapping_sub(span.start()) < span.bytes());
    if inside(1) && inside(MANY - 1) {
        let (fourth, size) = (addrs[3].wrapping_sub(addr), info.size as usize);
        return match fourth {
            _ if fourth == 3 * size => put_row(span, info, addrs, size),
            _ if fourth == (3 * size).wrapping_neg() => put_row(span, info, addrs, size.wrapping_neg()),
            _ => put_many(span, info, addrs),
        };
    }
    let block = number(span, info, addr).ok_or((Misuse::NotABlock, addr))?;
    set_free(span, info, block / 64, 1 << (block % 64))?;
    span.set_free_blocks(span.free_blocks() + 1);
    Ok(1)
}

/// Of so many blocks, the first, the second and the last lie in one slab where it is taken to be worth while to put all that do back
/// together.
const MANY: usize = 8;

/// As [`put_run`]: those that follow the first at distances of `step`, a block's size upwards or downwards.
#[inline(never)]
fn put_row(span: SpanRef, info: &ClassInfo, addrs: &[usize], step: usize) -> Result<usize, (Misuse, usize)> {
    let Some(&addr) = addrs.first() else { return Ok(0) };
    let block = number(span, info, addr).ok_or((Misuse::NotABlock, addr))?;
    let upwards = step == info.size as usize;
    let most = if upwards { span.blocks() - block } else { block + 1 };
    let pairs = addrs.windows(2).take(most - 1);
    let put = 1 + pairs.take_while(|pair| pair[1].wrapping_sub(pair[0]) == step).count();
    let (mut from, end) = if upwards { (block, block + put) } else { (block + 1 - put, block + 1) };
    while from < end {
        let (bit, count) = (from % 64, (end - from).min(64 - from % 64));
        set_free(span, info, from / 64, u64::MAX >> (64 - count) << bit)?;
        from += count;
    }
    span.set_free_blocks(span.free_blocks() + put);
    Ok(put)
}

/// As [`put_run`]: all that lie in the slab.
///
/// Each is marked in a byte of its own, and the marks become bits a word at a time. So nothing waits for what was stored a moment ago,
/// and no branch depends on where in the slab the next block lies, which no processor foresees.
#[inline(never)]
fn put_many(span: SpanRef, info: &ClassInfo, addrs: &[usize]) -> Result<usize, (Misuse, usize)> {
    let mut marks = [0; MAX_BLOCKS];
    let mut touched = 0_u64;
    let (first_block, blocks) = (span.first_block(), span.blocks().min(MAX_BLOCKS));
    let mut put = 0;
    while let Some(&addr) = addrs.get(put) {
        let (block, begins) = info.block_around(addr.wrapping_sub(first_block));
        if block >= blocks {
            break;
        }
        if !begins {
            return Err((Misuse::NotABlock, addr));
        }
        if marks[block] != 0 {
            return Err((Misuse::AlreadyFree, addr));
        }
        marks[block] = 1;
        touched |= 1 << (block / 64);
        put += 1;
    }
    if put == 0 {
        return addrs.first().map_or(Ok(0), |&addr| Err((Misuse::NotABlock, addr)));
    }
    while touched != 0 {
        let index = touched.trailing_zeros() as usize;
        touched &= touched - 1;
        let marks = marks[index * 64..][..64].as_chunks::<8>().0;
        let bits = (0..8).fold(0, |bits, at| bits | gather(u64::from_le_bytes(marks[at])) << (8 * at));
        set_free(span, info, index, bits)?;
    }
    span.set_free_blocks(span.free_blocks() + put);
    Ok(put)
}

/// The lowest bits of eight bytes of which all other bits are clear, side by side.
fn gather(bytes: u64) -> u64 {
    // Of the product, bit `56 + n` is that of byte `n`, moved by `56 - 7 * n`. No two bits of the sum meet, so nothing is carried.
    bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Marks blocks free whose bits in a word of the bitmap are set in `mask`. The count of free blocks stays.
#[inline(always)]
fn set_free(span: SpanRef, info: &ClassInfo, index: usize, mask: u64) -> Result<(), (Misuse, usize)> {
    let word = &span.bitmap()[index];
    let bits = word.load(Ordering::Relaxed);
    if bits & mask != 0 {
        let again = index * 64 + (bits & mask).trailing_zeros() as usize;
        return Err((Misuse::AlreadyFree, span.first_block() + again * info.size as usize));
    }
    word.store(bits | mask, Ordering::Relaxed);
    if index < span.hint() {
        span.set_hint(index);
    }
    Ok(())
}

/// The number of the block that begins at `addr`.
#[inline(always)]
fn number(span: SpanRef, info: &ClassInfo, addr: usize) -> Option<usize> {
    // Only an address in the slab has an offset that is the product of a block's number.
    let (block, begins) = info.block_around(addr.wrapping_sub(span.first_block()));
    if begins && block < span.blocks() { Some(block) } else { None }
}

/// Whether `addr` is the start of a block of the slab that is marked free.
pub(crate) fn is_free(span: SpanRef, info: &ClassInfo, addr: usize) -> bool {
    match number(span, info, addr) {
        Some(block) => span.bitmap()[block / 64].load(Ordering::Relaxed) >> (block % 64) & 1 != 0,
        None => false,
    }
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
