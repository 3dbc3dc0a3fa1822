//! How much the incremental collector does at once: counted, not timed.

use freestone_gc::{
    Ephemeron, Gc, GcArray, GcCell, GcConfig, GcStats, Guardian, Heap, Incremental, Mutation, Trace,
};

#[derive(Trace)]
struct Tree<'gc> {
    left: GcCell<Option<Gc<'gc, Tree<'gc>>>>,
    right: GcCell<Option<Gc<'gc, Tree<'gc>>>>,
}

type Mut<'m, 'gc> = &'m Mutation<'gc, Incremental>;

fn tree<'gc>(mc: Mut<'_, 'gc>, depth: u32) -> Gc<'gc, Tree<'gc>> {
    let child = || GcCell::new((depth > 0).then(|| tree(mc, depth - 1)));
    mc.alloc(Tree { left: child(), right: child() })
}

fn count(tree: Gc<'_, Tree<'_>>) -> usize {
    let of = |child: &GcCell<Option<_>>| child.get().map_or(0, count);
    1 + of(&tree.left) + of(&tree.right)
}

/// Replaces so many parts, of 15 objects each, deep in a tree.
fn replace<'gc>(mc: Mut<'_, 'gc>, root: Gc<'gc, Tree<'gc>>, depth: u32, parts: u32, seed: &mut u64) {
    for _ in 0..parts {
        // Knuth's MMIX generator.
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut at = root;
        for bit in 0..depth - 4 {
            let side = if *seed >> (63 - bit) & 1 == 0 { &at.left } else { &at.right };
            at = side.get().expect("the tree is that deep");
        }
        at.set(mc, |node| &node.left, Some(tree(mc, 3)));
    }
}

/// Two collections of a tree of that depth, while parts of it are replaced.
fn figures(depth: u32, parts: u32, pause_micros: u32) -> GcStats {
    let config = GcConfig { pause_micros, ..GcConfig::default() };
    let mut heap = Heap::<Gc<'static, Tree<'static>>, Incremental>::with_config(
        config,
        Default::default(),
        // All at once, when nothing has been collected yet: the pacer must see what is there.
        |mc| tree(mc, depth),
    );
    let mut seed = 1;
    while heap.stats().collections < 2 {
        heap.mutate(|mc, root| replace(mc, *root, depth, parts, &mut seed));
        let stats = heap.stats();
        assert!(stats.allocated_bytes < 2 << 30, "it does not get to an end: {stats:?}");
    }
    heap.mutate(|_, root| assert_eq!(count(*root), (2 << depth) - 1));
    heap.stats()
}

/// A span is taken at once, so up to 100 KiB are allocated between two slices, of which three times as much may be marked, twice at the
/// end, in objects of 24 bytes.
const SLICE: u64 = 2 * 3 * (100 << 10) / 24;

#[test]
fn a_slice_does_not_grow_with_the_heap() {
    for depth in [13, 15, 17] {
        let stats = figures(depth, 50, u32::MAX);
        assert!(stats.longest_slice < SLICE, "{} objects: {stats:?}", 2 << depth);
    }
}

#[test]
fn a_program_faster_than_its_collector_waits_for_what_it_allocates_only() {
    // No time at all: the collector falls behind until all of the growth is used up.
    let stats = figures(17, 50, 0);
    assert!(stats.longest_slice < 2 * SLICE, "{stats:?}");
    // Ten times as much in a step: ten times as much may be done, but not all.
    let stats = figures(17, 500, 0);
    assert!(stats.longest_slice < 200_000, "{stats:?}");
    // 7 MB live; 14 when the second begins; as much again until it is late, and a part of that until it is done.
    assert!(stats.held_bytes < 42 << 20, "{stats:?}");
}

type Watched<'gc> = (Guardian<'gc, Tree<'gc>>, Vec<Gc<'gc, Tree<'gc>>>);

