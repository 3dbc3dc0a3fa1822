//! Ordinary collections on the allocator, on a first-class heap, in both versions of `allocator-api2`.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size.
#![cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]

use freestone::{Freestone, Heap};

#[global_allocator]
static GLOBAL: Freestone = Freestone;

fn fill<A: allocator_api2_02::alloc::Allocator + Copy>(allocator: A) {
    let mut map: hashbrown::HashMap<u64, u64, std::hash::RandomState, A> =
        hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), allocator);
    for n in 0..50_000 {
        map.insert(n, n * n);
    }
    assert!((0..50_000).all(|n| map.get(&n) == Some(&(n * n))));
    let mut vec = allocator_api2_02::vec::Vec::new_in(allocator);
    vec.extend(0..100_000u32);
    vec.truncate(10);
    vec.shrink_to_fit();
    assert_eq!(vec.iter().sum::<u32>(), 45);
}

fn fill_newer<A: allocator_api2_04::alloc::Allocator + Copy>(allocator: A) {
    let mut vec = allocator_api2_04::vec::Vec::new_in(allocator);
    vec.extend(0..100_000u32);
    vec.truncate(10);
    vec.shrink_to_fit();
    assert_eq!(vec.iter().sum::<u32>(), 45);
    let boxed = allocator_api2_04::boxed::Box::new_in([7u8; 5000], allocator);
    assert!(boxed.iter().all(|&byte| byte == 7));
}

#[test]
fn collections_work_on_the_allocator_and_on_heaps() {
    fill(Freestone);
    fill_newer(Freestone);
    let heap = Heap::new().expect("memory");
    fill(&heap);
    fill_newer(&heap);
    // What is leaked into a heap goes with it.
    let leaked =
        allocator_api2_02::boxed::Box::leak(allocator_api2_02::boxed::Box::new_in([1u64; 1000], &heap));
    assert_eq!(leaked.iter().sum::<u64>(), 1000);
    drop(heap);
    freestone::verify().unwrap();
}

#[test]
fn zero_sized_and_zeroed_growth() {
    use allocator_api2_02::alloc::{Allocator, Layout};
    let heap = Heap::new().expect("memory");
    fn check(allocator: impl Allocator) {
        let empty = Layout::from_size_align(0, 64).unwrap();
        let some = Layout::from_size_align(300, 64).unwrap();
        let block = allocator.allocate(empty).unwrap();
        let grown = grow(&allocator, block.cast(), empty, some);
        assert!(grown.iter().all(|&byte| byte == 0));
    }
    check(Freestone);
    check(&heap);
}

#[allow(unsafe_code)]
fn grow<'a>(
    allocator: &impl allocator_api2_02::alloc::Allocator,
    block: std::ptr::NonNull<u8>,
    old: std::alloc::Layout,
    new: std::alloc::Layout,
) -> &'a [u8] {
    // SAFETY: the block was allocated with `old` just now; `new` is larger.
    let grown = unsafe { allocator.grow_zeroed(block, old, new) }.unwrap();
    // SAFETY: that many bytes, all written.
    unsafe { std::slice::from_raw_parts(grown.cast().as_ptr(), new.size()) }
}

#[test]
fn a_vector_that_grows_in_small_steps_is_seldom_copied_and_one_that_shrinks_gives_memory_back() {
    let mut vector: Vec<u8> = Vec::with_capacity(2000);
    let mut places = vec![vector.as_ptr()];
    while vector.capacity() < 32 << 10 {
        vector.resize(vector.capacity(), 224);
        vector.reserve_exact(16);
        places.push(vector.as_ptr());
    }
    places.dedup();
    // Hardened mode has each class copy.
    let most = if cfg!(feature = "harden") { 60 } else { 40 };
    assert!(places.len() < most, "copied {} times", places.len());
    let kept = |vector: &[u8]| vector.iter().take(2000).all(|&byte| byte == 224);
    assert!(kept(&vector));
    for length in [20_000, 9000, 2000, 1100, 1000, 100, 40] {
        vector.truncate(length);
        vector.shrink_to_fit();
        let usable = freestone::raw::usable_size(vector.as_mut_ptr());
        assert!(usable >= length && usable <= length + length / 3 + 16, "{usable} bytes for {length}");
        assert!(kept(&vector));
    }
}
