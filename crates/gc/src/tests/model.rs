//! Random graphs and mutations on every collector, against a model that knows what is alive.
//!
//! Each node carries a token that logs its own drop. So what dies too early is found in the log before anybody looks through a
//! pointer to it; that is how the run without barriers can fail safely.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use proptest::prelude::*;

use super::WITHOUT_BARRIER;
use crate::{
    Collector, Ephemeron, Gc, GcArray, GcCell, GcConfig, GcWeak, Generational, Heap, Incremental,
    MarkCompact, MarkSweep, Mutation, SemiSpace, Trace,
};

type Id = u32;
type Log = Rc<RefCell<Vec<Id>>>;

struct Token {
    id: Id,
    log: Log,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.log.borrow_mut().push(self.id);
    }
}

type Slot<'gc> = GcCell<Option<Gc<'gc, Node<'gc>>>>;

#[derive(Trace)]
struct Node<'gc> {
    #[gc(leaf)]
    token: Token,
    slots: [Slot<'gc>; 2],
    /// Long enough to be traced in parts, in some nodes; and so long that it lies apart, in a few.
    array: Option<GcArray<'gc, Slot<'gc>>>,
    check: [u64; 3],
}

#[derive(Trace)]
struct Root<'gc> {
    nodes: [Option<Gc<'gc, Node<'gc>>>; ROOTS],
    weak: Vec<(Id, GcWeak<'gc, Node<'gc>>)>,
    ephemerons: Vec<(Id, Id, Pair<'gc>)>,
}

type Pair<'gc> = Ephemeron<'gc, Node<'gc>, Gc<'gc, Node<'gc>>>;

const ROOTS: usize = 4;

/// A way to a node: from a root through some slots.
#[derive(Clone, Debug)]
struct Path(usize, Vec<usize>);

#[derive(Clone, Debug)]
enum Op {
    /// A new node in a root; what was there goes into its first slot.
    New {
        root: usize,
        array: usize,
        keep: bool,
    },
    /// A slot of the node at the end of a path is set to what is in a root.
    Set {
        path: Path,
        slot: usize,
        root: usize,
    },
    Clear {
        path: Path,
        slot: usize,
    },
    Load {
        path: Path,
        root: usize,
    },
    Forget {
        root: usize,
    },
    Weak {
        path: Path,
    },
    Ephemeron {
        key: Path,
        value: Path,
    },
    Garbage {
        count: usize,
    },
    Collect,
}

fn path() -> impl Strategy<Value = Path> {
    (0..ROOTS, prop::collection::vec(0..5_usize, 0..5)).prop_map(|(root, steps)| Path(root, steps))
}

fn op() -> impl Strategy<Value = Op> {
    let array = prop_oneof![6 => Just(0), 2 => Just(3_usize), 1 => Just(600), 1 => Just(2000)];
    prop_oneof![
        6 => (0..ROOTS, array, any::<bool>()).prop_map(|(root, array, keep)| Op::New { root, array, keep }),
        8 => (path(), 0..5_usize, 0..ROOTS).prop_map(|(path, slot, root)| Op::Set { path, slot, root }),
        2 => (path(), 0..5_usize).prop_map(|(path, slot)| Op::Clear { path, slot }),
        4 => (path(), 0..ROOTS).prop_map(|(path, root)| Op::Load { path, root }),
        2 => (0..ROOTS).prop_map(|root| Op::Forget { root }),
        1 => path().prop_map(|path| Op::Weak { path }),
        1 => (path(), path()).prop_map(|(key, value)| Op::Ephemeron { key, value }),
        1 => (1..200_usize).prop_map(|count| Op::Garbage { count }),
        1 => Just(Op::Collect),
    ]
}

/// Slots 0 and 1 are the node's own, the others elements of its array, far apart.
fn element(slot: usize, len: usize) -> usize {
    (slot - 2) * 299 % len
}

impl<'gc> Node<'gc> {
    fn slot(&self, slot: usize) -> Option<&Slot<'gc>> {
        match slot {
            0 | 1 => Some(&self.slots[slot]),
            _ => self.array.as_ref().map(|array| &array[element(slot, array.len())]),
        }
    }

    fn set<C: Collector>(
        gc: Gc<'gc, Self>,
        mc: &Mutation<'gc, C>,
        slot: usize,
        value: Option<Gc<'gc, Self>>,
    ) {
        match (slot, gc.array) {
            (0 | 1, _) => gc.set(mc, |node| &node.slots[slot], value),
            (_, Some(array)) => array.write(mc, element(slot, array.len())).set(value),
            _ => {}
        }
    }
}

#[derive(Default)]
struct ModelNode {
    array: usize,
    slots: BTreeMap<usize, Id>,
}

