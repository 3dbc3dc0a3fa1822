//! A `trace` written by hand that panics.
//!
//! # Safety
//!
//! The one here holds no pointers, and panics instead of tracing none.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::collector::Visitor;
use crate::{
    Branded, Collector, Gc, GcConfig, Generational, Heap, Incremental, MarkCompact, MarkSweep, SemiSpace,
    Trace,
};

struct Refuses {
    refuses: Rc<Cell<bool>>,
    drops: Rc<Cell<u32>>,
}

impl Drop for Refuses {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
    }
}

// SAFETY: it holds no pointers.
unsafe impl<'gc> Trace<'gc> for Refuses {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = false;

    fn trace<V: Visitor>(&mut self, _visitor: &mut V) {
        assert!(!self.refuses.get(), "not today");
    }
}

impl Branded for Refuses {
    type Of<'gc> = Refuses;
}

/// Says whether the heap could be used afterwards. Each object is dropped once in any case.
fn survives<C: Collector<Parent: Default>>() -> bool {
    let refuses = Rc::new(Cell::new(false));
    let drops = Rc::new(Cell::new(0));
    let config = GcConfig { stress: false, ..GcConfig::default() };
    let mut heap = Heap::<Vec<Gc<'static, Refuses>>, C>::with_config(config, C::Parent::default(), |mc| {
        let new = || Refuses { refuses: Rc::clone(&refuses), drops: Rc::clone(&drops) };
        (0..100).map(|_| mc.alloc(new())).collect()
    });
    refuses.set(true);
    assert!(catch_unwind(AssertUnwindSafe(|| heap.collect())).is_err());
    refuses.set(false);
    assert_eq!(heap.stats().panics, 1);
    let usable = catch_unwind(AssertUnwindSafe(|| {
        heap.mutate(|_, root| root.truncate(50));
        heap.collect();
        assert_eq!(drops.get(), 50);
        heap.mutate(|_, root| assert_eq!(root.len(), 50));
    }));
    drop(heap);
    assert_eq!(drops.get(), 100, "{}", C::NAME);
    assert_eq!(Rc::strong_count(&drops), 1);
    usable.is_ok()
}

#[test]
fn where_objects_stay_the_heap_goes_on() {
    assert!(survives::<MarkSweep>());
    assert!(survives::<Incremental>());
    // It panics while marking, before anything moves.
    assert!(survives::<MarkCompact>());
}

#[test]
fn where_they_move_it_says_that_it_is_broken() {
    assert!(!survives::<SemiSpace>());
    assert!(!survives::<Generational>());
}
