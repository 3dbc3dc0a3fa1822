//! What every collector must do, one simple thing a test.

use std::cell::Cell;
use std::rc::Rc;

use freestone_gc::{Collector, Gc, GcArray, GcCell, GcConfig, GcRefCell, Heap, Mutation, Rooted, Trace};

crate::on_every_collector! {
    a_tree_survives_and_its_garbage_does_not
    a_long_list_is_no_deep_recursion
    destructors_run_once
    roots_outside_keep_objects
    arrays_small_and_large
    alignment_is_kept
    a_lisp_computes_the_same
}

fn a_lisp_computes_the_same<C: Collector<Parent: Default>>(config: GcConfig) {
    for (name, source, expected) in crate::interpreter::PROGRAMS {
        let (output, stats) = crate::interpreter::run::<C>(config, source).expect(name);
        assert_eq!(output, *expected, "{name} on {}", C::NAME);
        assert!(!config.stress || stats.collections > 0);
    }
}

#[derive(Trace)]
struct Tree<'gc> {
    left: Option<Gc<'gc, Tree<'gc>>>,
    right: Option<Gc<'gc, Tree<'gc>>>,
}

fn tree<'gc, C: Collector>(mc: &Mutation<'gc, C>, depth: u32) -> Gc<'gc, Tree<'gc>> {
    let child = |()| tree(mc, depth - 1);
    let below = (depth > 0).then_some(());
    let (left, right) = (below.map(child), below.map(child));
    mc.alloc(Tree { left, right })
}

fn count(tree: Gc<'_, Tree<'_>>) -> usize {
    1 + [tree.left, tree.right].into_iter().flatten().map(count).sum::<usize>()
}

fn a_tree_survives_and_its_garbage_does_not<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap =
        Heap::<Gc<'static, Tree<'static>>, C>::with_config(config, Default::default(), |mc| tree(mc, 12));
    heap.collect();
    let live = heap.stats().live_bytes;
    assert!((8191 * 24..8191 * 40).contains(&live), "{live}");
    for _ in 0..50 {
        heap.mutate(|mc, _| assert_eq!(count(tree(mc, 10)), 2047));
        heap.mutate(|_, root| assert_eq!(count(*root), 8191));
    }
    heap.collect();
    assert_eq!(heap.stats().live_bytes, live);
    heap.mutate(|mc, root| *root = tree(mc, 1));
    heap.collect();
    assert!(heap.stats().live_bytes < 200);
}

#[derive(Trace)]
struct Link<'gc> {
    number: u64,
    next: GcCell<Option<Gc<'gc, Link<'gc>>>>,
}

fn a_long_list_is_no_deep_recursion<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap =
        Heap::<Option<Gc<'static, Link<'static>>>, C>::with_config(config, Default::default(), |_| None);
    heap.mutate(|mc, root| {
        for number in 0..100_000 {
            *root = Some(mc.alloc(Link { number, next: GcCell::new(*root) }));
        }
    });
    heap.collect();
    heap.mutate(|_, root| {
        let mut at = *root;
        let mut expected = 100_000;
        while let Some(link) = at {
            expected -= 1;
            assert_eq!(link.number, expected);
            at = link.next.get();
        }
        assert_eq!(expected, 0);
    });
}

/// Counts how often one of it was dropped.
#[derive(Trace)]
struct Counted {
    #[gc(leaf)]
    drops: Rc<Cell<usize>>,
    size: Vec<u8>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
    }
}

fn destructors_run_once<C: Collector<Parent: Default>>(config: GcConfig) {
    let drops = Rc::new(Cell::new(0));
    let mut heap =
        Heap::<Vec<Gc<'static, Counted>>, C>::with_config(config, Default::default(), |_| Vec::new());
    for round in 0..10 {
        heap.mutate(|mc, root| {
            for number in 0..1000 {
                let object = mc.alloc(Counted { drops: Rc::clone(&drops), size: vec![1; round] });
                if number % 10 == 0 {
                    root.push(object);
                }
            }
        });
        heap.collect();
    }
    heap.collect();
    heap.mutate(|_, root| assert!(root.iter().all(|object| object.size.iter().all(|&byte| byte == 1))));
    drop(heap);
    assert_eq!(drops.get(), 10_000);
    assert_eq!(Rc::strong_count(&drops), 1);
}

fn roots_outside_keep_objects<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap = Heap::<(), C>::with_config(config, Default::default(), |_| ());
    let mut kept: Vec<Rooted<Link<'static>>> = (0..200)
        .map(|number| {
            heap.mutate(|mc, ()| {
                let inner = mc.alloc(Link { number: number + 1000, next: GcCell::new(None) });
                mc.root(mc.alloc(Link { number, next: GcCell::new(Some(inner)) }))
            })
        })
        .collect();
    heap.collect();
    heap.mutate(|mc, ()| {
        for (number, root) in kept.iter().enumerate() {
            let link = mc.get(root);
            assert_eq!(link.number, number as u64);
            assert_eq!(link.next.get().map(|next| next.number), Some(number as u64 + 1000));
        }
    });
    kept.truncate(100);
    heap.collect();
    let half = heap.stats().live_bytes;
    kept.clear();
    heap.collect();
    assert!(half > 0);
    assert_eq!(heap.stats().live_bytes, 0);
}

type Slots<'gc> = GcArray<'gc, GcCell<Option<Gc<'gc, u64>>>>;

fn arrays_small_and_large<C: Collector<Parent: Default>>(config: GcConfig) {
    for len in [0, 1, 7, 500, 1500, 20_000] {
        let mut heap = Heap::<Option<Slots<'static>>, C>::with_config(config, Default::default(), |_| None);
        heap.mutate(|mc, root| {
            *root = Some(mc.alloc_array(len, |i| GcCell::new(Some(mc.alloc(i as u64)))));
        });
        for round in 0..3 {
            heap.mutate(|mc, root| {
                let slots = root.expect("it was set");
                assert_eq!(slots.len(), len);
                for (i, slot) in slots.iter().enumerate() {
                    assert_eq!(slot.get().map(|value| *value), Some(i as u64 + round));
                    slots.write(mc, i).set(Some(mc.alloc(i as u64 + round + 1)));
                }
            });
            heap.collect();
        }
    }
}

#[derive(Trace)]
#[repr(align(16))]
struct Aligned<'gc> {
    id: u64,
    other: GcRefCell<Vec<Gc<'gc, Aligned<'gc>>>>,
}

fn alignment_is_kept<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap =
        Heap::<Vec<Gc<'static, Aligned<'static>>>, C>::with_config(config, Default::default(), |_| {
            Vec::new()
        });
    for round in 0..20 {
        heap.mutate(|mc, root| {
            for id in 0..100 {
                mc.alloc(1_u8);
                let object = mc.alloc(Aligned { id, other: GcRefCell::new(Vec::new()) });
                object.write(mc, |object| &object.other).borrow_mut().push(object);
                mc.alloc([0_u8; 24]);
                root.push(object);
            }
            root.retain(|object| object.id % 3 != round % 3);
        });
        heap.mutate(|_, root| {
            for object in root {
                assert_eq!(core::ptr::from_ref(object.get_ref()).addr() % 16, 0);
                assert!(Gc::ptr_eq(object.other.borrow()[0], *object));
            }
        });
    }
}
