//! Weak pointers, ephemerons, guardians, surveys, limits, parents, threads.

use freestone_gc::{
    Collector, Ephemeron, Gc, GcCell, GcConfig, GcWeak, Generational, Guardian, Heap, Incremental, MarkSweep,
    Mutation, OutOfMemory, Rooted, SemiSpace, Trace,
};
use freestone_kit::{Counting, Page, Stats};

crate::on_every_collector! {
    weak_pointers_end_with_their_object
    ephemerons_do_not_leak_through_their_value
    a_chain_of_ephemerons_lives_by_its_first_key
    guardians_hand_out_once_and_in_order
    a_survey_finds_everything
    a_hard_limit_refuses_and_the_heap_goes_on
    all_memory_goes_back_to_the_parent
    a_heap_travels
}

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn node<'gc, C: Collector>(mc: &Mutation<'gc, C>, id: u32) -> Gc<'gc, Node<'gc>> {
    mc.alloc(Node { id, next: GcCell::new(None) })
}

type Nodes = Vec<Gc<'static, Node<'static>>>;
type Weaks = Vec<GcWeak<'static, Node<'static>>>;

fn weak_pointers_end_with_their_object<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap = Heap::<(Nodes, Weaks), C>::with_config(config, Default::default(), |mc| {
        let nodes: Vec<_> = (0..100).map(|id| node(mc, id)).collect();
        let weaks = nodes.iter().map(|&node| GcWeak::new(mc, node)).collect();
        (nodes, weaks)
    });
    for keep in [3, 6, 12] {
        heap.mutate(|_, (nodes, _)| nodes.retain(|node| node.id % keep == 0));
        heap.collect();
        heap.mutate(|_, (_, weaks)| {
            for (id, weak) in (0..).zip(weaks.iter()) {
                assert_eq!(weak.upgrade().map(|node| node.id), (id % keep == 0).then_some(id));
            }
        });
    }
}

type Pairs = Vec<Ephemeron<'static, Node<'static>, Gc<'static, Node<'static>>>>;

fn ephemerons_do_not_leak_through_their_value<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap = Heap::<(Nodes, Pairs), C>::with_config(config, Default::default(), |mc| {
        let keys: Vec<_> = (0..50).map(|id| node(mc, id)).collect();
        // Each value points to its key.
        let pairs = keys.iter().map(|&key| {
            Ephemeron::new(mc, key, {
                let value = node(mc, key.id + 1000);
                value.set(mc, |node| &node.next, Some(key));
                value
            })
        });
        let pairs = pairs.collect();
        (keys, pairs)
    });
    heap.mutate(|_, (keys, _)| keys.retain(|key| key.id % 5 == 0));
    heap.collect();
    heap.mutate(|_, (keys, pairs)| {
        assert_eq!(pairs.iter().filter(|pair| pair.key().is_some()).count(), 10);
        for (key, pair) in keys.iter().zip(pairs.iter().step_by(5)) {
            assert_eq!(pair.get(*key).map(|value| value.id), Some(key.id + 1000));
        }
    });
}

fn a_chain_of_ephemerons_lives_by_its_first_key<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap = Heap::<(Nodes, Pairs), C>::with_config(config, Default::default(), |mc| {
        let nodes: Vec<_> = (0..20).map(|id| node(mc, id)).collect();
        // Listed from the last, so that each round finds one key alive only.
        let pairs = nodes.windows(2).rev().map(|pair| Ephemeron::new(mc, pair[0], pair[1])).collect();
        (vec![nodes[0]], pairs)
    });
    heap.collect();
    heap.mutate(|_, (_, pairs)| assert!(pairs.iter().all(|pair| pair.key().is_some())));
    heap.mutate(|_, (nodes, _)| nodes.clear());
    heap.collect();
    heap.mutate(|_, (_, pairs)| assert!(pairs.iter().all(|pair| pair.key().is_none())));
}

fn guardians_hand_out_once_and_in_order<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap =
        Heap::<(Nodes, Guardian<'static, Node<'static>>), C>::with_config(config, Default::default(), |mc| {
            (Vec::new(), Guardian::new(mc))
        });
    heap.mutate(|mc, (nodes, guardian)| {
        for id in 0..10 {
            let object = node(mc, id);
            // It takes along what it points to.
            object.set(mc, |node| &node.next, Some(node(mc, id + 100)));
            guardian.watch(mc, object);
            if id % 2 == 0 {
                nodes.push(object);
            }
        }
    });
    heap.collect();
    let next = |heap: &mut Heap<_, C>| {
        heap.mutate(|mc, (_, guardian): &mut (Vec<Gc<'_, Node<'_>>>, Guardian<'_, Node<'_>>)| {
            guardian.next(mc).map(|node| (node.id, node.next.get().map(|next| next.id)))
        })
    };
    for id in [1, 3, 5, 7, 9] {
        assert_eq!(next(&mut heap), Some((id, Some(id + 100))));
    }
    assert_eq!(next(&mut heap), None);
    heap.mutate(|_, (nodes, _)| nodes.truncate(1));
    heap.collect();
    heap.collect();
    assert_eq!(next(&mut heap), Some((2, Some(102))));
}

