//! Circles found, barriers kept, panics survived.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use freestone_gc::counted::cycles::{Cc, Config, Cycles, Links, Slot, Visit};
use freestone_gc::links;
use freestone_kit::{Bins, Page};

/// Says when it is dropped.
struct Node {
    name: u32,
    log: Rc<RefCell<Vec<u32>>>,
    to: Slot<Vec<Cc<Node>>>,
}
links!(Node { to });

impl Drop for Node {
    fn drop(&mut self) {
        self.log.borrow_mut().push(self.name);
    }
}

#[derive(Default)]
struct World {
    log: Rc<RefCell<Vec<u32>>>,
    names: Cell<u32>,
}

impl World {
    fn node(&self, cycles: &Cycles) -> Cc<Node> {
        self.names.set(self.names.get() + 1);
        cycles.alloc(Node { name: self.names.get(), log: self.log.clone(), to: Slot::default() })
    }

    fn dropped(&self) -> Vec<u32> {
        let mut names = self.log.take();
        names.sort_unstable();
        names
    }

    /// `n` nodes in a circle; the first.
    fn ring(&self, cycles: &Cycles, n: u32) -> Cc<Node> {
        let first = self.node(cycles);
        let mut last = first.clone();
        for _ in 1..n {
            let next = self.node(cycles);
            last.to.borrow_mut().push(next.clone());
            last = next;
        }
        last.to.borrow_mut().push(first.clone());
        first
    }
}

fn by_hand() -> Cycles {
    Cycles::new_in(freestone_gc::counted::Global, Config::BY_HAND)
}

#[test]
fn what_is_no_circle_goes_at_once() {
    let (world, cycles) = (World::default(), by_hand());
    let one = world.node(&cycles);
    one.to.borrow_mut().push(world.node(&cycles));
    drop(one);
    assert_eq!(world.dropped(), [1, 2]);
}

#[test]
fn circles_go_with_all_that_they_keep_and_nothing_else() {
    let (world, cycles) = (World::default(), by_hand());
    let ring = world.ring(&cycles, 3);
    let tail = world.node(&cycles);
    ring.to.borrow_mut().push(tail.clone());
    ring.to.borrow_mut().push(world.node(&cycles));
    let other = world.ring(&cycles, 2);
    other.to.borrow_mut().push(ring.clone());
    cycles.collect();
    assert_eq!(world.dropped(), []);
    drop(ring);
    cycles.collect();
    assert_eq!(world.dropped(), [], "the other ring holds it");
    drop(other);
    assert_eq!(world.dropped(), []);
    cycles.collect();
    assert_eq!(world.dropped(), [1, 2, 3, 5, 6, 7]);
    assert_eq!(cycles.stats().objects, 1);
    drop(tail);
    assert_eq!(world.dropped(), [4]);
}

#[test]
fn an_object_may_hold_itself_often() {
    let (world, cycles) = (World::default(), by_hand());
    let one = world.node(&cycles);
    (0..5).for_each(|_| one.to.borrow_mut().push(one.clone()));
    cycles.collect();
    assert_eq!((world.dropped(), Cc::strong_count(&one)), (vec![], 6));
    drop(one);
    cycles.collect();
    assert_eq!(world.dropped(), [1]);
}

#[test]
fn slices_come_to_the_same_end() {
    let (world, cycles) = (World::default(), by_hand());
    let kept = world.ring(&cycles, 50);
    drop((world.ring(&cycles, 50), kept.clone()));
    let mut slices = 0;
    while !cycles.collect_slice(1) {
        slices += 1;
        assert!(slices < 10_000, "it comes to an end");
    }
    assert_eq!(world.dropped(), (51..=100).collect::<Vec<_>>());
    assert!(slices > 200);
    assert!(cycles.collect_until(std::time::Instant::now() + std::time::Duration::from_secs(3600)));
}

