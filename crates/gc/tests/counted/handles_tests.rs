//! What every counted handle does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use freestone_gc::counted::{Arc, AtomicCounts, Handle, LeanArc, LeanRc, LocalCounts, Rc, Weak, WeakCounts};
use freestone_kit::failing::FailingConfig;
use freestone_kit::{AllocError, Bins, C, Counting, Failing, Page, Stats};

/// Says when it is dropped.
#[derive(Clone)]
pub struct Told<'a>(pub &'a Cell<u32>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

macro_rules! each_kind {
    ($name:ident, $handle:ident => $body:block) => {
        #[test]
        fn $name() {
            {
                use Rc as $handle;
                $body
            }
            {
                use Arc as $handle;
                $body
            }
            {
                use LeanRc as $handle;
                $body
            }
            {
                use LeanArc as $handle;
                $body
            }
        }
    };
}

each_kind!(an_object_goes_with_its_last_handle, H => {
    let drops = Cell::new(0);
    let heap = Counting::new(C);
    let first = H::new_in(Told(&drops), &heap);
    let others = [first.clone(), first.clone()];
    assert_eq!(H::strong_count(&first), 3);
    assert!(H::ptr_eq(&first, &others[1]));
    drop(first);
    drop(others);
    assert_eq!(drops.get(), 1);
    assert_eq!(heap.stats().live_blocks, 0);
});

each_kind!(the_only_handle_gives_the_object_back, H => {
    let drops = Cell::new(0);
    let one = H::new(Told(&drops));
    let other = one.clone();
    let one = H::try_unwrap(one).map(drop).unwrap_err();
    drop(other);
    let inner = H::try_unwrap(one).unwrap_or_else(|_| panic!("the only one"));
    assert_eq!(drops.get(), 0);
    drop(inner);
    assert_eq!(drops.get(), 1);
    let one = H::new(1);
    let other = one.clone();
    assert_eq!((H::into_inner(one), H::into_inner(other)), (None, Some(1)));
    assert_eq!(H::unwrap_or_clone(H::new(3)), 3);
});

each_kind!(a_shared_object_is_copied_before_it_changes, H => {
    let mut one = H::new(vec![1]);
    let at = H::as_ptr(&one);
    H::make_mut(&mut one).push(2);
    assert_eq!(H::as_ptr(&one), at, "the only handle changes in place");
    let other = one.clone();
    assert!(H::get_mut(&mut one).is_none());
    H::make_mut(&mut one).push(3);
    assert_eq!((one.len(), other.len()), (3, 2));
    assert!(H::get_mut(&mut one).is_some());
});

each_kind!(a_destructor_that_panics_frees_the_block_all_the_same, H => {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let heap = Counting::new(C);
    let one = H::new_in((Panics, [0_u8; 100]), &heap);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(one))).is_err());
    assert_eq!(heap.stats().live_blocks, 0);
});

each_kind!(a_handle_goes_through_a_raw_pointer, H => {
    let one = H::new_in(String::from("kept"), Counting::new(C));
    let raw = H::into_raw(one);
    // SAFETY: just made from one.
    #[allow(unsafe_code)]
    let back: H<String, Counting<C>> = unsafe { H::from_raw(raw) };
    assert_eq!((back.as_str(), H::allocator(&back).stats().live_blocks), ("kept", 1));
});

each_kind!(an_allocator_that_refuses_is_heard, H => {
    let heap = Failing::new(C, FailingConfig::NEVER.fail_index(0));
    assert_eq!(H::try_new_in(1, &heap).unwrap_err(), AllocError);
});

each_kind!(the_allocator_may_live_in_its_own_block, H => {
    let one = H::new_in([7_u64; 10], Bins::new(Page));
    let other = one.clone();
    drop(one);
    assert_eq!(other[9], 7);
});

#[test]
fn handles_are_one_pointer_and_counts_are_small() {
    assert_eq!(size_of::<Option<Rc<u64, Counting<C>>>>(), 8);
    assert_eq!(size_of::<Option<Rc<[u64]>>>(), 16);
    for (lean, bytes) in [(false, 16), (true, 8)] {
        let heap = Counting::new(C);
        if lean {
            std::mem::forget(LeanRc::new_in(1_u32, ByRef(&heap)));
        } else {
            std::mem::forget(Rc::new_in(1_u64, ByRef(&heap)));
        }
        // The reference to the allocator lies in the block.
        assert_eq!(heap.stats().live_bytes, bytes + 8);
    }
}

type ByRefInner = Counting<C>;