fn a_survey_finds_everything<C: Collector<Parent: Default>>(config: GcConfig) {
    let mut heap = Heap::<Nodes, C>::with_config(config, Default::default(), |mc| {
        let (a, b, c) = (node(mc, 1), node(mc, 2), node(mc, 3));
        a.set(mc, |node| &node.next, Some(b));
        b.set(mc, |node| &node.next, Some(c));
        c.set(mc, |node| &node.next, Some(a));
        node(mc, 4);
        vec![a]
    });
    let rooted: Rooted<Node<'static>> = heap.mutate(|mc, _| mc.root(node(mc, 5)));
    let survey = heap.survey();
    assert_eq!((survey.objects.len(), &survey.root[..], &survey.rooted[..]), (4, &[0][..], &[1][..]));
    assert_eq!(survey.objects[2].edges, [3]);
    assert_eq!(survey.path_to(3), [0, 2, 3]);
    let kinds = survey.by_kind();
    assert!(kinds.len() == 1 && kinds[0].0.contains("Node") && kinds[0].1.objects == 4, "{kinds:?}");
    let mut json = Vec::new();
    survey.write_json(&mut json).expect("a Vec takes all");
    assert!(String::from_utf8(json).expect("text").contains("\"edges\":[3]"));
    let path = heap.why(|mc, root| root[0].next.get().map(|node| mc.id(node)));
    assert_eq!(path.len(), 2);
    drop(rooted);
}

fn a_hard_limit_refuses_and_the_heap_goes_on<C: Collector<Parent: Default>>(config: GcConfig) {
    let config = GcConfig { hard_limit: 4 << 20, nursery: 256 << 10, ..config };
    let mut heap = Heap::<Nodes, C>::with_config(config, Default::default(), |_| Vec::new());
    let made = heap.mutate(|mc, _| {
        let mut made = 0_u32;
        while mc.try_alloc([made; 100]).is_ok() {
            made += 1;
        }
        let refused: OutOfMemory<_> =
            mc.try_alloc_array(vec![7_u32; 2_000_000]).expect_err("longer than the limit");
        assert_eq!(refused.0.len(), 2_000_000);
        made
    });
    assert!(made > 1000, "{made}");
    assert!(heap.stats().held_bytes <= 4 << 20);
    heap.collect();
    heap.mutate(|mc, root| *root = (0..1000).map(|id| node(mc, id)).collect());
    heap.collect();
    heap.mutate(|_, root| assert!(root.iter().zip(0..).all(|(node, id)| node.id == id)));
}

fn all_memory_goes_back_to_the_parent<C: Collector<Parent: Default>>(config: GcConfig) {
    // The same on every collector by way of its own parent; what it holds must be nothing after all is dead, but for a little.
    let mut heap = Heap::<Nodes, C>::with_config(config, Default::default(), |_| Vec::new());
    heap.mutate(|mc, root| {
        for id in 0..100_000 {
            root.push(node(mc, id));
        }
        mc.alloc_array(200_000, |i| i);
    });
    let full = heap.stats().held_bytes;
    heap.mutate(|_, root| *root = Vec::new());
    heap.collect();
    heap.collect();
    let empty = heap.stats().held_bytes;
    assert!(empty < full / 2 || empty < 6 << 20, "{full} before, {empty} after");
}

#[test]
fn any_allocator_of_the_kit_is_a_parent_and_gets_all_back() {
    static COUNTING: std::sync::LazyLock<Counting<Page>> = std::sync::LazyLock::new(|| Counting::new(Page));
    fn on<C: Collector<Parent = &'static Counting<Page>>>() {
        let mut heap = Heap::<Nodes, C>::with_config(GcConfig::default(), &COUNTING, |_| Vec::new());
        for round in 0..5 {
            heap.mutate(|mc, root| {
                for id in 0..10_000 {
                    let node = node(mc, id);
                    if id % 7 == round {
                        root.push(node);
                    }
                }
                mc.alloc_array(5000, |i| i);
            });
        }
        assert!(COUNTING.stats().live_bytes > 0);
        drop(heap);
        assert_eq!(COUNTING.stats().live_bytes, 0, "{}", C::NAME);
    }
    on::<MarkSweep<&'static Counting<Page>>>();
    on::<SemiSpace<&'static Counting<Page>>>();
    on::<freestone_gc::MarkCompact<&'static Counting<Page>>>();
    on::<Generational<&'static Counting<Page>>>();
    on::<Incremental<&'static Counting<Page>>>();
}