#[test]
fn what_hangs_on_a_rescued_object_is_followed_in_slices() {
    let config = GcConfig { pause_micros: u32::MAX, ..GcConfig::default() };
    let mut heap = Heap::<Watched<'static>, Incremental>::with_config(config, Default::default(), |mc| {
        (Guardian::new(mc), Vec::new())
    });
    heap.mutate(|mc, (guardian, _)| guardian.watch(mc, tree(mc, 16)));
    let mut found = None;
    for _ in 0..10_000 {
        found = heap.mutate(|mc, (guardian, _)| {
            tree(mc, 9);
            guardian.next(mc).map(count)
        });
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found, Some((2 << 16) - 1));
    let stats = heap.stats();
    assert!(stats.longest_slice < SLICE, "{stats:?}");
}

/// A list of ephemerons, each with the value that the next has for a key.
#[derive(Trace)]
struct Chain<'gc> {
    pair: Ephemeron<'gc, Tree<'gc>, Gc<'gc, Tree<'gc>>>,
    next: Option<Gc<'gc, Chain<'gc>>>,
}

#[test]
fn ephemerons_are_followed_in_slices_however_they_hang_together() {
    const LEN: u64 = 20_000;
    type Root<'gc> = (Vec<Gc<'gc, Tree<'gc>>>, Option<Gc<'gc, Chain<'gc>>>);
    let config = GcConfig { pause_micros: u32::MAX, ..GcConfig::default() };
    let mut heap = Heap::<Root<'static>, Incremental>::with_config(config, Default::default(), |mc| {
        let first = tree(mc, 0);
        let (mut key, mut chain) = (first, None);
        for _ in 0..LEN {
            let value = tree(mc, 0);
            // The last is found first, so its key is not known to be alive, and so on: asked in rounds, one in each.
            chain = Some(mc.alloc(Chain { pair: Ephemeron::new(mc, key, value), next: chain }));
            key = value;
        }
        (vec![first], chain)
    });
    let alive = |heap: &mut Heap<Root<'static>, Incremental>| {
        heap.mutate(|_, (_, chain)| {
            let all = std::iter::successors(*chain, |chain| chain.next);
            all.filter(|chain| chain.pair.key().is_some()).count() as u64
        })
    };
    let collect = |heap: &mut Heap<Root<'static>, Incremental>| {
        let before = heap.stats().collections;
        while heap.stats().collections < before + 2 {
            heap.mutate(|mc, _| count(tree(mc, 9)));
        }
    };
    collect(&mut heap);
    assert_eq!(alive(&mut heap), LEN);
    let stats = heap.stats();
    assert!(stats.longest_slice < SLICE, "{stats:?}");
    heap.mutate(|_, (keys, _)| keys.clear());
    collect(&mut heap);
    assert_eq!(alive(&mut heap), 0);
}

type Long<'gc> = GcArray<'gc, GcCell<Option<Gc<'gc, u64>>>>;

#[test]
fn of_a_long_array_that_is_written_to_only_that_part_is_followed_again() {
    const LEN: usize = 500_000;
    let config = GcConfig { pause_micros: u32::MAX, min_growth: 8 << 20, ..GcConfig::default() };
    let mut heap = Heap::<Long<'static>, Incremental>::with_config(config, Default::default(), |mc| {
        mc.alloc_array(LEN, |_| GcCell::new(None))
    });
    let mut at = 0;
    while heap.stats().collections < 2 {
        heap.mutate(|mc, array| {
            for _ in 0..1000 {
                at = (at + 7919) % LEN;
                array.write(mc, at).set(Some(mc.alloc(at as u64)));
                // The same place again and again is noted once.
                array.write(mc, at).set(array[at].get());
            }
        });
        let stats = heap.stats();
        assert!(stats.allocated_bytes < 1 << 30, "it does not get to an end: {stats:?}");
    }
    // A few thousand writes lie between two slices. Were all behind each followed, it would be a thousand times the array.
    let stats = heap.stats();
    assert!(stats.longest_slice < 10 * 32 * (LEN as u64 / 256), "{stats:?}");
    heap.collect();
    heap.mutate(|_, array| {
        for (number, element) in array.iter().enumerate() {
            assert!(element.get().is_none_or(|value| *value == number as u64));
        }
    });
}
