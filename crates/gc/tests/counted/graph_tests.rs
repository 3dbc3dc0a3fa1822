//! Random graphs that change between slices, against a model; and the same with the barrier left out, which must be found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use freestone_gc::counted::cycles::{Cc, Config, Cycles, Links, Slot, Visit, WeakCc};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestError, TestRng, TestRunner};

/// How handles are kept in an object.
trait Keep: Default + Links + 'static {
    fn change<R>(&self, change: impl FnOnce(&mut Vec<Cc<Node<Self>>>) -> R) -> R;
    fn look<R>(&self, look: impl FnOnce(&[Cc<Node<Self>>]) -> R) -> R;
}

/// As it should be.
#[derive(Default)]
struct Kept(Slot<Vec<Cc<Node<Kept>>>>);

impl Links for Kept {
    fn links(&self, to: &mut Visit<'_>) {
        to.visit(&self.0);
    }
}

impl Keep for Kept {
    fn change<R>(&self, change: impl FnOnce(&mut Vec<Cc<Node<Kept>>>) -> R) -> R {
        change(&mut self.0.borrow_mut())
    }

    fn look<R>(&self, look: impl FnOnce(&[Cc<Node<Kept>>]) -> R) -> R {
        look(&self.0.borrow())
    }
}

/// Without the barrier: the slot holds a pocket, and what is moved out of the pocket is not marked.
#[derive(Default)]
struct Unmarked(Slot<Option<Pocket>>);

type Pocket = Box<Inside>;

#[derive(Default)]
struct Inside(RefCell<Vec<Cc<Node<Unmarked>>>>);

impl Links for Inside {
    fn links(&self, to: &mut Visit<'_>) {
        to.visit(&self.0.borrow()[..]);
    }
}

impl Links for Unmarked {
    fn links(&self, to: &mut Visit<'_>) {
        to.visit(&self.0);
    }
}

impl Keep for Unmarked {
    fn change<R>(&self, change: impl FnOnce(&mut Vec<Cc<Node<Unmarked>>>) -> R) -> R {
        if self.0.borrow().is_none() {
            self.0.set(Some(Pocket::default()));
        }
        change(&mut self.0.borrow().as_ref().unwrap().0.borrow_mut())
    }

    fn look<R>(&self, look: impl FnOnce(&[Cc<Node<Unmarked>>]) -> R) -> R {
        match &*self.0.borrow() {
            Some(pocket) => look(&pocket.0.borrow()),
            None => look(&[]),
        }
    }
}

struct Node<K: Keep> {
    name: u32,
    dropped: Rc<RefCell<BTreeSet<u32>>>,
    to: K,
}

impl<K: Keep> Links for Node<K> {
    fn links(&self, to: &mut Visit<'_>) {
        to.visit(&self.to);
    }
}

impl<K: Keep> Drop for Node<K> {
    fn drop(&mut self) {
        assert!(self.dropped.borrow_mut().insert(self.name), "dropped twice");
    }
}

/// What a program does. Numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    New,
    /// A copy of a root into an object.
    Link(usize, usize),
    /// A root itself into an object.
    MoveIn(usize, usize),
    /// A handle out of an object, as a root.
    MoveOut(usize, usize),
    /// From one object to another.
    Move(usize, usize, usize),
    Cut(usize, usize),
    DropRoot(usize),
    Weaken(usize),
    Upgrade(usize),
    Slice(usize),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..1000_usize;
    prop_oneof![
        4 => Just(Step::New),
        6 => (n.clone(), n.clone()).prop_map(|(a, b)| Step::Link(a, b)),
        3 => (n.clone(), n.clone()).prop_map(|(a, b)| Step::MoveIn(a, b)),
        4 => (n.clone(), n.clone()).prop_map(|(a, b)| Step::MoveOut(a, b)),
        3 => (n.clone(), n.clone(), n.clone()).prop_map(|(a, b, c)| Step::Move(a, b, c)),
        2 => (n.clone(), n.clone()).prop_map(|(a, b)| Step::Cut(a, b)),
        5 => n.clone().prop_map(Step::DropRoot),
        1 => n.clone().prop_map(Step::Weaken),
        1 => n.prop_map(Step::Upgrade),
        8 => (1..6_usize).prop_map(Step::Slice),
        1 => Just(Step::Collect),
    ]
}

/// The program and its model, side by side.
struct Pair<K: Keep> {
    cycles: Cycles,
    roots: Vec<Cc<Node<K>>>,
    weak: Vec<(u32, WeakCc<Node<K>>)>,
    dropped: Rc<RefCell<BTreeSet<u32>>>,
    edges: BTreeMap<u32, Vec<u32>>,
}

/// One of so many.
fn pick(number: usize, of: usize) -> Option<usize> {
    (of != 0).then(|| number % of)
}

impl<K: Keep> Pair<K> {
    fn new() -> Self {
        let cycles = Cycles::new_in(freestone_gc::counted::Global, Config::BY_HAND);
        Pair { cycles, roots: vec![], weak: vec![], dropped: Rc::default(), edges: BTreeMap::new() }
    }