/// In every slice between, one thing is done that hides a live object from the collection if nobody marks it.
#[test]
fn what_moves_between_slices_is_not_missed() {
    for pause in 0..60 {
        let (world, cycles) = (World::default(), by_hand());
        let ring = world.ring(&cycles, 3);
        let hidden = world.node(&cycles);
        hidden.to.borrow_mut().push(world.node(&cycles));
        drop(hidden.clone());
        ring.to.borrow_mut().insert(0, hidden);
        drop(ring.clone());
        (0..pause).for_each(|_| _ = cycles.collect_slice(1));
        // A move without counting.
        let hidden = ring.to.borrow_mut().remove(0);
        cycles.collect();
        assert_eq!(hidden.to.borrow().len(), 1, "a live object was unlinked after {pause} steps");
        drop(ring);
        cycles.collect();
        assert_eq!(world.dropped(), [1, 2, 3]);
    }
}

#[test]
fn what_leaves_an_object_taken_apart_is_not_missed() {
    struct Outer {
        inner: Option<Cc<Node>>,
        _to: Slot<Option<Cc<Outer>>>,
    }
    links!(Outer { inner, _to });
    for pause in 0..40 {
        for way in 0..2 {
            let (world, cycles) = (World::default(), by_hand());
            let inner = world.ring(&cycles, 2);
            let mut outer = cycles.alloc(Outer { inner: Some(inner), _to: Slot::default() });
            drop(outer.clone());
            (0..pause).for_each(|_| _ = cycles.collect_slice(1));
            let inner = if way == 0 {
                Cc::get_mut(&mut outer).unwrap().inner.take()
            } else {
                Cc::try_unwrap(outer).ok().and_then(|outer| outer.inner)
            };
            cycles.collect();
            assert_eq!(inner.unwrap().to.borrow().len(), 1, "unlinked after {pause} steps");
        }
    }
}

#[test]
fn no_collection_looks_at_what_is_being_changed() {
    let cycles = by_hand();
    let mut one = cycles.alloc(vec![cycles.alloc(1)]);
    drop(one.clone());
    let changing = Cc::get_mut(&mut one).unwrap();
    cycles.collect();
    changing.push(cycles.alloc(2));
    cycles.collect();
    changing.push(cycles.alloc(3));
    assert_eq!(one.len(), 3);
}

#[test]
fn a_borrowed_slot_is_left_alone() {
    let (world, cycles) = (World::default(), by_hand());
    let one = world.ring(&cycles, 2);
    drop(one.clone());
    let mut changing = one.to.borrow_mut();
    cycles.collect();
    let moved = changing.pop().unwrap();
    cycles.collect();
    drop(changing);
    assert_eq!((moved.name, world.dropped()), (2, vec![]));
    drop((one, moved));
    cycles.collect();
    assert_eq!(world.dropped(), [1, 2]);
}

#[test]
fn weak_handles_find_no_garbage() {
    let (world, cycles) = (World::default(), by_hand());
    let ring = world.ring(&cycles, 4);
    let weak = Cc::downgrade(&ring);
    drop(ring);
    drop(weak.upgrade().expect("nobody has collected"));
    while cycles.stats().garbage == 0 {
        assert!(!cycles.collect_slice(1));
    }
    assert!(weak.upgrade().is_none(), "while the others are still there");
    cycles.collect();
    assert_eq!((world.dropped(), weak.clone().upgrade().is_none()), (vec![1, 2, 3, 4], true));
}

#[test]
fn a_weak_handle_upgraded_between_slices_saves_the_object() {
    for pause in 0..30 {
        let (world, cycles) = (World::default(), by_hand());
        let ring = world.ring(&cycles, 2);
        let weak = Cc::downgrade(&ring);
        drop(ring);
        (0..pause).for_each(|_| _ = cycles.collect_slice(1));
        let Some(ring) = weak.upgrade() else { continue };
        cycles.collect();
        assert_eq!(ring.to.borrow().len(), 1, "unlinked after {pause} steps");
        assert_eq!(world.dropped(), []);
    }
}

