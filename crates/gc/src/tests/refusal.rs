//! A parent that has no more memory when objects become old.
//!
//! # Safety
//!
//! The parent here hands on the blocks of [`Global`], or none.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use freestone_kit::{Alloc, AllocError, Allocated};

use crate::{Gc, GcConfig, Generational, Global, Heap, Trace};

/// Refuses while the flag is set.
#[derive(Clone, Default)]
struct Refusing(Rc<Cell<bool>>);

// SAFETY: the blocks of `Global`.
unsafe impl Alloc for Refusing {
    fn allocate(&self, layout: Layout) -> Allocated {
        if self.0.get() { Err(AllocError) } else { Global.allocate(layout) }
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Global.deallocate(block, layout) };
    }
}

struct Token(Rc<Cell<u32>>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[derive(Trace)]
struct Object {
    #[gc(leaf)]
    _token: Token,
    room: [u64; 20],
}

type Objects = Vec<Gc<'static, Object>>;

fn fill(heap: &mut Heap<Objects, Generational<Refusing>>, count: u64, drops: &Rc<Cell<u32>>) {
    heap.mutate(|mc, root| {
        root.extend(
            (0..count).map(|number| mc.alloc(Object { _token: Token(Rc::clone(drops)), room: [number; 20] })),
        );
    });
}

#[test]
fn no_memory_for_the_old_ends_the_heap_but_not_the_program() {
    let (parent, drops) = (Refusing::default(), Rc::default());
    let config = GcConfig { nursery: 1 << 20, ..GcConfig::default() };
    let mut heap =
        Heap::<Objects, Generational<Refusing>>::with_config(config, parent.clone(), |_| Vec::new());
    fill(&mut heap, 3000, &drops);
    parent.0.set(true);
    let message = |what: Box<dyn std::any::Any + Send>| *what.downcast::<String>().expect("a text");
    let said = catch_unwind(AssertUnwindSafe(|| heap.collect())).map_err(message);
    assert!(said.as_ref().is_err_and(|said| said.contains("has become old")), "{said:?}");
    let said = catch_unwind(AssertUnwindSafe(|| heap.collect())).expect_err("the heap is broken");
    assert!(said.downcast::<&str>().is_ok_and(|said| said.contains("parent allocator refused")));
    drop(heap);
    assert_eq!(drops.get(), 3000, "each was dropped once");
}

#[test]
fn what_died_among_the_old_is_found_before_that() {
    let (parent, drops) = (Refusing::default(), Rc::default());
    // Nothing old is collected but by `collect`, and then all.
    let config = GcConfig { nursery: 1 << 20, min_growth: 1 << 30, ..GcConfig::default() };
    let mut heap =
        Heap::<Objects, Generational<Refusing>>::with_config(config, parent.clone(), |_| Vec::new());
    (0..8).for_each(|_| fill(&mut heap, 3000, &drops));
    heap.collect();
    heap.mutate(|_, root| {
        // Every span keeps some, so that none goes back, and the room is found in spans that are in use.
        let mut number = 0;
        root.retain(|_| {
            number += 1;
            number % 3 == 0
        });
    });
    heap.collect();
    parent.0.set(true);
    for _ in 0..4 {
        fill(&mut heap, 3000, &drops);
        heap.collect();
    }
    heap.mutate(|_, root| {
        assert_eq!(root.len(), 8 * 1000 + 4 * 3000);
        assert!(
            root.iter().skip(8000).zip((0..3000).cycle()).all(|(object, number)| object.room == [number; 20])
        );
    });
    drop(heap);
    assert_eq!(drops.get(), (8 + 4) * 3000);
}