impl ModelNode {
    /// The key of a slot: two may be the same element.
    fn key(&self, slot: usize) -> Option<usize> {
        match slot {
            0 | 1 => Some(slot),
            _ if self.array == 0 => None,
            _ => Some(2 + element(slot, self.array)),
        }
    }
}

/// What should be.
#[derive(Default)]
struct Model {
    nodes: Vec<ModelNode>,
    roots: [Option<Id>; ROOTS],
    ephemerons: Vec<(Id, Id)>,
}

impl Model {
    fn find(&self, path: &Path) -> Option<Id> {
        let mut at = self.roots[path.0]?;
        for &step in &path.1 {
            let node = &self.nodes[at as usize];
            at = node.key(step).and_then(|key| node.slots.get(&key).copied())?;
        }
        Some(at)
    }

    fn live(&self) -> BTreeSet<Id> {
        let mut live = BTreeSet::new();
        let mut todo: Vec<Id> = self.roots.iter().flatten().copied().collect();
        loop {
            while let Some(id) = todo.pop() {
                if live.insert(id) {
                    todo.extend(self.nodes[id as usize].slots.values());
                }
            }
            let values =
                self.ephemerons.iter().filter(|(key, value)| live.contains(key) && !live.contains(value));
            todo.extend(values.map(|&(_, value)| value));
            if todo.is_empty() {
                return live;
            }
        }
    }
}

fn find<'gc>(root: &Root<'gc>, path: &Path) -> Option<Gc<'gc, Node<'gc>>> {
    let mut at = root.nodes[path.0]?;
    for &step in &path.1 {
        at = at.slot(step)?.get()?;
    }
    Some(at)
}

fn new_node<'gc, C: Collector>(mc: &Mutation<'gc, C>, id: Id, array: usize, log: &Log) -> Gc<'gc, Node<'gc>> {
    let array = (array > 0).then(|| mc.alloc_array(array, |_| GcCell::new(None)));
    let check = [u64::from(id), !u64::from(id), u64::from(id) * 7];
    let token = Token { id, log: Rc::clone(log) };
    mc.alloc(Node { token, slots: Default::default(), array, check })
}

fn apply<'gc, C: Collector>(
    op: &Op,
    mc: &Mutation<'gc, C>,
    root: &mut Root<'gc>,
    model: &mut Model,
    log: &Log,
) {
    match op {
        &Op::New { root: at, array, keep } => {
            let id = model.nodes.len() as Id;
            let node = new_node(mc, id, array, log);
            let mut entry = ModelNode { array, ..ModelNode::default() };
            if keep {
                Node::set(node, mc, 0, root.nodes[at]);
                entry.slots.extend(model.roots[at].map(|old| (0, old)));
            }
            model.nodes.push(entry);
            root.nodes[at] = Some(node);
            model.roots[at] = Some(id);
        }
        Op::Set { path, slot, root: from } => {
            if let Some(node) = find(root, path) {
                Node::set(node, mc, *slot, root.nodes[*from]);
            }
            set_in_model(model, path, *slot, model.roots[*from]);
        }
        Op::Clear { path, slot } => {
            if let Some(node) = find(root, path) {
                Node::set(node, mc, *slot, None);
            }
            set_in_model(model, path, *slot, None);
        }
        Op::Load { path, root: to } => {
            root.nodes[*to] = find(root, path);
            model.roots[*to] = model.find(path);
        }
        &Op::Forget { root: at } => {
            root.nodes[at] = None;
            model.roots[at] = None;
        }
        Op::Weak { path } => {
            if let Some(node) = find(root, path) {
                root.weak.push((node.token.id, GcWeak::new(mc, node)));
            }
        }
        Op::Ephemeron { key, value } => {
            if let (Some(key), Some(value)) = (find(root, key), find(root, value)) {
                root.ephemerons.push((key.token.id, value.token.id, Ephemeron::new(mc, key, value)));
                model.ephemerons.push((key.token.id, value.token.id));
            }
        }
        &Op::Garbage { count } => {
            for number in 0..count {
                mc.alloc([number as u64; 5]);
            }
        }
        Op::Collect => {}
    }
}

fn set_in_model(model: &mut Model, path: &Path, slot: usize, value: Option<Id>) {
    let Some(id) = model.find(path) else { return };
    let node = &mut model.nodes[id as usize];
    let Some(key) = node.key(slot) else { return };
    match value {
        Some(value) => node.slots.insert(key, value),
        None => node.slots.remove(&key),
    };
}

