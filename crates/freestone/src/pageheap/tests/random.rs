//! Random sequences of operations, some of them while the system purges, releases or moves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use freestone_sys::sim::{CallKind, Simulated};
use proptest::prelude::*;

use super::super::*;
use super::away::Meanwhile;
use super::{checked, dirty_pages, holds, reads_as_zeros, write};

#[derive(Clone, Debug)]
enum Step {
    Slab(u8),
    Large {
        pages: usize,
        align: u32,
        zeroed: bool,
    },
    Free(usize),
    /// Frees, and asks for as much again.
    Again(usize, bool),
    Grow(usize, usize),
    Shrink(usize, usize),
    MoveGrow(usize, usize),
    Purge(usize),
    Refuse(u64, Option<CallKind>),
    /// From now on blocks were hardly touched, or all over.
    Untouched(bool),
    /// From now on long free spans give up their addresses.
    Tight,
    /// To be taken while the system purges, releases or moves the next time.
    Meanwhile(Vec<Step>),
}

fn simple_steps() -> impl Strategy<Value = Step> {
    let pages = prop_oneof![1..70usize, 60..600usize, 3000..5000usize];
    let kind = prop_oneof![
        Just(None),
        Just(Some(CallKind::Map)),
        Just(Some(CallKind::Commit)),
        Just(Some(CallKind::Purge)),
        Just(Some(CallKind::Release)),
        Just(Some(CallKind::Move)),
    ];
    prop_oneof![
        4 => (1..freestone_base::CLASS_COUNT as u8).prop_map(Step::Slab),
        4 => (pages, 0..24u32, any::<bool>()).prop_map(|(pages, align, zeroed)| Step::Large { pages, align, zeroed }),
        6 => any::<usize>().prop_map(Step::Free),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, zeroed)| Step::Again(which, zeroed)),
        2 => (any::<usize>(), 1..300usize).prop_map(|(which, more)| Step::Grow(which, more)),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(which, pages)| Step::Shrink(which, pages)),
        2 => (any::<usize>(), 1..300usize).prop_map(|(which, more)| Step::MoveGrow(which, more)),
        1 => (1..2000usize).prop_map(Step::Purge),
        2 => any::<bool>().prop_map(Step::Untouched),
        2 => (1..5u64, kind).prop_map(|(n, kind)| Step::Refuse(n, kind)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let meanwhile = prop::collection::vec(simple_steps(), 1..6).prop_map(Step::Meanwhile);
    let step = prop_oneof![40 => simple_steps(), 3 => meanwhile, 1 => Just(Step::Tight)];
    prop::collection::vec(step, 1..60)
}

/// The machine's, or longer ones than our pages.
fn os_pages() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => Just(16 << 10), 1 => Just(64 << 10)]
}

/// What is in use: the span, its tag, and how many of its pages bear it.
struct Held {
    span: SpanRef,
    tag: u64,
    marked: usize,
}

struct World {
    heap: PageHeap<Meanwhile>,
    held: Mutex<Vec<Held>>,
    tag: Mutex<u64>,
}

impl World {
    fn hold(&self, span: Option<SpanRef>) {
        let mut tag = self.tag.lock().unwrap();
        *tag += 1 << 32;
        if let Some(span) = span {
            assert!(!span.is_zeroed() || reads_as_zeros(span));
            write(span, *tag);
            self.held.lock().unwrap().push(Held { span, tag: *tag, marked: span.pages().0 });
        }
    }

    /// Takes one out that is in use; the lock on them is not held while the page heap works.
    fn pick(&self, which: usize, state: Option<SpanState>) -> Option<Held> {
        let mut held = self.held.lock().unwrap();
        let suits = |one: &Held| state.is_none_or(|state| one.span.state() == state);
        let suitable: Vec<_> = (0..held.len()).filter(|&n| suits(&held[n])).collect();
        let chosen = *suitable.get(which.checked_rem(suitable.len())?)?;
        Some(held.swap_remove(chosen))
    }

    fn pick_large(&self, which: usize) -> Option<Held> {
        self.pick(which, Some(SpanState::Large))
    }

    fn keep(&self, one: Held) {
        self.held.lock().unwrap().push(one);
    }

    fn free(&self, which: usize) -> Option<usize> {
        let one = self.pick(which, None)?;
        assert!(holds(one.span, one.marked, one.tag));
        let pages = one.span.pages().0;
        if which.is_multiple_of(2) || !self.heap.lay_ready(one.span.first_block()) {
            self.heap.free(one.span);
        }
        Some(pages)
    }

