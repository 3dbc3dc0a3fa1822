//! Counted pointers, without collection: links back are weak, where there are weak handles.

macro_rules! back {
    (weak $weak:ty) => {
        type Back = std::cell::RefCell<Option<$weak>>;
        const HAS_BACK: bool = true;

        fn get(back: &Back) -> Option<Handle> {
            back.borrow().as_ref().and_then(|back| back.upgrade())
        }

        fn set(back: &Back, to: Option<&Handle>) {
            *back.borrow_mut() = to.map(|to| Handle::downgrade(to));
        }
    };
    (none) => {
        type Back = ();
        const HAS_BACK: bool = false;

        fn get(_: &Back) -> Option<Handle> {
            unreachable!("works with links back are left out")
        }

        fn set(_: &Back, _: Option<&Handle>) {
            unreachable!("works with links back are left out")
        }
    };
}

macro_rules! counted {
    ($name:ident, $handle:ty, [$($back:tt)*] $(, $count:ident)?) => {
        pub mod $name {
            use std::cell::RefCell;

            use crate::measure::Figures;
            use crate::program::{Context, Program};

            type Handle = $handle;
            back!($($back)*);

            pub struct Node {
                value: u64,
                $(count: freestone_gc::counted::$count,)?
                a: RefCell<Option<Handle>>,
                b: RefCell<Option<Handle>>,
                back: Back,
            }
            $(freestone_gc::intrusive!(Node, count: freestone_gc::counted::$count);)?

            pub struct Free;

            impl Context for Free {
                type Node = Handle;
                const BACK: bool = HAS_BACK;

                fn make(&self, value: u64, a: Option<Handle>, b: Option<Handle>) -> Handle {
                    Handle::new(Node {
                        value,
                        $(count: freestone_gc::counted::$count::new(),)?
                        a: RefCell::new(a),
                        b: RefCell::new(b),
                        back: Back::default(),
                    })
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
                    drop(node.a.replace(to));
                }

                fn set_b(&self, node: &Handle, to: Option<Handle>) {
                    drop(node.b.replace(to));
                }

                fn back(&self, node: &Handle) -> Option<Handle> {
                    get(&node.back)
                }

                fn set_back(&self, node: &Handle, to: Option<&Handle>) {
                    set(&node.back, to);
                }
            }

            pub fn run<P: Program>(program: P) -> Option<Figures> {
                crate::systems::run_freely(&Free, program, || {})
            }
        }
    };
}

counted!(std_rc, std::rc::Rc<Node>, [weak std::rc::Weak<Node>]);
counted!(std_arc, std::sync::Arc<Node>, [weak std::sync::Weak<Node>]);
counted!(triomphe, ::triomphe::Arc<Node>, [none]);
counted!(rc, freestone_gc::counted::Rc<Node>, [weak freestone_gc::counted::Weak<Node, freestone_gc::counted::LocalCounts>]);
counted!(
    arc,
    freestone_gc::counted::Arc<Node>,
    [weak freestone_gc::counted::Weak<Node, freestone_gc::counted::AtomicCounts>]
);
counted!(lean_rc, freestone_gc::counted::LeanRc<Node>, [none]);
counted!(lean_arc, freestone_gc::counted::LeanArc<Node>, [none]);
counted!(intrusive, freestone_gc::counted::Intrusive<Node>, [none], LocalCount);
