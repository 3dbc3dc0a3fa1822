//! A bin's chunks: a list through their links, the one put last first.

use core::cell::Cell;

use super::chunk::{Chunk, Link};

/// The head of a list of free chunks.
pub type Head = Cell<Option<Chunk>>;

// Whether a chunk has neighbours in its list is as good as chance. So what there is to write is written in any case: where
// nobody is concerned, to the cell `nobody` of the bins. Branches would be guessed wrong two times in a call.

#[inline]
pub fn push(head: &Head, chunk: Chunk, nobody: &Head) {
    let next = head.replace(Some(chunk));
    chunk.set_link(Link::Next, next);
    next.map_or(nobody, |next| next.link_cell(Link::Previous, head)).set(Some(chunk));
}

/// Takes out the first, and nobody else is touched: the link back of who is first now means nothing. Whether the list is
/// empty now.
#[inline]
pub fn pop(head: &Head, first: Chunk) -> bool {
    let next = first.link(Link::Next);
    head.set(next);
    next.is_none()
}

/// Takes a chunk out of the list that it is in; whether that is empty now.
#[inline]
pub fn remove(head: &Head, chunk: Chunk, nobody: &Head) -> bool {
    let is_first = head.get() == Some(chunk);
    let (next, previous) = (chunk.link(Link::Next), chunk.link(Link::Previous));
    let previous = if is_first { None } else { previous };
    previous.map_or(head, |previous| previous.link_cell(Link::Next, head)).set(next);
    next.map_or(nobody, |next| next.link_cell(Link::Previous, head)).set(previous);
    is_first & next.is_none()
}

#[inline]
pub fn iter(head: &Head) -> impl Iterator<Item = Chunk> {
    core::iter::successors(head.get(), |chunk| chunk.link(Link::Next))
}
