//! A piece of work, run with every allocation in it refused in turn.

use core::fmt;

use super::{Failing, FailingConfig};
use crate::{Alloc, Stats};

/// What a sound piece of work did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// Allocations in a run in which none is refused.
    pub allocations: usize,
    /// Changes of size in such a run.
    pub resizes: usize,
    /// How often the work was run.
    pub runs: usize,
}

/// How a piece of work is not sound. The index tells which call was refused, counted from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unsound<E> {
    /// It failed although everything was granted.
    Failed(E),
    /// It left so many bytes in so many blocks behind although everything was granted.
    Leaked {
        /// Blocks not freed.
        blocks: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// A refusal led to bytes that were not freed.
    LeakedOnFailure {
        /// What was refused.
        refused: Call,
        /// Blocks not freed.
        blocks: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// A refusal, and it claims to have succeeded.
    Swallowed {
        /// What was refused.
        refused: Call,
    },
    /// A call that was to be refused did not take place, although it had before: the work differs from run to run.
    NotDeterministic {
        /// What was to be refused.
        refused: Call,
    },
}

/// A call of the allocator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// The allocation with that index.
    Allocation(usize),
    /// The change of size with that index.
    Resize(usize),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Allocation(index) => write!(f, "allocation {index}"),
            Call::Resize(index) => write!(f, "resize {index}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Unsound<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsound::Failed(error) => write!(f, "failed with nothing refused: {error}"),
            Unsound::Leaked { blocks, bytes } => {
                write!(f, "{bytes} bytes leaked with nothing refused (live blocks: {blocks})")
            }
            Unsound::LeakedOnFailure { refused, blocks, bytes } => {
                write!(f, "{bytes} bytes leaked when {refused} was refused (live blocks: {blocks})")
            }
            Unsound::Swallowed { refused } => write!(f, "claimed success although {refused} was refused"),
            Unsound::NotDeterministic { refused } => {
                write!(f, "{refused} did not take place: the work differs from run to run")
            }
        }
    }
}

impl<E: fmt::Display + fmt::Debug> core::error::Error for Unsound<E> {}

/// Runs `work` with nothing refused, then once for each allocation and for each change of size in it with all from
/// that one on refused. Each of these runs must return an error, and none may leave a block behind.
///
/// Work that copes with a refused change of size (as a shrink that is not urgent) is to be checked with
/// [`Failing`] by hand, since to this harness it claims success.
///
/// # Errors
///
/// The first run that was not as it should be.
pub fn check_every_failure<A: Alloc, T, E>(
    parent: &A,
    mut work: impl FnMut(&Failing<&A>) -> Result<T, E>,
) -> Result<Checked, Unsound<E>> {
    let failing = Failing::new(parent, FailingConfig::NEVER);
    // What the work returns is dropped before blocks are counted: it may own some.
    work(&failing).map(drop).map_err(Unsound::Failed)?;
    let left = failing.stats();
    if left.live_blocks != 0 {
        return Err(Unsound::Leaked { blocks: left.live_blocks, bytes: left.live_bytes });
    }
    let (allocations, resizes) = (failing.allocations(), failing.resizes());
    let calls = (0..allocations).map(Call::Allocation).chain((0..resizes).map(Call::Resize));
    for refused in calls {
        let config = match refused {
            Call::Allocation(index) => FailingConfig::NEVER.fail_index(index),
            Call::Resize(index) => FailingConfig::NEVER.resize_fail_index(index),
        };
        let failing = Failing::new(parent, config);
        let claimed = work(&failing).map(drop).is_ok();
        let left = failing.stats();
        if !failing.has_failed() {
            return Err(Unsound::NotDeterministic { refused });
        }
        if claimed {
            return Err(Unsound::Swallowed { refused });
        }
        if left.live_blocks != 0 {
            let (blocks, bytes) = (left.live_blocks, left.live_bytes);
            return Err(Unsound::LeakedOnFailure { refused, blocks, bytes });
        }
    }
    Ok(Checked { allocations, resizes, runs: 1 + allocations + resizes })
}