/// Compares all that can be reached.
fn compare(root: &Root<'_>, model: &Model, live: &BTreeSet<Id>) {
    let mut seen = BTreeMap::new();
    let mut todo = Vec::new();
    for (node, id) in root.nodes.iter().zip(model.roots) {
        assert_eq!(node.map(|node| node.token.id), id);
        todo.extend(*node);
    }
    for (key, value, ephemeron) in &root.ephemerons {
        let alive = live.contains(key);
        assert!(
            !alive || ephemeron.key().is_some_and(|node| node.token.id == *key),
            "ephemeron: the key is alive"
        );
        if let Some(node) = ephemeron.key().filter(|_| alive) {
            let found = ephemeron.get(node).expect("its key is alive");
            assert_eq!(found.token.id, *value);
            todo.push(*found);
        }
    }
    while let Some(node) = todo.pop() {
        let id = node.token.id;
        assert_eq!(node.check, [u64::from(id), !u64::from(id), u64::from(id) * 7], "a moved object is whole");
        if let Some(&before) = seen.get(&id) {
            assert!(Gc::ptr_eq(node, before), "node {id} is in two places");
            continue;
        }
        seen.insert(id, node);
        let entry = &model.nodes[id as usize];
        assert_eq!(node.array.map_or(0, |array| array.len()), entry.array);
        for slot in 0..5 {
            let found = node.slot(slot).and_then(GcCell::get);
            let expected = entry.key(slot).and_then(|key| entry.slots.get(&key).copied());
            assert_eq!(found.map(|node| node.token.id), expected);
            todo.extend(found);
        }
    }
    assert!(seen.keys().eq(live));
    for (id, weak) in &root.weak {
        match weak.upgrade() {
            Some(node) => assert_eq!(node.token.id, *id),
            None => assert!(!live.contains(id), "weak: the object is alive"),
        }
    }
}

/// Takes note of who has died; returns one that should not have.
fn too_early(log: &Log, live: &BTreeSet<Id>, dead: &mut BTreeSet<Id>) -> Option<Id> {
    let died: Vec<Id> = log.borrow_mut().drain(..).collect();
    died.iter().for_each(|&id| assert!(dead.insert(id), "node {id} was dropped twice"));
    died.into_iter().find(|id| live.contains(id))
}

/// Runs a program on a collector, so many operations between two pauses; says what is wrong, if anything died that should not have. The heap may
/// grow by so many bytes before all is collected.
fn run<C: Collector<Parent: Default>>(
    ops: &[Op],
    batch: usize,
    stress: bool,
    min_growth: usize,
) -> Result<(), String> {
    let log = Log::default();
    let mut model = Model::default();
    let config = GcConfig { stress, min_growth, nursery: 64 << 10, ..GcConfig::default() };
    let mut heap = Heap::<Root<'static>, C>::with_config(config, C::Parent::default(), |_| Root {
        nodes: [None; ROOTS],
        weak: Vec::new(),
        ephemerons: Vec::new(),
    });
    let mut dead: BTreeSet<Id> = BTreeSet::new();
    // The last batch is empty: it only looks.
    for ops in ops.chunks(batch).chain([&[][..]]) {
        let live = model.live();
        if let Some(id) = too_early(&log, &live, &mut dead) {
            // Nobody may look through a pointer any more, not even the heap, in which objects lie that are gone.
            std::mem::forget(heap);
            return Err(format!("{}: node {id} was collected and is alive", C::NAME));
        }
        heap.mutate(|mc, root| {
            compare(root, &model, &live);
            ops.iter().for_each(|op| apply(op, mc, root, &mut model, &log));
        });
        if ops.iter().any(|op| matches!(op, Op::Collect)) {
            heap.collect();
            let live = model.live();
            if let Some(id) = too_early(&log, &live, &mut dead) {
                std::mem::forget(heap);
                return Err(format!("{}: node {id} was collected and is alive", C::NAME));
            }
            let all: BTreeSet<Id> = (0..model.nodes.len() as Id).collect();
            assert_eq!(&all - &live, dead, "{}: all that is dead is collected", C::NAME);
        }
    }
    drop(heap);
    log.borrow_mut().drain(..).for_each(|id| assert!(dead.insert(id), "dropped twice"));
    assert_eq!(dead.len(), model.nodes.len(), "everything is dropped in the end");
    Ok(())
}

