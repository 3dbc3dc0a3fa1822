//! What an object must be able to do to be pooled.

use std::boxed::Box;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::string::String;
use std::vec::Vec;

/// An object that can be used again.
pub trait Recycle {
    /// Makes it as good as new, but for the memory that it keeps. Called when it comes back to a pool, so that it does
    /// not hold on to what it was used for.
    fn reset(&mut self);

    /// The bytes that it keeps over a reset, to find those that have grown too big. Called before the reset.
    fn retained(&self) -> usize {
        0
    }
}

impl<T> Recycle for Vec<T> {
    fn reset(&mut self) {
        self.clear();
    }

    fn retained(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

impl<T> Recycle for VecDeque<T> {
    fn reset(&mut self) {
        self.clear();
    }

    fn retained(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

impl Recycle for String {
    fn reset(&mut self) {
        self.clear();
    }

    fn retained(&self) -> usize {
        self.capacity()
    }
}

impl<K, V, S: BuildHasher> Recycle for HashMap<K, V, S> {
    fn reset(&mut self) {
        self.clear();
    }

    fn retained(&self) -> usize {
        self.capacity() * size_of::<(K, V)>()
    }
}

impl<K, S: BuildHasher> Recycle for HashSet<K, S> {
    fn reset(&mut self) {
        self.clear();
    }

    fn retained(&self) -> usize {
        self.capacity() * size_of::<K>()
    }
}

impl<K, V> Recycle for BTreeMap<K, V> {
    fn reset(&mut self) {
        self.clear();
    }
}

impl<T: Recycle + ?Sized> Recycle for Box<T> {
    fn reset(&mut self) {
        (**self).reset();
    }

    fn retained(&self) -> usize {
        (**self).retained()
    }
}
