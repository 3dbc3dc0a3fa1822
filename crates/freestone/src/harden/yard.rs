//! Yards: where blocks that were freed wait before a cache gets them.
//!
//! A yard has some words for each class. A block that is freed takes one of them and pushes out the block that was
//! there. Each cache has a yard of its own, exchanged with by a restartable sequence: its words have their turn one after the
//! other, but for the order in each group of eight, which a secret decides. So every block waits nearly as long as any, and
//! blocks that were freed one after the other are handed out near each other in time, too, as the processor's prefetching wants it.
//! Threads without a cache share a yard, where places are drawn by lot, by atomic exchange.
//!
//! # Safety
//!
//! Y1: the yards are mapped zeroed, once, a yard for each cache number, and never unmapped. A word that is not zero is a
//! freed block that nobody else has.
#![allow(unsafe_code)]

use core::ptr::{NonNull, null_mut};

use freestone_base::{CLASS_COUNT, ClassId, class_info};
use freestone_sys::System;

use super::random;
use super::settings::SETTINGS;
use crate::cache::cpu::{self, CpuAccess};
use crate::cache::rseq::{NO_YARD, YARD_HEAD, YARD_SHIFT};
use crate::start::{self, Mode};
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Places of each class.
const PLACES: usize = 64;
/// Words of each class: what counts the turns, then the places.
const WORDS: usize = HEAD + PLACES;
const HEAD: usize = YARD_HEAD / 8;
/// Bytes of each class.
pub(super) const BYTES: usize = WORDS * 8;
/// Words of a yard.
const YARD: usize = CLASS_COUNT * WORDS;

const _: () = assert!(YARD * 8 <= 1 << YARD_SHIFT);
const _: () = assert!(WORDS.is_multiple_of(HEAD) && PLACES <= HEAD * 8);

/// The yards of all caches; null before the start, where they were refused, and while the caches are stopped.
pub(crate) static YARDS: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// The same, whether the caches are stopped or not.
static REAL: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// The yard of threads that have no cache.
static SHARED: [AtomicUsize; YARD] = [const { AtomicUsize::new(0) }; YARD];

/// Maps the yards; without them, all threads share one.
pub(super) fn start(system: &impl System) {
    if start::mode() == Mode::Cpu
        && let Ok(at) = system.map(cpu::count() << YARD_SHIFT)
    {
        let yards: *mut u8 = core::ptr::with_exposed_provenance_mut(at);
        REAL.store(yards, Ordering::Relaxed);
        // Release: who finds the yards finds them mapped.
        YARDS.store(yards, Ordering::Release);
    }
}

/// Blocks of `class` that may wait in one yard, by the bytes that may: a power of two.
pub(super) fn places(class: ClassId, bytes: usize) -> usize {
    let most = class_info(class).block_at(bytes).clamp(1, PLACES);
    1 << most.ilog2()
}

/// Has a freed block wait, in one of so many places; returns the one that it pushed out, or 0. O(1).
#[inline]
pub(super) fn exchange(class: ClassId, block: usize, places: usize) -> usize {
    let old = if start::mode() == Mode::Cpu { exchange_here(class, block) } else { NO_YARD };
    if old == NO_YARD { exchange_shared(class, block, places) } else { old }
}

/// The same where caches belong to CPUs; [`NO_YARD`] where the thread has none.
#[inline(always)]
pub(super) fn exchange_here(class: ClassId, block: usize) -> usize {
    let part = SETTINGS.part(class);
    CpuAccess::exchange(part & !(HEAD * 8 - 1), part & (PLACES - 1), block)
}

/// What [`Settings::part`](super::settings::Settings::part) says of a class of which so many blocks wait: where its part of a yard
/// begins, in bytes, and in the bits below, which bits of a count tell a place.
pub(super) fn part(class: ClassId, places: usize) -> usize {
    (class.index() * BYTES) | (places - 1)
}

fn exchange_shared(class: ClassId, block: usize, places: usize) -> usize {
    let word = class.index() * WORDS + HEAD + random::below(places);
    // AcqRel: what was done to a block before it came here is done before it is handed out.
    SHARED[word].swap(block, Ordering::AcqRel)
}