/// Either all is collected at nearly every pause, or hardly ever all: only then do the young become old by surviving.
fn growth() -> impl Strategy<Value = usize> {
    prop_oneof![Just(4 << 10), Just(1 << 20)]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn mark_sweep(ops in prop::collection::vec(op(), 1..120), batch in 1..9_usize, stress in any::<bool>(), growth in growth()) {
        run::<MarkSweep>(&ops, batch, stress, growth).unwrap();
    }

    #[test]
    fn semi_space(ops in prop::collection::vec(op(), 1..120), batch in 1..9_usize, stress in any::<bool>(), growth in growth()) {
        run::<SemiSpace>(&ops, batch, stress, growth).unwrap();
    }

    #[test]
    fn mark_compact(ops in prop::collection::vec(op(), 1..120), batch in 1..9_usize, stress in any::<bool>(), growth in growth()) {
        run::<MarkCompact>(&ops, batch, stress, growth).unwrap();
    }

    #[test]
    fn generational(ops in prop::collection::vec(op(), 1..120), batch in 1..9_usize, stress in any::<bool>(), growth in growth()) {
        run::<Generational>(&ops, batch, stress, growth).unwrap();
    }

    #[test]
    fn incremental(ops in prop::collection::vec(op(), 1..120), batch in 1..9_usize, stress in any::<bool>(), growth in growth()) {
        run::<Incremental>(&ops, batch, stress, growth).unwrap();
    }
}

/// The same programs without barriers: on the collectors that need them, some must fail.
fn fails_without_barrier<C: Collector<Parent: Default>>() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    WITHOUT_BARRIER.set(true);
    let mut runner = TestRunner::deterministic();
    let programs = prop::collection::vec(op(), 60..120);
    let caught = (0..500).any(|_| {
        let mut ops = programs.new_tree(&mut runner).expect("a program").current();
        // An array has no token, so nobody would notice that it is gone before somebody looks.
        for op in &mut ops {
            if let Op::New { array, .. } = op {
                *array = 0;
            }
        }
        // What a pointer to a place that was left leads to is still there, so looking is safe enough, and tells.
        !matches!(catch_unwind(AssertUnwindSafe(|| run::<C>(&ops, 6, true, 4 << 10))), Ok(Ok(())))
    });
    WITHOUT_BARRIER.set(false);
    assert!(caught, "{}: without barriers nothing went wrong", C::NAME);
}

#[test]
fn a_lost_barrier_of_the_generational_collector_is_caught() {
    fails_without_barrier::<Generational>();
}

/// While marking is under way, the only pointer to the end of a chain moves into an object that may be black: after so many slices.
/// Says whether the end of the chain died of it.
fn hide_behind_a_black_object(slices: usize) -> bool {
    let log = Log::default();
    let config = GcConfig { stress: true, ..GcConfig::default() };
    let mut heap = Heap::<Root<'static>, Incremental>::with_config(config, Default::default(), |_| Root {
        nodes: [None; ROOTS],
        weak: Vec::new(),
        ephemerons: Vec::new(),
    });
    const CHAIN: Id = 20;
    heap.mutate(|mc, root| {
        for id in 0..CHAIN {
            let node = new_node(mc, id, 0, &log);
            Node::set(node, mc, 0, root.nodes[0]);
            root.nodes[0] = Some(node);
        }
        root.nodes[1] = Some(new_node(mc, CHAIN, 0, &log));
    });
    (0..slices).for_each(|_| heap.mutate(|_, _| ()));
    heap.mutate(|mc, root| {
        let last_but_one = find(root, &Path(0, vec![0; CHAIN as usize - 2])).expect("a chain");
        let black = root.nodes[1].expect("it was set");
        Node::set(black, mc, 0, last_but_one.slots[0].get());
        Node::set(last_but_one, mc, 0, None);
    });
    heap.collect();
    let died = log.borrow().contains(&0);
    std::mem::forget(heap);
    died
}

#[test]
fn a_lost_barrier_of_the_incremental_collector_is_caught() {
    assert!(!(0..80).any(hide_behind_a_black_object), "with barriers nothing is lost");
    WITHOUT_BARRIER.set(true);
    let caught = (0..80).any(hide_behind_a_black_object);
    WITHOUT_BARRIER.set(false);
    assert!(caught, "without barriers nothing went wrong");
}

/// A young object is copied once in a collection, by however many ways it is met: of a long array that is new all is followed, and the part that was
/// written to once more.
#[test]
fn an_array_that_is_noted_twice_leads_to_one_copy() {
    let new = |root, array| Op::New { root, array, keep: false };
    let set = Op::Set { path: Path(0, vec![]), slot: 2, root: 1 };
    run::<Generational>(&[new(0, 1100), new(1, 0), set], 3, true, 1 << 20).unwrap();
}

/// The same of an object that becomes old in this collection, and so is noted as pointing to a young one.
#[test]
fn an_object_that_has_just_become_old_leads_to_one_copy() {
    let new = |root| Op::New { root, array: 0, keep: false };
    let set = Op::Set { path: Path(0, vec![]), slot: 0, root: 1 };
    // More than the eden holds: so there is one collection after each batch.
    let full = || Op::Garbage { count: 2000 };
    run::<Generational>(
        &[new(0), full(), Op::Clear { path: Path(0, vec![]), slot: 0 }, new(1), set, full()],
        3,
        false,
        1 << 20,
    )
    .unwrap();
}