/// A reference of its own type, of a known size.
struct ByRef<'a>(&'a ByRefInner);

// SAFETY: as the reference.
#[allow(unsafe_code)]
unsafe impl freestone_kit::Alloc for ByRef<'_> {
    fn allocate(&self, layout: std::alloc::Layout) -> freestone_kit::Allocated {
        self.0.allocate(layout)
    }

    unsafe fn deallocate(&self, block: std::ptr::NonNull<u8>, layout: std::alloc::Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(block, layout) }
    }
}

macro_rules! with_weak {
    ($name:ident, $handle:ident => $body:block) => {
        #[test]
        fn $name() {
            {
                use Rc as $handle;
                $body
            }
            {
                use Arc as $handle;
                $body
            }
        }
    };
}

with_weak!(weak_handles_keep_the_block_not_the_object, H => {
    let drops = Cell::new(0);
    let heap = Counting::new(C);
    let one = H::new_in(Told(&drops), &heap);
    let weak = H::downgrade(&one);
    let again = weak.clone();
    assert_eq!((H::weak_count(&one), weak.strong_count()), (2, 1));
    let up = weak.upgrade().unwrap();
    assert!(H::ptr_eq(&one, &up));
    drop((one, up));
    assert_eq!(drops.get(), 1);
    assert!(weak.upgrade().is_none() && again.ptr_eq(&weak));
    drop((weak, again));
    assert_eq!(heap.stats().live_blocks, 0);
});

with_weak!(a_weak_handle_forbids_changing_but_not_taking, H => {
    let mut one = H::new(vec![1]);
    let weak = H::downgrade(&one);
    assert!(H::get_mut(&mut one).is_none());
    H::make_mut(&mut one).push(2);
    assert!(weak.upgrade().is_none(), "the object moved away from it");
    assert_eq!(one[..], [1, 2]);
    let weak = H::downgrade(&one);
    assert_eq!(H::try_unwrap(one).unwrap(), [1, 2]);
    assert!(weak.upgrade().is_none());
});

#[test]
fn an_object_that_knows_itself() {
    struct Own<C: WeakCounts>(Weak<Own<C>, C>, u32);
    fn of<C: WeakCounts>() {
        let one = Handle::<Own<C>, C>::new_cyclic(|this| {
            assert!(this.upgrade().is_none());
            Own(this.clone(), 7)
        });
        assert_eq!(one.0.upgrade().unwrap().1, 7);
        assert_eq!((Handle::strong_count(&one), Handle::weak_count(&one)), (1, 1));
        let heap = Counting::new(freestone_kit::C);
        let make = || Handle::<u8, C, _>::new_cyclic_in(|_| panic!("on purpose"), &heap);
        assert!(catch_unwind(AssertUnwindSafe(make)).is_err());
        assert_eq!(heap.stats().live_blocks, 0);
    }
    of::<LocalCounts>();
    of::<AtomicCounts>();
}

#[test]
fn threads_share_and_one_of_them_drops() {
    struct Once<'a>(&'a std::sync::atomic::AtomicU32);
    impl Drop for Once<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let rounds = if cfg!(miri) { 3 } else { 200 };
    let drops = std::sync::atomic::AtomicU32::new(0);
    for _ in 0..rounds {
        let one = Arc::new(Once(&drops));
        let lean = LeanArc::new(Once(&drops));
        let weak = Arc::downgrade(&one);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (one, lean, weak) = (one.clone(), lean.clone(), weak.clone());
                scope.spawn(move || {
                    drop((one.clone(), lean.clone()));
                    drop((one, lean));
                    drop(weak.upgrade());
                });
            }
            drop((one, lean));
        });
        assert!(weak.upgrade().is_none());
    }
    assert_eq!(drops.into_inner(), 2 * rounds);
}

#[test]
fn handles_do_as_their_objects_do() {
    use std::collections::{BTreeSet, HashSet};
    let words: HashSet<Rc<str>> = ["one", "two"].into_iter().map(Rc::from).collect();
    assert!(words.contains("one") && !words.contains("three"));
    let order: BTreeSet<Arc<u32>> = [3, 1, 2].into_iter().map(Arc::from).collect();
    assert_eq!(order.into_iter().map(|it| *it).collect::<Vec<_>>(), [1, 2, 3]);
    let one: LeanRc<String> = Handle::default();
    assert_eq!((format!("{one:?}{one}"), one.as_ref().len()), (String::from("\"\""), 0));
    assert!(format!("{one:p}").starts_with("0x"));
}