/// Keeps all threads off the yards until [`open`]; takes effect with the restart of all sequences.
pub(crate) fn close() {
    YARDS.store(null_mut(), Ordering::SeqCst);
}

/// Ends what [`close`] began.
pub(crate) fn open() {
    YARDS.store(REAL.load(Ordering::Relaxed), Ordering::Release);
}

/// Takes all blocks out of the yards of caches, which are stopped: `take` gets each with its class.
pub(super) fn empty(mut take: impl FnMut(ClassId, usize)) {
    let Some(yards) = NonNull::new(REAL.load(Ordering::Relaxed)) else { return };
    for number in 0..cpu::count() {
        for class in ClassId::all() {
            take_words(class, words_of(yards, number, class), &mut take);
        }
    }
}

/// Tells the blocks of `class` that wait in all yards, some of which may leave meanwhile. O(caches).
pub(super) fn each_waiting(class: ClassId, mut tell: impl FnMut(usize)) {
    let mut of_words = |words: &[AtomicUsize]| {
        words.iter().map(|word| word.load(Ordering::Relaxed)).filter(|&block| block != 0).for_each(&mut tell);
    };
    of_words(&SHARED[class.index() * WORDS + HEAD..][..PLACES]);
    let Some(yards) = NonNull::new(REAL.load(Ordering::Relaxed)) else { return };
    (0..cpu::count()).for_each(|number| of_words(words_of(yards, number, class)));
}

/// Blocks of `class` that wait in all yards. O(caches).
pub(super) fn waiting(class: ClassId) -> usize {
    let mut count = 0;
    each_waiting(class, |_| count += 1);
    count
}

/// The places of a class in the yard of the cache of this number, which is below [`cpu::count`].
fn words_of(yards: NonNull<u8>, number: usize, class: ClassId) -> &'static [AtomicUsize] {
    let yard = yards.as_ptr().wrapping_add(number << YARD_SHIFT).cast::<AtomicUsize>();
    // SAFETY: Y1.
    unsafe { core::slice::from_raw_parts(yard.wrapping_add(class.index() * WORDS + HEAD), PLACES) }
}

/// Takes all blocks out of the shared yard.
pub(super) fn empty_shared(mut take: impl FnMut(ClassId, usize)) {
    for class in ClassId::all() {
        let words = &SHARED[class.index() * WORDS + HEAD..][..PLACES];
        take_words(class, words, &mut take);
    }
}

fn take_words(class: ClassId, words: &[AtomicUsize], take: &mut impl FnMut(ClassId, usize)) {
    for word in words.iter().filter(|word| word.load(Ordering::Relaxed) != 0) {
        let block = word.swap(0, Ordering::AcqRel);
        if block != 0 {
            take(class, block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::class_of;

    #[test]
    fn small_classes_have_many_places_and_large_ones_one() {
        let of = |size| places(class_of(size).unwrap(), 8 << 10);
        assert_eq!((of(16), of(128), of(200), of(1024), of(4000), of(100_000)), (64, 64, 32, 8, 2, 1));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_place_has_its_turn_once_in_each_round_and_groups_follow_each_other() {
        use crate::cache::rseq::place_in_turn;
        let secret = 0x9e37_79b9_7f4a_7c15;
        for mask in [7, 15, 63] {
            for round in 0..100 {
                let turns = round * (mask + 1)..(round + 1) * (mask + 1);
                let places: Vec<u64> = turns.map(|turn| place_in_turn(turn, mask, secret)).collect();
                assert!((0..=mask).all(|place| places.contains(&place)));
                assert!(
                    places
                        .chunks(8)
                        .enumerate()
                        .all(|(group, of)| of.iter().all(|at| *at as usize / 8 == group))
                );
            }
        }
        let orders: Vec<u64> = (0..64).map(|group| place_in_turn(group * 8, 7, secret)).collect();
        assert!((0..8).all(|first| orders.contains(&first)));
    }
}
