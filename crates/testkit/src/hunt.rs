//! The hunt for a sequence that an allocator fails on.

use crate::block::Violation;
use crate::drive::run_sequence;
use crate::mix::Mix;
use crate::op::Op;
use crate::strategy;
use crate::subject::Subject;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::fmt;

/// Random sequences to try. The same figures give the same sequences.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// How many sequences.
    pub cases: u32,
    /// Sizes and alignments.
    pub mix: Mix,
    /// Most operations in a sequence.
    pub most_ops: usize,
    /// Chooses the sequences.
    pub seed: u64,
}

impl Default for Hunt {
    fn default() -> Self {
        Hunt { cases: 256, mix: Mix::All, most_ops: 150, seed: 1 }
    }
}

/// The shortest sequence found that fails, and how it does.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The operations.
    pub ops: Vec<Op>,
    /// What was seen.
    pub violation: Violation,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nafter", self.violation)?;
        writeln!(f, "let ops = [")?;
        for op in &self.ops {
            writeln!(f, "    Op::{op:?},")?;
        }
        write!(f, "];")
    }
}

impl std::error::Error for Counterexample {}

impl Hunt {
    /// Runs each sequence on a subject of its own; returns the first failure, shrunk.
    ///
    /// Shrinking runs sequences again, so `subject` should give a fresh allocator each time. With
    /// one that keeps its state between runs, the shrunk sequence may fail only now and then; the
    /// violation is then that of the last run that failed.
    ///
    /// ```
    /// use freestone_testkit::{Global, Hunt, Mix};
    /// let hunt = Hunt { cases: 10, mix: Mix::Small, ..Hunt::default() };
    /// hunt.run(|| Global::new(std::alloc::System)).unwrap_or_else(|found| panic!("{found}"));
    /// ```
    pub fn run<S: Subject>(&self, subject: impl Fn() -> S) -> Result<(), Box<Counterexample>> {
        let config = Config {
            cases: self.cases,
            rng_seed: RngSeed::Fixed(self.seed),
            failure_persistence: None,
            ..Config::default()
        };
        let last = std::cell::RefCell::new(None);
        let run = TestRunner::new(config).run(&strategy::ops(self.mix, self.most_ops), |ops| {
            run_sequence(&subject(), &ops).map(drop).map_err(|violation| {
                let reason = violation.to_string();
                last.replace(Some(violation));
                TestCaseError::fail(reason)
            })
        });
        match run {
            Ok(()) => Ok(()),
            Err(TestError::Fail(reason, ops)) => {
                let violation =
                    last.take().unwrap_or_else(|| panic!("a subject panicked: {reason} in {ops:?}"));
                Err(Box::new(Counterexample { ops, violation }))
            }
            Err(TestError::Abort(reason)) => panic!("the hunt was broken off: {reason}"),
        }
    }
}
