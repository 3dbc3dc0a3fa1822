//! Panics in destructors and in `trace`, which a heap survives or ends in good order.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use freestone_gc::{Collector, Gc, GcConfig, Heap, Trace};

crate::on_every_collector! {
    a_destructor_that_panics_is_heard_of_once
    a_panic_of_the_program_leaves_the_heap_as_it_was
}

#[derive(Trace)]
struct Bomb {
    #[gc(leaf)]
    drops: Rc<Cell<u32>>,
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        assert!(!self.armed, "the bomb");
    }
}

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => *payload.downcast::<String>().expect("a text"),
    }
}

fn a_destructor_that_panics_is_heard_of_once<C: Collector<Parent: Default>>(config: GcConfig) {
    // Under stress the panic comes with the mutate, else with the collect.
    let config = GcConfig { stress: false, ..config };
    let drops = Rc::new(Cell::new(0));
    let mut heap = Heap::<Vec<Gc<'static, Bomb>>, C>::with_config(config, Default::default(), |_| Vec::new());
    heap.mutate(|mc, root| {
        for number in 0..100 {
            let bomb = mc.alloc(Bomb { drops: Rc::clone(&drops), armed: number % 10 == 3 });
            if number % 2 == 0 {
                root.push(bomb);
            }
        }
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| heap.collect())).expect_err("a bomb went off");
    assert_eq!(message(panicked), "the bomb");
    assert_eq!(drops.get(), 50, "the others were dropped all the same");
    assert_eq!(heap.stats().panics, 10);
    heap.collect();
    heap.mutate(|_, root| assert!(root.iter().all(|bomb| !bomb.armed) && root.len() == 50));
    drop(heap);
    assert_eq!(drops.get(), 100);
}

fn a_panic_of_the_program_leaves_the_heap_as_it_was<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap = Heap::<Vec<Gc<'static, u32>>, C>::with_config(config, Default::default(), |_| Vec::new());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        heap.mutate(|mc, root| {
            root.push(mc.alloc(1));
            mc.alloc_array(10, |i| if i == 5 { panic!("half way") } else { i });
        });
    }));
    assert!(panicked.is_err());
    heap.collect();
    heap.mutate(|_, root| assert_eq!(*root[0], 1));
}