    fn reachable(&self) -> BTreeSet<u32> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<u32> = self.roots.iter().map(|root| root.name).collect();
        while let Some(name) = left.pop() {
            if seen.insert(name) {
                left.extend(&self.edges[&name]);
            }
        }
        seen
    }

    /// A root, or an object that a root has a handle to.
    fn place(&self, number: usize) -> Option<Cc<Node<K>>> {
        let root = &self.roots[pick(number, self.roots.len())?];
        if number.is_multiple_of(3) {
            return Some(root.clone());
        }
        let next = root.to.look(|to| pick(number / 3, to.len()).map(|at| to[at].clone()));
        Some(next.unwrap_or_else(|| root.clone()))
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::New => {
                let name = u32::try_from(self.edges.len()).unwrap();
                let node = Node { name, dropped: self.dropped.clone(), to: K::default() };
                self.roots.push(self.cycles.alloc(node));
                self.edges.insert(name, vec![]);
            }
            Step::Link(from, to) => {
                if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
                    self.put(&from, to);
                }
            }
            Step::MoveIn(from, to) => {
                if let Some(root) = pick(to, self.roots.len())
                    && let Some(from) = self.place(from)
                {
                    let root = self.roots.swap_remove(root);
                    self.put(&from, root);
                }
            }
            Step::MoveOut(from, at) => {
                if let Some(root) = pick(from, self.roots.len())
                    && let Some(handle) = self.get_out(root, at)
                {
                    self.roots.push(handle);
                }
            }
            Step::Move(from, at, to) => {
                if let Some(root) = pick(from, self.roots.len())
                    && let Some(handle) = self.get_out(root, at)
                {
                    let to = &self.roots[pick(to, self.roots.len()).unwrap()];
                    self.edges.get_mut(&to.name).unwrap().push(handle.name);
                    to.to.change(|to| to.push(handle));
                }
            }
            Step::Cut(from, at) => {
                if let Some(root) = pick(from, self.roots.len()) {
                    drop(self.get_out(root, at));
                }
            }
            Step::DropRoot(root) => {
                if let Some(root) = pick(root, self.roots.len()) {
                    drop(self.roots.swap_remove(root));
                }
            }
            Step::Weaken(root) => {
                if let Some(root) = pick(root, self.roots.len()) {
                    self.weak.push((self.roots[root].name, Cc::downgrade(&self.roots[root])));
                }
            }
            Step::Upgrade(weak) => {
                if let Some(weak) = pick(weak, self.weak.len()) {
                    let (name, weak) = &self.weak[weak];
                    let up = weak.upgrade();
                    assert!(up.is_some() || !self.reachable().contains(name), "{name} is live");
                    self.roots.extend(up);
                }
            }
            Step::Slice(units) => _ = self.cycles.collect_slice(units),
            Step::Collect => {
                self.cycles.collect();
                let live = self.reachable();
                let dropped = self.dropped.borrow();
                let missed: Vec<_> = self
                    .edges
                    .keys()
                    .filter(|name| !live.contains(name) && !dropped.contains(name))
                    .collect();
                assert!(missed.is_empty(), "garbage that was not collected: {missed:?}");
            }
        }
    }

    fn put(&mut self, from: &Cc<Node<K>>, to: Cc<Node<K>>) {
        self.edges.get_mut(&from.name).unwrap().push(to.name);
        from.to.change(|handles| handles.push(to));
    }

    /// A handle out of what a root leads to, without counting it.
    fn get_out(&mut self, root: usize, at: usize) -> Option<Cc<Node<K>>> {
        let root = &self.roots[root];
        let at = pick(at, root.to.look(<[_]>::len))?;
        self.edges.get_mut(&root.name).unwrap().swap_remove(at);
        Some(root.to.change(|to| to.swap_remove(at)))
    }

    /// Everything that is reachable is there, with the handles that it should have.
    fn compare(&self) {
        let mut seen = BTreeSet::new();
        let mut left: Vec<Cc<Node<K>>> = self.roots.clone();
        while let Some(node) = left.pop() {
            assert!(!self.dropped.borrow().contains(&node.name), "{} is live", node.name);
            if seen.insert(node.name) {
                let names = node.to.look(|to| to.iter().map(|it| it.name).collect::<Vec<_>>());
                assert_eq!(names, self.edges[&node.name], "the handles of {}", node.name);
                node.to.look(|to| left.extend(to.iter().cloned()));
            }
        }
    }
}

/// What is looked at on the way must not touch the graph: comparing clones handles, which marks them.
fn program<K: Keep>(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut pair = Pair::<K>::new();
    for step in steps {
        pair.apply(step);
        assert!(pair.reachable().is_disjoint(&pair.dropped.borrow()), "a live object was dropped");
    }
    pair.apply(&Step::Collect);
    pair.compare();
    pair.roots.clear();
    pair.apply(&Step::Collect);
    assert_eq!(pair.cycles.stats().objects, 0);
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    let runs = Runs { cases, failure_persistence: None, max_shrink_iters: 0, ..Runs::default() };
    TestRunner::new_with_rng(runs, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn live_objects_stay_whole_and_all_garbage_goes() {
    let cases = if cfg!(miri) { 8 } else { 400 };
    let steps = prop::collection::vec(step(), 1..200);
    runner(cases).run(&steps, |steps| program::<Kept>(&steps)).unwrap();
}

#[test]
fn a_barrier_left_out_is_found() {
    if cfg!(miri) {
        return;
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let steps = prop::collection::vec(step(), 1..200);
    let result = runner(400).run(&steps, |steps| program::<Unmarked>(&steps));
    std::panic::set_hook(hook);
    let Err(TestError::Fail(reason, _)) = result else { panic!("without a barrier nothing went wrong") };
    let reason = reason.to_string();
    assert!(reason.contains("the handles of") || reason.contains("live"), "{reason}");
}
