//! The marker's stack, in segments: pushing never copies what is there.
//!
//! A vector that grows is copied, and a stack of millions of objects so in one go. Here at most a segment is made.

use super::object::Object;

/// Objects in a segment: 32 KiB.
const SEGMENT: usize = 4096;

/// A stack whose operations all take a bounded time.
pub(crate) struct Stack {
    top: Vec<Object>,
    /// Each is full.
    below: Vec<Vec<Object>>,
    /// An empty one, so that going to and fro at an edge makes none.
    spare: Option<Vec<Object>>,
}

impl Stack {
    pub(crate) const fn new() -> Self {
        Stack { top: Vec::new(), below: Vec::new(), spare: None }
    }

    #[inline]
    pub(crate) fn push(&mut self, object: Object) {
        if self.top.len() == self.top.capacity() {
            self.add_segment();
        }
        self.top.push(object);
    }

    #[cold]
    #[inline(never)]
    fn add_segment(&mut self) {
        let segment = self.spare.take().unwrap_or_else(|| Vec::with_capacity(SEGMENT));
        let full = core::mem::replace(&mut self.top, segment);
        // The first is made here as well.
        if !full.is_empty() {
            self.below.push(full);
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Object> {
        match self.top.pop() {
            None => self.pop_slow(),
            object => object,
        }
    }

    #[cold]
    #[inline(never)]
    fn pop_slow(&mut self) -> Option<Object> {
        let below = self.below.pop()?;
        self.spare = Some(core::mem::replace(&mut self.top, below));
        self.top.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::NonNull;

    #[test]
    fn the_last_comes_first_over_many_segments() {
        let mut words = vec![0_usize; 3 * SEGMENT + 5];
        let objects: Vec<Object> =
            words.iter_mut().map(|word| Object::for_tests(NonNull::from_mut(word).cast())).collect();
        let mut stack = Stack::new();
        for _ in 0..2 {
            objects.iter().for_each(|&object| stack.push(object));
            for &object in objects.iter().rev() {
                assert_eq!(stack.pop(), Some(object));
                stack.push(object);
                assert_eq!(stack.pop(), Some(object));
            }
            assert_eq!(stack.pop(), None);
        }
        assert!(stack.below.is_empty() && stack.top.capacity() == SEGMENT);
    }
}
