//! Pointers that need no closure around them, and whose cycles are collected.
#![allow(non_local_definitions, reason = "as gc's derive writes them")]

macro_rules! cyclic {
    ($name:ident, $handle:ty, $cell:ident, [$($import:tt)*],
     new($context:ident, $node:ident) $make:expr, run($program:ident) $run:expr) => {
        pub mod $name {
            $($import)*

            use crate::measure::Figures;
            use crate::program::{Context, Program};

            type Handle = $handle;

            impl Context for Free {
                type Node = Handle;

                fn make(&self, value: u64, a: Option<Handle>, b: Option<Handle>) -> Handle {
                    let $context = self;
                    let $node = Node { value, a: $cell::new(a), b: $cell::new(b), back: $cell::new(None) };
                    $make
                }

                fn value(&self, node: &Handle) -> u64 {
                    node.value
                }

                fn with_a<R>(&self, node: &Handle, look: impl FnOnce(Option<&Handle>) -> R) -> R {
                    look(node.a.borrow().as_ref())
                }

                fn with_b<R>(&self, node: &Handle, look: impl FnOnce(Option<&Handle>) -> R) -> R {
                    look(node.b.borrow().as_ref())
                }

                fn set_a(&self, node: &Handle, to: Option<Handle>) {
                    let old = std::mem::replace(&mut *node.a.borrow_mut(), to);
                    drop(old);
                }

                fn set_b(&self, node: &Handle, to: Option<Handle>) {
                    let old = std::mem::replace(&mut *node.b.borrow_mut(), to);
                    drop(old);
                }

                fn back(&self, node: &Handle) -> Option<Handle> {
                    node.back.borrow().clone()
                }

                fn set_back(&self, node: &Handle, to: Option<&Handle>) {
                    let old = std::mem::replace(&mut *node.back.borrow_mut(), to.cloned());
                    drop(old);
                }
            }

            pub fn run<P: Program>($program: P) -> Option<Figures> {
                $run
            }
        }
    };
}

cyclic!(
    ours,
    Cc<Node>,
    Slot,
    [
        use freestone_gc::counted::cycles::{Cc, Cycles, Slot};
        pub struct Free(Cycles);
        pub struct Node {
            value: u64,
            a: Slot<Option<Handle>>,
            b: Slot<Option<Handle>>,
            back: Slot<Option<Handle>>,
        }
        freestone_gc::links!(Node { a, b, back });
    ],
    new(context, node) context.0.alloc(node),
    run(program) crate::systems::run_freely(&Free(Cycles::new()), program, || {})
);

cyclic!(
    bacon_rajan,
    Cc<Node>,
    RefCell,
    [
        use std::cell::RefCell;
        use bacon_rajan_cc::{Cc, Trace, Tracer, collect_cycles, number_of_roots_buffered};
        pub struct Free;
        pub struct Node {
            value: u64,
            a: RefCell<Option<Handle>>,
            b: RefCell<Option<Handle>>,
            back: RefCell<Option<Handle>>,
        }
        impl Trace for Node {
            fn trace(&self, tracer: &mut Tracer) {
                self.a.trace(tracer);
                self.b.trace(tracer);
                self.back.trace(tracer);
            }
        }
    ],
    new(_context, node) Cc::new(node),
    run(program) crate::systems::run_freely(&Free, program, || {
        // It leaves it to the program when to collect: as ours does by itself.
        if number_of_roots_buffered() >= 10_000 {
            collect_cycles();
        }
    })
);

cyclic!(
    dumpsters,
    Gc<Node>,
    RefCell,
    [
        use std::cell::RefCell;
        use dumpster::unsync::Gc;
        pub struct Free;
        #[derive(dumpster::Trace)]
        pub struct Node {
            value: u64,
            a: RefCell<Option<Handle>>,
            b: RefCell<Option<Handle>>,
            back: RefCell<Option<Handle>>,
        }
    ],
    new(_context, node) Gc::new(node),
    run(program) crate::systems::run_freely(&Free, program, || {})
);

cyclic!(
    gcs,
    Gc<Node>,
    GcCell,
    [
        use gc::{Gc, GcCell};
        pub struct Free;
        #[derive(gc::Trace, gc::Finalize)]
        pub struct Node {
            value: u64,
            a: GcCell<Option<Handle>>,
            b: GcCell<Option<Handle>>,
            back: GcCell<Option<Handle>>,
        }
    ],
    new(_context, node) Gc::new(node),
    run(program) crate::systems::run_freely(&Free, program, || {})
);