#[test]
fn destructors_see_their_neighbours_whole() {
    struct Looks {
        name: String,
        sure: Option<Cc<Looks>>,
        back: Slot<Option<Cc<Looks>>>,
        seen: Rc<RefCell<Vec<String>>>,
    }
    links!(Looks { sure, back });
    impl Drop for Looks {
        fn drop(&mut self) {
            let next = self.sure.as_ref().map_or("nobody", |next| &next.name);
            self.seen.borrow_mut().push(format!("{} sees {next}", self.name));
            assert!(self.back.borrow().is_none());
        }
    }
    let cycles = by_hand();
    let seen = Rc::default();
    let make =
        |name: &str, sure| Looks { name: name.into(), sure, back: Slot::default(), seen: Rc::clone(&seen) };
    let old = cycles.alloc(make("old", None));
    let young = cycles.alloc(make("young", Some(old.clone())));
    old.back.set(Some(young));
    drop(old);
    cycles.collect();
    assert_eq!(seen.borrow()[..], ["young sees old", "old sees nobody"]);
}

#[test]
fn a_destructor_may_save_a_neighbour_and_use_the_heap() {
    thread_local!(static SAVED: RefCell<Vec<Cc<Saves>>> = const { RefCell::new(Vec::new()) });
    struct Saves {
        cycles: Rc<Cycles>,
        sure: Option<Cc<Saves>>,
        back: Slot<Option<Cc<Saves>>>,
    }
    links!(Saves { sure, back });
    impl Drop for Saves {
        fn drop(&mut self) {
            self.cycles.collect();
            drop(self.cycles.alloc(1));
            if let Some(neighbour) = &self.sure {
                SAVED.with_borrow_mut(|saved| saved.push(neighbour.clone()));
            }
        }
    }
    let cycles = Rc::new(by_hand());
    let make = |sure| cycles.alloc(Saves { cycles: cycles.clone(), sure, back: Slot::default() });
    let old = make(None);
    old.back.set(Some(make(Some(old.clone()))));
    drop(old);
    cycles.collect();
    let saved = SAVED.take();
    assert_eq!((saved.len(), Cc::strong_count(&saved[0]), cycles.stats().objects), (1, 1, 1));
    assert!(saved[0].back.borrow().is_none(), "it was garbage, and so its slots are empty");
    drop(saved);
    assert_eq!(cycles.stats().objects, 0);
}

#[test]
fn panics_in_destructors_and_visits_are_survived() {
    struct Panics {
        when: Rc<Cell<u32>>,
        to: Slot<Option<Cc<Panics>>>,
    }
    impl Links for Panics {
        fn links(&self, to: &mut Visit<'_>) {
            let left = self.when.get();
            self.when.set(left.wrapping_sub(1));
            assert!(left != 0, "on purpose, in a visit");
            to.visit(&self.to);
        }
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            let panics = self.when.get() == 1000;
            if panics {
                self.when.set(u32::MAX);
                panic!("on purpose, in a destructor");
            }
        }
    }
    // The visits of a collection; then one after the second of which a destructor panics.
    for at in (0..6).chain([1000, 1005, 1006]) {
        let cycles = by_hand();
        let when = Rc::new(Cell::new(u32::MAX));
        let make = || cycles.alloc(Panics { when: when.clone(), to: Slot::default() });
        let kept = make();
        let ring = make();
        ring.to.set(Some(make()));
        ring.to.borrow().as_ref().unwrap().to.set(Some(ring.clone()));
        kept.to.set(Some(make()));
        drop((ring, kept.clone()));
        when.set(at);
        let first = catch_unwind(AssertUnwindSafe(|| cycles.collect()));
        assert!(first.is_err() || at > 6);
        when.set(u32::MAX);
        cycles.collect();
        cycles.collect();
        assert_eq!(cycles.stats().objects, 2, "panic {at}");
        assert!(kept.to.borrow().is_some());
    }
}

