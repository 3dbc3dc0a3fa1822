//! All tests that go by the public interface, in one program.
#![forbid(unsafe_code)]

mod basics;
#[path = "../../examples/lisp/interpreter.rs"]
mod interpreter;
mod misuse;
mod panics;
mod services;
mod slices;

/// Runs a generic test on every collector, without and with stress.
macro_rules! on_every_collector {
    ($($name:ident)*) => {
        mod on_every_collector {$(
            mod $name {
                use freestone_gc::{GcConfig, Generational, Incremental, MarkCompact, MarkSweep, SemiSpace};

                fn both() -> [GcConfig; 2] {
                    [GcConfig::default(), GcConfig { stress: true, ..GcConfig::default() }]
                }

                #[test]
                fn mark_sweep() {
                    both().into_iter().for_each(super::super::$name::<MarkSweep>);
                }

                #[test]
                fn semi_space() {
                    both().into_iter().for_each(super::super::$name::<SemiSpace>);
                }

                #[test]
                fn mark_compact() {
                    both().into_iter().for_each(super::super::$name::<MarkCompact>);
                }

                #[test]
                fn generational() {
                    both().into_iter().for_each(super::super::$name::<Generational>);
                }

                #[test]
                fn incremental() {
                    both().into_iter().for_each(super::super::$name::<Incremental>);
                }
            }
        )*}
    };
}
use on_every_collector;
