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

/// Takes up to `out.len()` blocks, lowest addresses first; returns how many.
/// O(blocks taken + words of the bitmap).
pub(crate) fn take(span: SpanRef, info: &ClassInfo, out: &mut [usize]) -> usize {
    let bitmap = span.bitmap();
    let base = span.first_block();
    let mut taken = 0;
    let mut index = span.hint();
    while index < bitmap.len() {
        let mut word = bitmap[index].load(Ordering::Relaxed);
        while word != 0 && taken < out.len() {
            let block = index * 64 + word.trailing_zeros() as usize;
            out[taken] = base + block * info.size as usize;
            taken += 1;
            word &= word - 1;
        }
        bitmap[index].store(word, Ordering::Relaxed);
        if taken == out.len() {
            break;
        }
        index += 1;
    }
    span.set_hint(index.min(bitmap.len() - 1));
    span.set_free_blocks(span.free_blocks() - taken);
    taken
}

/// Puts the block at `addr` back. O(1).
pub(crate) fn put(span: SpanRef, info: &ClassInfo, addr: usize) -> Result<(), Misuse> {
    let offset = addr.wrapping_sub(span.first_block());
    let block = block_number(span, info, offset).ok_or(Misuse::NotABlock)?;
    let word = &span.bitmap()[block / 64];
    let bits = word.load(Ordering::Relaxed);
    let bit = 1u64 << (block % 64);
    if bits & bit != 0 {
        return Err(Misuse::AlreadyFree);
    }
    word.store(bits | bit, Ordering::Relaxed);
    span.set_free_blocks(span.free_blocks() + 1);
    if block / 64 < span.hint() {
        span.set_hint(block / 64);
    }
    Ok(())
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