    fn take_step(self: &Arc<Self>, step: Step) {
        match step {
            Step::Slab(class) => self.hold(self.heap.alloc_slab(ClassId(class))),
            Step::Large { pages, align, zeroed } => {
                let bytes = pages * PAGE_SIZE - 3;
                let ready = if zeroed || align > 6 { None } else { self.heap.take_ready(bytes, 0, || 0) };
                let span = ready.or_else(|| self.heap.alloc_large(bytes, 1 << align, zeroed));
                // Where blocks are hardly touched, some get more.
                let long_enough = |span: SpanRef| (pages..=2 * pages).contains(&span.pages().0);
                let fits = |span: SpanRef| span.start().is_multiple_of(1 << align) && long_enough(span);
                assert!(span.is_none_or(fits));
                assert!(span.is_none_or(|span| span.is_zeroed() || !zeroed));
                self.hold(span);
            }
            Step::Free(which) => drop(self.free(which)),
            Step::Again(which, zeroed) => {
                if let Some(pages) = self.free(which) {
                    let bytes = pages * PAGE_SIZE;
                    let ready = if zeroed { None } else { self.heap.take_ready(bytes, 0, || 0) };
                    self.hold(ready.or_else(|| self.heap.alloc_large(bytes, 1, zeroed)));
                }
            }
            Step::Grow(which, more) => {
                if let Some(one) = self.pick_large(which) {
                    let pages = one.span.pages().0 + more;
                    if self.heap.grow_in_place(one.span, PageCount(pages)) {
                        assert_eq!(one.span.pages().0, pages);
                    }
                    self.keep(one);
                }
            }
            Step::Shrink(which, pages) => {
                if let Some(mut one) = self.pick_large(which) {
                    let pages = 1 + pages % one.span.pages().0;
                    if self.heap.shrink(one.span, PageCount(pages)) {
                        one.marked = one.marked.min(pages);
                    }
                    self.keep(one);
                }
            }
            Step::MoveGrow(which, more) => {
                if let Some(mut one) = self.pick_large(which) {
                    let bytes = one.span.bytes() + more * PAGE_SIZE;
                    if let Some(span) = self.heap.move_grow(one.span, bytes, 0) {
                        assert_eq!(span.bytes(), bytes);
                        one.span = span;
                    }
                    self.keep(one);
                }
            }
            Step::Purge(most) => {
                // The last OS page goes whole.
                let rest = (self.heap.os_page_size() / PAGE_SIZE).saturating_sub(1);
                assert!(self.heap.purge(PageCount(most)).0 <= most + rest);
            }
            Step::Untouched(untouched) => self.heap.system().simulated.seem_untouched(untouched),
            Step::Refuse(n, kind) => self.heap.system().simulated.refuse_nth(n, kind),
            Step::Tight => {
                let system = &self.heap.system().simulated;
                system.refuse_all(true);
                assert!(self.heap.alloc_large(1 << 40, 1, false).is_none());
                system.refuse_all(false);
            }
            Step::Meanwhile(steps) => {
                let world = self.clone();
                self.heap.system().next(move || {
                    world.heap.system().about_to_wait();
                    for step in steps {
                        world.take_step(step);
                        checked(&world.heap);
                    }
                });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_invariants_and_the_contents(steps in steps(), sparse in any::<bool>(), os_page in os_pages()) {
        let heap = PageHeap::new(Meanwhile::new(Simulated::with_os_pages(os_page)));
        let world = Arc::new(World { heap, held: Mutex::default(), tag: Mutex::default() });
        if sparse {
            // Only in a large heap blocks are looked at.
            world.heap.look_at_blocks();
            world.heap.system().simulated.seem_untouched(true);
            world.hold(world.heap.alloc_large(2000 * PAGE_SIZE, 1, false));
        }
        for step in steps {
            world.take_step(step);
            world.heap.system().join();
            let stats = checked(&world.heap);
            let held = world.held.lock().unwrap();
            let distinct: HashSet<_> = held.iter().map(|one| one.span.start()).collect();
            prop_assert_eq!(distinct.len(), held.len());
            let used: usize = held.iter().map(|one| one.span.bytes()).sum();
            prop_assert_eq!((stats.slabs + stats.large, stats.used_peak >= used), (used, true));
        }
        world.heap.system().forget();
        while world.free(0).is_some() {
            checked(&world.heap);
        }
        world.heap.system().simulated.forgive();
        let stats = world.heap.stats();
        prop_assert_eq!(stats.slabs + stats.large, 0);
        world.heap.purge_all();
        // A parked span and its neighbour may share a longer OS page, which then stays.
        prop_assert!(dirty_pages(&world.heap) == 0 || world.heap.os_page_size() > PAGE_SIZE);
    }
}
