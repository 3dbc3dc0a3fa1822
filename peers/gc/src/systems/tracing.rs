//! Our tracing collectors: one source for all.

use freestone_gc::{Collector, Gc, GcCell, Heap, Mutation, Trace};

use crate::measure::{Figures, Taken};
use crate::program::{Context, Program};

#[derive(Trace)]
pub struct Links<'gc> {
    value: u64,
    a: GcCell<Option<Gc<'gc, Links<'gc>>>>,
    b: GcCell<Option<Gc<'gc, Links<'gc>>>>,
    back: GcCell<Option<Gc<'gc, Links<'gc>>>>,
}

struct Within<'gc, 'a, C: Collector>(&'a Mutation<'gc, C>);

impl<'gc, C: Collector> Context for Within<'gc, '_, C> {
    type Node = Gc<'gc, Links<'gc>>;

    fn make(&self, value: u64, a: Option<Self::Node>, b: Option<Self::Node>) -> Self::Node {
        self.0.alloc(Links { value, a: GcCell::new(a), b: GcCell::new(b), back: GcCell::new(None) })
    }

    fn value(&self, node: &Self::Node) -> u64 {
        node.value
    }

    fn with_a<R>(&self, node: &Self::Node, look: impl FnOnce(Option<&Self::Node>) -> R) -> R {
        look(node.a.get().as_ref())
    }

    fn with_b<R>(&self, node: &Self::Node, look: impl FnOnce(Option<&Self::Node>) -> R) -> R {
        look(node.b.get().as_ref())
    }

    fn set_a(&self, node: &Self::Node, to: Option<Self::Node>) {
        node.set(self.0, |node| &node.a, to);
    }

    fn set_b(&self, node: &Self::Node, to: Option<Self::Node>) {
        node.set(self.0, |node| &node.b, to);
    }

    fn back(&self, node: &Self::Node) -> Option<Self::Node> {
        node.back.get()
    }

    fn set_back(&self, node: &Self::Node, to: Option<&Self::Node>) {
        node.set(self.0, |node| &node.back, to.copied());
    }
}

pub fn run<C: Collector, P: Program>(mut program: P) -> Option<Figures>
where
    C::Parent: Default,
{
    let mut heap = Heap::<Vec<Option<Gc<'static, Links<'static>>>>, C>::new(|_| Vec::new());
    let mut taken = Taken::new();
    while taken.step(|| heap.mutate(|mutation, roots| program.step(&Within(mutation), roots))) {}
    if std::env::var_os("PEER_GC_STATS").is_some() {
        eprintln!("{:?}", heap.stats());
    }
    drop(heap);
    Some(taken.figures())
}
