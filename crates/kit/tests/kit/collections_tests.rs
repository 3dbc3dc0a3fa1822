//! The collections of the ecosystem over the kit: a hash map, an ordered map, vectors, boxes, a table of texts, all at once
//! over each allocator, in the way of one who has never heard of the kit's own traits.
#![cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]

use crate::conformance::Parent;
use allocator_api2_02::alloc::Allocator as Allocator02;
use allocator_api2_04::alloc::Allocator as Allocator04;
use allocator_api2_04::{boxed::Box, vec::Vec};
use blart::TreeMap;
use freestone_kit::accounting::{Accounting, Slabs};
use freestone_kit::arena::Arena;
use freestone_kit::arenas::Arenas;
use freestone_kit::bins::Bins;
use freestone_kit::buddy::Buddy;
use freestone_kit::bump::Bump;
use freestone_kit::c::C;
use freestone_kit::debug::{Debug, DebugConfig};
use freestone_kit::fixed::{Fixed, Inline, SharedFixed};
use freestone_kit::free_list::FreeLists;
use freestone_kit::locked::Locked;
use freestone_kit::netty::{BufferPool, Config};
use freestone_kit::page::Page;
use freestone_kit::sbrk::{Sbrk, Within};
use freestone_kit::segregate::hybrid;
use freestone_kit::slab::SlabHeap;
use freestone_kit::smp::Smp;
use freestone_kit::stack_fallback::StackFallback;
use freestone_kit::testing::Testing;
use freestone_kit::textbook::{BestFit, FirstFit, Textbook};
use lite_strtab::StringTableBuilder;
use std::mem::MaybeUninit;

const COUNT: u32 = 300;

fn word(at: u32) -> String {
    format!("{:x}", u64::from(at).pow(5)).repeat(1 + at as usize % 3)
}

/// Fills each collection, takes a part out again, and looks at what is left.
fn live_in<A: Allocator02 + Allocator04 + Clone>(alloc: A) {
    let mut hashed = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), alloc.clone());
    let mut ordered = TreeMap::new_in(alloc.clone());
    let mut texts = StringTableBuilder::<u32, u32, false, A>::new_in(alloc.clone());
    let mut boxes: Vec<Box<[u32], A>, A> = Vec::new_in(alloc.clone());
    for at in 0..COUNT {
        let scattered = at.wrapping_mul(0x9e37_79b9);
        hashed.insert(scattered, at);
        ordered.insert(scattered.to_be_bytes(), at);
        texts.try_push(&word(at)).unwrap();
        let mut numbers = Vec::new_in(alloc.clone());
        numbers.extend(0..at % 40);
        boxes.push(numbers.into_boxed_slice());
    }
    for at in (0..COUNT).step_by(3) {
        let scattered = at.wrapping_mul(0x9e37_79b9);
        assert_eq!(
            (hashed.remove(&scattered), ordered.remove(&scattered.to_be_bytes())),
            (Some(at), Some(at))
        );
    }
    boxes.retain(|numbers| numbers.len() % 2 == 1);
    hashed.shrink_to_fit();
    boxes.shrink_to_fit();
    assert!(
        hashed.iter().all(|(key, at)| ordered.get(&key.to_be_bytes()) == Some(at))
            && hashed.len() == ordered.len()
    );
    assert!(ordered.iter().map(|(key, _)| *key).is_sorted() && ordered.len() == COUNT as usize * 2 / 3);
    assert!(boxes.iter().all(|numbers| numbers.iter().copied().eq(0..numbers.len() as u32)));
    let texts = texts.build();
    assert!(texts.iter().zip(0..).all(|(text, at)| text == word(at)) && texts.len() == COUNT as usize);
}

#[test]
fn over_the_system() {
    live_in(C);
    live_in(Page);
}

#[test]
fn over_regions() {
    live_in(&Bump::<_, 1>::new(C));
    live_in(&Arena::new(Parent::new()));
    let mut buffers = [(); 3].map(|()| std::vec![MaybeUninit::uninit(); 2 << 20]);
    let [first, second, third] = &mut buffers;
    live_in(&Fixed::new(first));
    live_in(&SharedFixed::new(second));
    live_in(&Sbrk::new(Within::new(third)));
    live_in(&*std::boxed::Box::new(Inline::<{ 256 << 10 }>::new()));
    live_in(&StackFallback::<1000, _>::new(Testing::new(C)));
    live_in(&Locked::new(Arena::new(C)));
}

#[test]
fn over_general_heaps() {
    live_in(&Testing::new(Bins::new(Parent::new())));
    live_in(&Testing::new(Textbook::<FirstFit, _>::new(Parent::new())));
    live_in(&Testing::new(Textbook::<BestFit, _>::new(Parent::new())));
    live_in(&Testing::new(Buddy::<_, 5, 20>::new(Parent::new())));
    live_in(&Testing::new(SlabHeap::new(Parent::new())));
    live_in(&Testing::new(FreeLists::new(Parent::new())));
    live_in(&Testing::new(Smp::new(Parent::new())));
    live_in(&Testing::new(Arenas::<_, 2>::from_fn(|_| Bins::new(Parent::new()))));
    live_in(&Testing::new(hybrid(Parent::new())));
    live_in(&Testing::new(Accounting::new(Slabs::new(Parent::new()))));
    live_in(&Testing::new(BufferPool::new(Config::CLASSIC, Parent::new())));
}

#[test]
fn over_the_debug_allocator() {
    let debug = Debug::with(Page, DebugConfig::new().trace_depth(0));
    live_in(&debug);
    assert_eq!((debug.check(), debug.finish()), (0, None));
}
