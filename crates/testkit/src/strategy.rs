//! Proptest strategies: random operation sequences that shrink to short ones.

use crate::mix::{Draw, Mix, Shape};
use crate::op::Op;
use proptest::collection::vec;
use proptest::prelude::*;

/// Requests of `mix`. Shrinks towards small sizes and alignments.
pub fn shapes(mix: Mix) -> impl Strategy<Value = Shape> + Clone {
    (0..Draw::KINDS, 0..Draw::COARSE, 0..Draw::FINE, 0..Draw::EDGES, 0..Draw::ALIGNS).prop_map(
        move |(kind, coarse, fine, edge, align)| mix.shape(Draw { kind, coarse, fine, edge, align }),
    )
}

/// Single operations with sizes of `mix`. Shrinks towards plain allocation and freeing.
pub fn op(mix: Mix) -> impl Strategy<Value = Op> + Clone {
    let shape = move || shapes(mix);
    // Half of the victims are among the newest: that is how programs free.
    let victim = || prop_oneof![0..8u16, any::<u16>()];
    let count = || 0..200u16;
    prop_oneof![
        30 => shape().prop_map(|s| Op::Alloc { size: s.size, align: s.align }),
        25 => victim().prop_map(|victim| Op::Free { victim }),
        10 => victim().prop_map(|victim| Op::FreeUnsized { victim }),
        10 => shape().prop_map(|s| Op::AllocZeroed { size: s.size, align: s.align }),
        12 => (victim(), shape()).prop_map(|(victim, s)| Op::Realloc { victim, new_size: s.size }),
        3 => victim().prop_map(|victim| Op::Check { victim }),
        3 => (count(), shape()).prop_map(|(count, s)| Op::AllocMany { count, size: s.size, align: s.align }),
        3 => (victim(), count()).prop_map(|(victim, count)| Op::FreeMany { victim, count }),
        1 => Just(Op::FreeAll),
        1 => Just(Op::CheckAll),
        2 => Just(Op::Verify),
        1 => (shape(), any::<bool>()).prop_map(|(s, zeroed)| Op::AllocImpossible { align: s.align, zeroed }),
        1 => victim().prop_map(|victim| Op::ReallocImpossible { victim }),
    ]
}

/// Sequences of up to `most` operations with sizes of `mix`.
///
/// ```
/// use freestone_testkit::{Global, Mix, run_sequence, strategy::ops};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig { cases: 20, ..ProptestConfig::default() }, |(ops in ops(Mix::Small, 100))| {
///     if let Err(violation) = run_sequence(&Global::new(std::alloc::System), &ops) {
///         panic!("{violation}");
///     }
/// });
/// ```
pub fn ops(mix: Mix, most: usize) -> impl Strategy<Value = Vec<Op>> + Clone {
    vec(op(mix), 0..=most)
}
