//! Things by number, and lists through them.

use std::ops::{Index, IndexMut};

/// No thing.
pub(super) const NONE: u32 = u32::MAX;

/// The two neighbours of a thing in its list.
#[derive(Clone, Copy)]
pub(super) struct Link {
    prev: u32,
    next: u32,
}

impl Link {
    pub(super) const ALONE: Link = Link { prev: NONE, next: NONE };

    pub(super) fn next(self) -> u32 {
        self.next
    }
}

/// Can be in a list.
pub(super) trait Linked {
    fn link(&mut self) -> &mut Link;
}

/// Things, each with a number that stays the same.
pub(super) struct Slots<T> {
    things: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Slots<T> {
        Slots { things: Vec::new(), vacant: Vec::new() }
    }

    pub(super) fn insert(&mut self, thing: T) -> u32 {
        match self.vacant.pop() {
            Some(number) => {
                self.things[number as usize] = Some(thing);
                number
            }
            None => {
                self.things.push(Some(thing));
                (self.things.len() - 1) as u32
            }
        }
    }

    pub(super) fn remove(&mut self, number: u32) -> T {
        let thing = self.things[number as usize].take().expect("a number of a thing");
        self.vacant.push(number);
        thing
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.iter().flatten()
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.things[number as usize].as_ref().expect("a number of a thing")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.things[number as usize].as_mut().expect("a number of a thing")
    }
}

/// A list; its things are in some slots, which are given with each call.
#[derive(Clone, Copy)]
pub(super) struct List {
    head: u32,
}

impl List {
    pub(super) const EMPTY: List = List { head: NONE };

    pub(super) fn first(self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn push<T: Linked>(&mut self, slots: &mut Slots<T>, number: u32) {
        *slots[number].link() = Link { prev: NONE, next: self.head };
        if self.head != NONE {
            slots[self.head].link().prev = number;
        }
        self.head = number;
    }

    pub(super) fn remove<T: Linked>(&mut self, slots: &mut Slots<T>, number: u32) {
        let Link { prev, next } = std::mem::replace(slots[number].link(), Link::ALONE);
        if prev == NONE {
            self.head = next;
        } else {
            slots[prev].link().next = next;
        }
        if next != NONE {
            slots[next].link().prev = prev;
        }
    }
}
