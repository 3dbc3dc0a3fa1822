//! A slab's free bits: taking blocks out of it and putting them back, with every check.
//!
//! Requires of the caller: the lock of the slab's class (or heap) is held. Bit = 1 means the block is free.

use freestone_base::ClassInfo;
use freestone_base::size_class::MAX_BLOCKS;

use super::gather::gather;
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
        let first_block = base + index * 64 * size;
        let first = word.trailing_zeros() % 64;
        let behind = word >> first;
        let run = behind.trailing_ones().min(left as u32);
        if run as usize == left || behind & behind.wrapping_add(1) == 0 {
            // Blocks that lie side by side are taken together.
            let mut block = first_block + first as usize * size;
            for place in out[left - run as usize..left].iter_mut().rev() {
                *place = block;
                block += size;
            }
            left -= run as usize;
            word &= !(u64::MAX.checked_shr(64 - run).unwrap_or(0) << first);
        } else {
            // No branch depends on where they lie.
            let count = (word.count_ones() as usize).min(left);
            for place in out[left - count..left].iter_mut().rev() {
                *place = first_block + word.trailing_zeros() as usize * size;
                word &= word - 1;
            }
            left -= count;
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
    let Some((&addr, rest)) = addrs.split_first() else { return Ok(0) };
    // The first comparison is for those that come in no order: whatever it says, only the ones behind it count. Slabs of longer blocks are
    // longer than the window, and begin anywhere in one.
    let may_be_near = |next: usize| info.size > NEAR_SIZE || (next ^ addr) < NEAR;
    if rest.first().is_some_and(|&next| may_be_near(next)) && lie_inside(span, rest) {
        // Of a tree that is given up, the fourth block often lies where it would in a row, and the second does not.
        let (second, last) = (rest[0].wrapping_sub(addr), rest[MANY - 2].wrapping_sub(addr));
        let size = info.size as usize;
        let in_a_row =
            last == second.wrapping_mul(MANY - 1) && (second == size || second == size.wrapping_neg());
        return if in_a_row { put_row(span, info, addrs, second) } else { put_many(span, info, addrs) };
    }
    let block = number(span, info, addr).ok_or((Misuse::NotABlock, addr))?;
    let (index, bit) = (block / 64, block % 64);
    let word = &span.bitmap()[index];
    let bits = word.load(Ordering::Relaxed);
    if bits >> bit & 1 != 0 {
        return Err((Misuse::AlreadyFree, addr));
    }
    word.store(bits | 1 << bit, Ordering::Relaxed);
    span.lower_hint(index);
    span.set_free_blocks(span.free_blocks() + 1);
    Ok(1)
}

/// Of so many blocks, the first, the second and the last lie in one slab where it is taken to be worth while to put all that do back
/// together.
const MANY: usize = 8;
/// Most of the blocks of a slab lie in one window of so many bytes with their neighbours.
const NEAR: usize = 32 << 10;
/// Of blocks up to this size.
const NEAR_SIZE: u32 = 2048;

/// Whether that holds of the second and the last, which `rest` begins with.
#[inline(always)]
fn lie_inside(span: SpanRef, rest: &[usize]) -> bool {
    let inside = |addr: usize| addr.wrapping_sub(span.start()) < span.bytes();
    rest.len() >= MANY - 1 && inside(rest[0]) && inside(rest[MANY - 2])
}

/// As [`put_run`]: those that follow the first at distances of `step`, a block's size upwards or downwards.
#[inline(never)]
fn put_row(span: SpanRef, info: &ClassInfo, addrs: &[usize], step: usize) -> Result<usize, (Misuse, usize)> {
    let Some(&addr) = addrs.first() else { return Ok(0) };
    let block = number(span, info, addr).ok_or((Misuse::NotABlock, addr))?;
    let upwards = step == info.size as usize;
    let most = if upwards { span.blocks() - block } else { block + 1 };
    let put = row_length(&addrs[..most.min(addrs.len())], step);
    let (mut from, end) = if upwards { (block, block + put) } else { (block + 1 - put, block + 1) };
    while from < end {
        let (bit, count) = (from % 64, (end - from).min(64 - from % 64));
        set_free(span, info, from / 64, u64::MAX >> (64 - count) << bit)?;
        from += count;
    }
    span.set_free_blocks(span.free_blocks() + put);
    Ok(put)
}

