//! gc-arena.

use gc_arena::lock::Lock;
use gc_arena::{Arena, Collect, Gc, Mutation, Rootable};

use crate::measure::{Figures, Taken};
use crate::program::{Context, Program, Roots};

#[derive(Collect)]
#[collect(no_drop)]
pub struct Links<'gc> {
    value: u64,
    a: Lock<Option<Gc<'gc, Links<'gc>>>>,
    b: Lock<Option<Gc<'gc, Links<'gc>>>>,
    back: Lock<Option<Gc<'gc, Links<'gc>>>>,
}

struct Within<'gc, 'a>(&'a Mutation<'gc>);

macro_rules! set {
    ($self:ident, $node:ident.$field:ident, $to:expr) => {
        gc_arena::barrier::field!(Gc::write($self.0, *$node), Links, $field).unlock().set($to)
    };
}

impl<'gc> Context for Within<'gc, '_> {
    type Node = Gc<'gc, Links<'gc>>;

    fn make(&self, value: u64, a: Option<Self::Node>, b: Option<Self::Node>) -> Self::Node {
        Gc::new(self.0, Links { value, a: Lock::new(a), b: Lock::new(b), back: Lock::new(None) })
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
        set!(self, node.a, to);
    }

    fn set_b(&self, node: &Self::Node, to: Option<Self::Node>) {
        set!(self, node.b, to);
    }

    fn back(&self, node: &Self::Node) -> Option<Self::Node> {
        node.back.get()
    }

    fn set_back(&self, node: &Self::Node, to: Option<&Self::Node>) {
        set!(self, node.back, to.copied());
    }
}

pub fn run<P: Program>(mut program: P) -> Option<Figures> {
    let mut arena = Arena::<Rootable![Roots<Gc<'_, Links<'_>>>]>::new(|_| Vec::new());
    let mut taken = Taken::new();
    while taken.step(|| {
        let more = arena.mutate_root(|mutation, roots| program.step(&Within(mutation), roots));
        arena.collect_debt();
        more
    }) {}
    drop(arena);
    Some(taken.figures())
}