#[test]
fn a_long_chain_needs_no_stack() {
    let n = if cfg!(miri) { 500 } else { 300_000 };
    struct Link(#[allow(dead_code, reason = "held")] Option<Cc<Link>>, Slot<Option<Cc<Link>>>);
    links!(Link { 0, 1 });
    let work = move || {
        let cycles = by_hand();
        let chain = || (0..n).fold(None, |next, _| Some(cycles.alloc(Link(next, Slot::default()))));
        drop(chain());
        assert_eq!(cycles.stats().objects, 0);
        // The same as a circle: the last one holds the first.
        let last = cycles.alloc(Link(None, Slot::default()));
        let first = (0..n).fold(last.clone(), |next, _| cycles.alloc(Link(Some(next), Slot::default())));
        last.1.set(Some(first));
        drop(last);
        cycles.collect();
        assert_eq!(cycles.stats().objects, 0);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn lies_about_handles_cost_links_not_memory() {
    /// Reports a handle that it does not have, and its own thrice.
    struct Liar {
        to: Slot<Option<Cc<Liar>>>,
        others: Rc<RefCell<Vec<Cc<Liar>>>>,
    }
    impl Links for Liar {
        fn links(&self, to: &mut Visit<'_>) {
            (0..3).for_each(|_| to.visit(&self.to));
            if let Ok(others) = self.others.try_borrow() {
                others.iter().for_each(|other| to.visit(other));
            }
        }
    }
    for pause in 0..40 {
        let cycles = by_hand();
        let others: Rc<RefCell<Vec<Cc<Liar>>>> = Rc::default();
        let make = || cycles.alloc(Liar { to: Slot::default(), others: others.clone() });
        let (one, two) = (make(), make());
        one.to.set(Some(two.clone()));
        two.to.set(Some(one.clone()));
        others.borrow_mut().push(two.clone());
        drop(two);
        (0..pause).for_each(|_| _ = cycles.collect_slice(1));
        cycles.collect();
        assert!(Cc::strong_count(&one) >= 1);
        let other = others.borrow_mut().pop().unwrap();
        _ = other.to.borrow().is_some();
        drop((one, other));
        cycles.collect();
    }
}

#[test]
fn collections_begin_by_themselves() {
    let world = World::default();
    let cycles = Cycles::new_in(freestone_gc::counted::Global, Config::DEFAULT.candidates(100).units(50));
    for _ in 0..1000 {
        drop(world.ring(&cycles, 3));
    }
    let stats = cycles.stats();
    assert!(stats.objects < 1200 && stats.collections > 3, "{stats:?}");
    drop(cycles);
    assert_eq!(world.dropped().len(), 3000, "the last collection comes with the end");
}

#[test]
fn objects_outlive_the_family_and_stay_in_their_allocator() {
    let cycles = Cycles::new_in(Bins::new(Page), Config::BY_HAND);
    let one = cycles.alloc(Slot::new(vec![cycles.alloc(1), cycles.alloc(2)]));
    let weak = Cc::downgrade(&one);
    drop(cycles);
    assert_eq!(one.borrow().iter().map(|it| **it).sum::<i32>(), 3);
    drop(one);
    assert!(weak.upgrade().is_none());
}

#[test]
fn families_do_not_mix_their_circles() {
    let world = World::default();
    let (here, there) = (by_hand(), by_hand());
    let one = world.node(&here);
    let two = world.node(&there);
    one.to.borrow_mut().push(two.clone());
    two.to.borrow_mut().push(one.clone());
    drop((one, two));
    here.collect();
    there.collect();
    assert_eq!(world.dropped(), [], "each family takes the other's handles for roots");
}

#[test]
fn copies_are_made_of_what_is_shared() {
    let cycles = by_hand();
    let mut one = cycles.alloc(vec![1]);
    let weak = Cc::downgrade(&one);
    Cc::make_mut(&mut one).push(2);
    assert!(weak.upgrade().is_none(), "the old one went with its last handle");
    let other = one.clone();
    Cc::make_mut(&mut one).push(3);
    assert_eq!((one.len(), other.len()), (3, 2));
    assert_eq!(Cc::try_unwrap(one).unwrap(), [1, 2, 3]);
}
