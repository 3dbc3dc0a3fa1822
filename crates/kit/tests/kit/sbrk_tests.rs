//! Memory from a break, here one that moves through a buffer.

use crate::conformance::{self as suite, Held, OnAlloc, Serves, hunt, hunt_threads, layout};
use freestone_kit::Alloc;
use freestone_kit::sbrk::{Break, Sbrk, Within};
use freestone_testkit::{Mix, StressConfig};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

fn within(len: usize) -> Within<'static> {
    Within::new(vec![MaybeUninit::uninit(); len].leak())
}

#[test]
fn keeps_the_contract() {
    let sbrk = Sbrk::new(within(64 << 20));
    let serves = Serves::up_to(1 << 20, 1 << 16);
    suite::check(&sbrk, serves);
    suite::check_usable_size(&sbrk, serves);
    suite::check_resize_in_place(&sbrk, serves);
    assert!(sbrk.allocate(layout(1, 1 << 17)).is_err());
}

#[test]
fn random_sequences() {
    hunt(30, Mix::Small, || OnAlloc::shared(Sbrk::new(within(4 << 20))).may_refuse());
    let config = StressConfig { threads: 3, ops_per_thread: 3000, ..StressConfig::default() };
    hunt_threads(&OnAlloc::shared(Sbrk::new(within(32 << 20))).may_refuse(), &config);
}

#[test]
fn slots_are_used_again_the_last_freed_first() {
    let sbrk = Sbrk::new(within(1 << 20));
    let [first, second] = [0, 1].map(|_| Held::new(&sbrk, layout(56, 8)).unwrap());
    let (one, two) = (first.address(), second.address());
    assert_eq!(two.addr().get() - one.addr().get(), 64);
    first.free(&sbrk);
    second.free(&sbrk);
    let [third, fourth] = [0, 1].map(|_| Held::new(&sbrk, layout(33, 1)).unwrap());
    assert_eq!((third.address(), fourth.address()), (two, one));
    third.free(&sbrk);
    fourth.free(&sbrk);
}

#[test]
fn no_link_lies_in_the_users_bytes() {
    let sbrk = Sbrk::new(within(1 << 20));
    let blocks: Vec<_> = (0..4).map(|_| sbrk.allocate(layout(56, 8)).unwrap().cast::<u8>()).collect();
    for &block in &blocks {
        // SAFETY: live blocks of that layout; the memory stays the buffer's when they are freed.
        #[allow(unsafe_code, clippy::multiple_unsafe_ops_per_block)]
        unsafe {
            block.write_bytes(7, 56);
            sbrk.deallocate(block, layout(56, 8));
        }
    }
    for &block in &blocks {
        // SAFETY: nobody else uses the buffer.
        #[allow(unsafe_code)]
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), 56) };
        assert!(bytes.iter().all(|&byte| byte == 7));
    }
}

/// A break that others move too: every second call leaves a hole.
struct Holes(Within<'static>);

// SAFETY: parts of the buffer, each given out once.
#[allow(unsafe_code)]
unsafe impl Break for Holes {
    fn extend(&self, bytes: usize) -> Option<NonNull<u8>> {
        self.0.extend(4096 + 24)?;
        self.0.extend(bytes)
    }
}

#[test]
fn a_break_that_others_move_too() {
    let sbrk = Sbrk::new(Holes(within(32 << 20)));
    suite::check(&sbrk, Serves { size: 4096, align: 4096, total: 1 << 20 });
    let large = Held::new(&sbrk, layout(300_000, 8)).unwrap();
    large.check("from beyond a hole");
    large.free(&sbrk);
}

#[test]
fn what_is_used_up_is_refused_and_small_slots_are_still_served() {
    let sbrk = Sbrk::new(within(256 << 10));
    let small = Held::new(&sbrk, layout(8, 8)).unwrap();
    assert!(sbrk.allocate(layout(512 << 10, 8)).is_err());
    let other = Held::new(&sbrk, layout(8, 8)).unwrap();
    small.free(&sbrk);
    other.free(&sbrk);
}