fn a_heap_travels<C: Collector<Parent: Default + Send>>(config: GcConfig) {
    let heap = Heap::<Nodes, C>::with_config(config, Default::default(), |mc| vec![node(mc, 0)]);
    let mut heap = heap.into_travelling().expect("a node is sendable");
    for id in 1..5 {
        heap = std::thread::spawn(move || {
            heap.mutate(|mc, root| {
                let next = node(mc, id);
                next.set(mc, |node| &node.next, root.last().copied());
                root.push(next);
            });
            heap.collect();
            heap
        })
        .join()
        .expect("nothing panics there");
    }
    let shared = std::sync::Mutex::new(heap);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| shared.lock().expect("nobody panics").mutate(|mc, root| root.push(node(mc, 9))));
        }
    });
    let mut heap = shared.into_inner().expect("nobody panicked").into_heap();
    heap.mutate(|_, root| {
        assert_eq!(root.iter().map(|node| node.id).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 9, 9, 9, 9])
    });
}

#[test]
fn a_soft_limit_makes_collections_more_frequent() {
    let collections = |soft_limit| {
        let config = GcConfig { soft_limit, min_growth: 64 << 10, ..GcConfig::default() };
        let mut heap = Heap::<Nodes, MarkSweep>::with_config(config, Default::default(), |mc| {
            (0..100_000).map(|id| node(mc, id)).collect()
        });
        heap.collect();
        for _ in 0..200 {
            heap.mutate(|mc, _| {
                (0..1000).for_each(|id| {
                    let _ = node(mc, id);
                })
            });
        }
        heap.stats().collections
    };
    assert!(collections(3 << 20) > 2 * collections(usize::MAX));
}

#[test]
fn an_incremental_collection_takes_many_short_pauses() {
    let config = GcConfig { min_growth: 4 << 20, ..GcConfig::default() };
    let mut heap = Heap::<Nodes, Incremental>::with_config(config, Default::default(), |_| Vec::new());
    heap.mutate(|mc, root| {
        // A chain, so that marking finds one after the other.
        for id in 0..50_000 {
            let first = node(mc, id);
            first.set(mc, |node| &node.next, root.pop());
            root.push(first);
        }
    });
    for _ in 0..3000 {
        heap.mutate(|mc, _| {
            (0..100).for_each(|id| {
                let _ = node(mc, id);
            })
        });
    }
    let stats = heap.stats();
    assert!(stats.collections >= 1 && stats.pauses.count() > 10 * stats.collections, "{stats:?}");
}

#[test]
fn tiny_objects_share_cells_where_nothing_moves() {
    fn held<C: Collector<Parent: Default>>() -> usize {
        let config = GcConfig { min_growth: 64 << 20, ..GcConfig::default() };
        let mut heap =
            Heap::<Vec<(Gc<'static, u32>, Gc<'static, [u64; 2]>, GcWeak<'static, u32>)>, C>::with_config(
                config,
                Default::default(),
                |_| Vec::new(),
            );
        for round in 0..4 {
            heap.mutate(|mc, root| {
                root.retain(|(small, ..)| **small % 3 != round);
                for number in 0..20_000 {
                    let small = mc.alloc(number);
                    root.push((small, mc.alloc([u64::from(number); 2]), GcWeak::new(mc, small)));
                }
            });
            heap.collect();
            heap.mutate(|_, root| {
                for (small, pair, weak) in root {
                    assert_eq!(**pair, [u64::from(**small); 2]);
                    assert!(weak.upgrade().is_some_and(|same| Gc::ptr_eq(same, *small)));
                }
            });
        }
        heap.mutate(|mc, root| *root = vec![(mc.alloc(1), mc.alloc([1; 2]), GcWeak::new(mc, mc.alloc(2)))]);
        heap.collect();
        heap.mutate(|mc, _| {
            (0..1_000_000_u32).for_each(|number| {
                let _ = mc.alloc(number);
            })
        });
        heap.stats().held_bytes
    }
    for held in [held::<MarkSweep>(), held::<Incremental>()] {
        assert!(held < 10_500_000, "a million of four bytes took {held}");
    }
}
