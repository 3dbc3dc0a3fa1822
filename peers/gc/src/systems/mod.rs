//! Those that are compared.

mod arena;
mod counted;
mod cyclic;
mod tracing;

use crate::measure::{Figures, Taken};
use crate::program::{Context, Program, Roots};

/// Runs a work on a system, or says that it cannot.
type Run<P> = fn(P) -> Option<Figures>;

/// Ours, by name.
pub const OURS: &[&str] = &[
    "Rc",
    "LeanRc",
    "Arc",
    "LeanArc",
    "Intrusive",
    "Cc",
    "mark-sweep",
    "semi-space",
    "mark-compact",
    "generational",
    "incremental",
];

/// The others.
pub const PEERS: &[&str] =
    &["std Rc", "std Arc", "triomphe Arc", "bacon_rajan_cc", "dumpster", "gc", "gc-arena"];

pub fn find<P: Program>(name: &str) -> Option<Run<P>> {
    Some(match name {
        "Rc" => counted::rc::run,
        "LeanRc" => counted::lean_rc::run,
        "Arc" => counted::arc::run,
        "LeanArc" => counted::lean_arc::run,
        "Intrusive" => counted::intrusive::run,
        "std Rc" => counted::std_rc::run,
        "std Arc" => counted::std_arc::run,
        "triomphe Arc" => counted::triomphe::run,
        "Cc" => cyclic::ours::run,
        "bacon_rajan_cc" => cyclic::bacon_rajan::run,
        "dumpster" => cyclic::dumpsters::run,
        "gc" => cyclic::gcs::run,
        "gc-arena" => arena::run,
        "mark-sweep" => tracing::run::<freestone_gc::MarkSweep, P>,
        "semi-space" => tracing::run::<freestone_gc::SemiSpace, P>,
        "mark-compact" => tracing::run::<freestone_gc::MarkCompact, P>,
        "generational" => tracing::run::<freestone_gc::Generational, P>,
        "incremental" => tracing::run::<freestone_gc::Incremental, P>,
        _ => return None,
    })
}

/// Runs all steps with handles that need no closure around them.
fn run_freely<C: Context, P: Program>(
    context: &C,
    mut program: P,
    mut after: impl FnMut(),
) -> Option<Figures> {
    if program.needs_back() && !C::BACK {
        return None;
    }
    let mut roots: Roots<C::Node> = Vec::new();
    let mut taken = Taken::new();
    while taken.step(|| {
        let more = program.step(context, &mut roots);
        after();
        more
    }) {}
    drop(roots);
    after();
    Some(taken.figures())
}
