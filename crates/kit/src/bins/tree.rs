//! The large bins: bitwise digital trees, keyed by size.
//!
//! Two bins to a doubling. Within a bin all sizes begin with the same bits; the first of the others says whether a
//! chunk belongs below the root's low or its high child, the second does so there, and so on. A node may have any size
//! of its subtree, so that inserting needs no rotation; chunks of one size form a ring, of which one is the node. The
//! depth is bounded by the bits of a size.
//!
//! The root is its own parent; a member of a ring that is no node has none.

use core::cell::Cell;

use super::chunk::{Chunk, Link};
use super::small::SMALL;

const BINS: usize = 32;
const SHIFT: u32 = SMALL.trailing_zeros();

/// Free chunks of [`SMALL`] bytes and more.
pub struct TreeBins {
    roots: [Cell<Option<Chunk>>; BINS],
    /// A bit for each bin that is not empty.
    filled: Cell<u32>,
}

fn bin_of(size: usize) -> usize {
    let doubling = (size >> SHIFT).ilog2();
    let upper_half = (size >> (doubling + SHIFT - 1)) & 1;
    (doubling as usize * 2 + upper_half).min(BINS - 1)
}

/// The size with the first bit that differs within the bin moved to the top.
fn key(size: usize, bin: usize) -> usize {
    let shared = if bin == BINS - 1 { 0 } else { usize::BITS - 1 - (bin as u32 / 2 + SHIFT - 2) };
    size << shared
}

fn child(key: usize) -> Link {
    if key >> (usize::BITS - 1) == 0 { Link::Low } else { Link::High }
}

impl TreeBins {
    pub const fn new() -> TreeBins {
        TreeBins { roots: [const { Cell::new(None) }; BINS], filled: Cell::new(0) }
    }

    pub fn insert(&self, chunk: Chunk) {
        let size = chunk.size();
        let bin = bin_of(size);
        for link in [Link::Low, Link::High] {
            chunk.set_link(link, None);
        }
        for link in [Link::Next, Link::Previous] {
            chunk.set_link(link, Some(chunk));
        }
        let Some(mut node) = self.roots[bin].get() else {
            chunk.set_link(Link::Parent, Some(chunk));
            self.roots[bin].set(Some(chunk));
            self.filled.set(self.filled.get() | 1 << bin);
            return;
        };
        let mut rest = key(size, bin);
        while node.size() != size {
            let side = child(rest);
            rest <<= 1;
            let Some(below) = node.link(side) else {
                node.set_link(side, Some(chunk));
                chunk.set_link(Link::Parent, Some(node));
                return;
            };
            node = below;
        }
        let next = node.link(Link::Next);
        chunk.set_link(Link::Parent, None);
        chunk.set_link(Link::Previous, Some(node));
        chunk.set_link(Link::Next, next);
        node.set_link(Link::Next, Some(chunk));
        if let Some(next) = next {
            next.set_link(Link::Previous, Some(chunk));
        }
    }

    pub fn remove(&self, chunk: Chunk) {
        let mate = chunk.link(Link::Next).filter(|&mate| mate != chunk);
        if let (Some(next), Some(previous)) = (mate, chunk.link(Link::Previous)) {
            next.set_link(Link::Previous, Some(previous));
            previous.set_link(Link::Next, Some(next));
        }
        let Some(parent) = chunk.link(Link::Parent) else { return };
        let heir = mate.or_else(|| Self::take_leaf(chunk));
        if parent == chunk {
            let bin = bin_of(chunk.size());
            self.roots[bin].set(heir);
            if heir.is_none() {
                self.filled.set(self.filled.get() & !(1 << bin));
            }
        } else {
            let side = if parent.link(Link::Low) == Some(chunk) { Link::Low } else { Link::High };
            parent.set_link(side, heir);
        }
        let Some(heir) = heir else { return };
        heir.set_link(Link::Parent, Some(if parent == chunk { heir } else { parent }));
        for side in [Link::Low, Link::High] {
            let below = chunk.link(side);
            heir.set_link(side, below);
            if let Some(below) = below {
                below.set_link(Link::Parent, Some(heir));
            }
        }
    }

    /// Cuts a leaf off below `node`. It may stand at any node of its path, since that is part of its own bits.
    fn take_leaf(node: Chunk) -> Option<Chunk> {
        let step = |from: Chunk| {
            let side = if from.link(Link::High).is_some() { Link::High } else { Link::Low };
            from.link(side).map(|below| (from, side, below))
        };
        let (parent, side, leaf) = core::iter::successors(step(node), |(_, _, below)| step(*below)).last()?;
        parent.set_link(side, None);
        Some(leaf)
    }

    /// The shortest in the subtree of `from`, when it is shorter than `best` and has at least `size` bytes.
    fn shortest(from: Option<Chunk>, size: usize, best: Option<Chunk>) -> Option<Chunk> {
        // What is below a low child is shorter than what is below its sibling.
        let down = |node: &Chunk| node.link(Link::Low).or(node.link(Link::High));
        core::iter::successors(from, down).fold(best, |best, node| Self::better(best, node, size))
    }

    fn better(best: Option<Chunk>, node: Chunk, size: usize) -> Option<Chunk> {
        let is_better = node.size() >= size && best.is_none_or(|best| node.size() < best.size());
        if is_better { Some(node) } else { best }
    }

    /// The shortest chunk of at least `size` bytes.
    pub fn best(&self, size: usize) -> Option<Chunk> {
        let mut above = 0;
        let mut best = None;
        if size >= SMALL {
            let bin = bin_of(size);
            above = bin + 1;
            let mut rest = key(size, bin);
            let mut node = self.roots[bin].get();
            // The last subtree that we passed whose sizes are all larger.
            let mut larger = None;
            while let Some(current) = node {
                if current.size() == size {
                    return current.link(Link::Next);
                }
                best = Self::better(best, current, size);
                let side = child(rest);
                rest <<= 1;
                if side == Link::Low {
                    larger = current.link(Link::High).or(larger);
                }
                node = current.link(side);
            }
            best = Self::shortest(larger, size, best);
        }
        if best.is_none() && above < BINS {
            let bits = self.filled.get() >> above << above;
            let root = self.roots.get(bits.trailing_zeros() as usize)?.get();
            best = Self::shortest(root, size, None);
        }
        // Of several in a ring one that is no node, since it leaves at less cost.
        best?.link(Link::Next)
    }

    /// All chunks, for checks; each with whether its place is right.
    pub fn for_each(&self, mut each: impl FnMut(Chunk, bool)) {
        for (bin, root) in self.roots.iter().enumerate() {
            let Some(root) = root.get() else { continue };
            let own_parent = root.link(Link::Parent) == Some(root);
            each(root, own_parent && self.filled.get() & 1 << bin != 0);
            Self::walk(root, bin, &mut each);
        }
    }

    fn walk(node: Chunk, bin: usize, each: &mut impl FnMut(Chunk, bool)) {
        let ring = core::iter::successors(node.link(Link::Next), |mate| mate.link(Link::Next));
        for mate in ring.take_while(|&mate| mate != node) {
            each(mate, mate.size() == node.size() && mate.link(Link::Parent).is_none());
        }
        for side in [Link::Low, Link::High] {
            if let Some(below) = node.link(side) {
                each(below, below.link(Link::Parent) == Some(node) && bin_of(below.size()) == bin);
                Self::walk(below, bin, each);
            }
        }
    }
}