/// How many of `addrs`, from the first on, lie at distances of `step`. O(blocks).
fn row_length(addrs: &[usize], step: usize) -> usize {
    const TOGETHER: usize = 8;
    let Some(&first) = addrs.first() else { return 0 };
    let mut next = first;
    let mut length = 0;
    // Eight at a time, without a branch for each.
    for addrs in addrs.as_chunks::<TOGETHER>().0 {
        let far = (0..TOGETHER).fold(0, |far, at| far | addrs[at] ^ next.wrapping_add(at.wrapping_mul(step)));
        if far != 0 {
            break;
        }
        next = next.wrapping_add(step.wrapping_mul(TOGETHER));
        length += TOGETHER;
    }
    let rest = addrs[length..].iter();
    length
        + rest.enumerate().take_while(|&(at, &addr)| addr == next.wrapping_add(at.wrapping_mul(step))).count()
}

/// As [`put_run`]: all that lie in the slab.
///
/// Each is marked in a byte of its own, and the marks become bits a word at a time. So nothing waits for what was stored a moment ago,
/// and no branch depends on where in the slab the next block lies, which no processor foresees.
fn put_many(span: SpanRef, info: &ClassInfo, addrs: &[usize]) -> Result<usize, (Misuse, usize)> {
    // Most batches that come in pieces are of slabs with few blocks: clearing marks for more costs as much as the rest.
    if span.blocks() <= FEW_BLOCKS {
        put_marked::<FEW_BLOCKS>(span, info, addrs)
    } else {
        put_marked::<MAX_BLOCKS>(span, info, addrs)
    }
}

/// Slabs of blocks of 32 bytes and more have no more.
const FEW_BLOCKS: usize = 512;

#[inline(never)]
fn put_marked<const N: usize>(
    span: SpanRef,
    info: &ClassInfo,
    addrs: &[usize],
) -> Result<usize, (Misuse, usize)> {
    let mut marks = Marks([0; N]);
    let (first_block, blocks) = (span.first_block(), span.blocks().min(N));
    let mut put = 0;
    let mut touched = 0_u64;
    for &addr in addrs {
        let (block, begins) = info.block_around(addr.wrapping_sub(first_block));
        // Who comes next says what is wrong with it.
        if block >= blocks || !begins {
            break;
        }
        marks.0[block] = u8::MAX;
        touched |= 1 << (block / 64);
        put += 1;
    }
    if put == 0 {
        return addrs.first().map_or(Ok(0), |&addr| Err((Misuse::NotABlock, addr)));
    }
    let mut marked = 0;
    while touched != 0 {
        let index = touched.trailing_zeros() as usize;
        touched &= touched - 1;
        let bits = gather(&marks.0.as_chunks::<64>().0[index]);
        marked += bits.count_ones() as usize;
        set_free(span, info, index, bits)?;
    }
    if marked != put {
        return Err((Misuse::AlreadyFree, twice(&addrs[..put])));
    }
    span.set_free_blocks(span.free_blocks() + put);
    Ok(put)
}

/// A byte for each block of a slab.
#[repr(align(64))]
struct Marks<const N: usize>([u8; N]);

/// An address that is among `addrs` twice. O(addresses²).
#[cold]
#[inline(never)]
fn twice(addrs: &[usize]) -> usize {
    let again = |&(at, addr): &(usize, &usize)| addrs[..at].contains(addr);
    addrs.iter().enumerate().find(again).map_or(0, |(_, &addr)| addr)
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
    span.lower_hint(index);
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
