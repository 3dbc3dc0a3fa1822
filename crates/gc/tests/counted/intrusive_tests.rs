//! Objects that hold their own count, and implementations that lie about it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use freestone_gc::counted::{AtomicCount, Counted, Intrusive, LocalCount};
use freestone_gc::intrusive;
use freestone_kit::{C, Counting, Stats};

#[derive(Clone, Default)]
struct Node {
    value: u32,
    count: LocalCount,
}
intrusive!(Node, count: LocalCount);

struct Shared<T> {
    value: T,
    count: AtomicCount,
}
intrusive!([T] Shared<T>, count: AtomicCount);

#[test]
fn the_count_is_the_objects() {
    let heap = Counting::new(C);
    let mut one = Intrusive::new_in(Node { value: 1, ..Node::default() }, &heap);
    let other = one.clone();
    assert_eq!(
        (Intrusive::strong_count(&one), freestone_gc::counted::Counts::strong(&one.count().clone())),
        (2, 1)
    );
    Intrusive::make_mut(&mut one).value = 2;
    assert_eq!((one.value, other.value, Intrusive::strong_count(&other)), (2, 1, 1));
    drop((one, other));
    assert_eq!(heap.stats().live_blocks, 0);
    assert_eq!(size_of::<Node>(), 8);
}

#[test]
fn threads_share_it() {
    let one = Intrusive::new(Shared { value: vec![1, 2], count: AtomicCount::new() });
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let one = one.clone();
            scope.spawn(move || assert_eq!(one.value.len(), 2));
        }
    });
    assert_eq!(Intrusive::try_unwrap(one).map(|it| it.value).ok(), Some(vec![1, 2]));
}

#[test]
fn objects_that_change_places_leave_the_counts_right() {
    let mut one = Intrusive::new(Node { value: 1, ..Node::default() });
    let mut other = Intrusive::new(Node { value: 2, ..Node::default() });
    std::mem::swap(Intrusive::get_mut(&mut one).unwrap(), Intrusive::get_mut(&mut other).unwrap());
    assert_eq!((one.value, other.value), (2, 1));
    let again = one.clone();
    assert_eq!((Intrusive::strong_count(&again), Intrusive::strong_count(&other)), (2, 1));
}

#[test]
fn a_count_given_away_in_the_destructor_is_a_fresh_one() {
    thread_local!(static LEFT: std::cell::RefCell<Vec<AtomicCount>> = const { std::cell::RefCell::new(Vec::new()) });
    struct Gives {
        count: AtomicCount,
    }
    intrusive!(Gives, count: AtomicCount);
    impl Drop for Gives {
        fn drop(&mut self) {
            LEFT.with_borrow_mut(|left| left.push(std::mem::take(&mut self.count)));
        }
    }
    let one = Intrusive::new(Gives { count: AtomicCount::new() });
    drop(one.clone());
    drop(one);
    let count = LEFT.with_borrow_mut(|left| left.pop().unwrap());
    assert_eq!(Intrusive::strong_count(&Intrusive::new(Shared { value: 0, count })), 1);
}

/// Says another count each time.
struct Liar {
    first: LocalCount,
    second: LocalCount,
    asked: std::cell::Cell<bool>,
}

impl Counted for Liar {
    type Count = LocalCount;
    const OFFSET: usize = std::mem::offset_of!(Liar, first);

    fn count(&self) -> &LocalCount {
        if self.asked.replace(true) { &self.second } else { &self.first }
    }
}

#[test]
fn a_count_that_is_elsewhere_is_found_out() {
    let one = Intrusive::new(Liar {
        first: LocalCount::new(),
        second: LocalCount::new(),
        asked: Default::default(),
    });
    let other = one.clone();
    let error = catch_unwind(AssertUnwindSafe(|| _ = one.clone())).unwrap_err();
    assert!(error.downcast_ref::<&str>().unwrap().contains("not where OFFSET says"));
    std::mem::forget((one, other));
}
