//! The collector's table: a line for each object that is a candidate, part of the collection under way, or weakly held.

use std::ptr::NonNull;

use super::object::Bare;

/// Where an object stands in the collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Not part of it.
    Out,
    /// Found, and to be gone through.
    Found,
    /// Gone through: its handles have been counted. Garbage, if it stays so.
    Traced,
    /// Live, or touched.
    Live,
}

/// A line of the table. It serves one object until the collection is over and no weak handle is left.
pub(super) struct Entry {
    /// The object, until it is destroyed.
    pub(super) object: Option<NonNull<Bare>>,
    pub(super) weak: u32,
    /// The handles along which the collection came.
    pub(super) inner: u32,
    pub(super) state: State,
    /// Whether it stands in each of the two lists of candidates.
    listed: [bool; 2],
}

/// Lines by number. Number 0 is no line.
pub(super) struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The candidates for the next collection, and those for the present one that it has not come to; which is which changes with
    /// each. One that was dropped again while it waits stands in both: what the present one says of it may be out of date.
    lists: [Vec<u32>; 2],
    next: usize,
    /// The objects of the collection.
    pub(super) members: Vec<u32>,
    /// Those found.
    pub(super) found: Vec<u32>,
    /// Those live whose handles have not been followed.
    pub(super) live: Vec<u32>,
    /// Where a walk through the members has got to.
    pub(super) cursor: usize,
}

impl Table {
    pub(super) fn new() -> Table {
        let nobody = Entry { object: None, weak: 0, inner: 0, state: State::Out, listed: [false; 2] };
        Table {
            entries: vec![nobody],
            free: Vec::new(),
            lists: [Vec::new(), Vec::new()],
            next: 0,
            members: Vec::new(),
            found: Vec::new(),
            live: Vec::new(),
            cursor: 0,
        }
    }

    pub(super) fn entry(&mut self, number: u32) -> &mut Entry {
        &mut self.entries[number as usize]
    }

    /// The number of an object's line, which is made if there is none.
    pub(super) fn number(&mut self, object: NonNull<Bare>, bare: &Bare) -> u32 {
        let number = bare.entry.get();
        if number != 0 {
            return number;
        }
        let fresh = Entry { object: Some(object), weak: 0, inner: 0, state: State::Out, listed: [false; 2] };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = fresh;
                number
            }
            None => {
                self.entries.push(fresh);
                u32::try_from(self.entries.len() - 1).expect("less than 4 thousand million objects")
            }
        };
        bare.entry.set(number);
        number
    }

    /// A handle of an object of the collection, found in another one.
    pub(super) fn count(&mut self, (object, bare): (NonNull<Bare>, &Bare)) {
        let number = self.number(object, bare);
        let entry = self.entry(number);
        entry.inner = entry.inner.saturating_add(1);
        if entry.state == State::Out {
            self.join(number);
        }
    }

    /// Into the collection.
    pub(super) fn join(&mut self, number: u32) {
        self.entry(number).state = State::Found;
        self.members.push(number);
        self.found.push(number);
    }

    /// Live, and its handles are to be followed.
    pub(super) fn enliven(&mut self, number: u32) {
        self.entry(number).state = State::Live;
        self.live.push(number);
    }

    /// An object that went on living with a handle less; whether it was no candidate before.
    pub(super) fn candidate(&mut self, object: NonNull<Bare>, bare: &Bare) -> bool {
        let number = self.number(object, bare);
        self.list(number)
    }

    /// For the next collection; whether it was not.
    pub(super) fn list(&mut self, number: u32) -> bool {
        let next = self.next;
        let fresh = !std::mem::replace(&mut self.entry(number).listed[next], true);
        if fresh {
            self.lists[next].push(number);
        }
        fresh
    }

    /// The next step of a walk through the members.
    pub(super) fn next_member(&mut self) -> Option<u32> {
        let number = *self.members.get(self.cursor)?;
        self.cursor += 1;
        Some(number)
    }

    /// The candidates become those of the present collection.
    pub(super) fn begin(&mut self) {
        self.next ^= 1;
    }

    /// One of the candidates of the present collection, which is none from now on.
    pub(super) fn root(&mut self) -> Option<u32> {
        let present = self.next ^ 1;
        let number = self.lists[present].pop()?;
        self.entry(number).listed[present] = false;
        Some(number)
    }

    /// Nobody is part of a collection any more.
    pub(super) fn end(&mut self) {
        self.members.clear();
        self.found.clear();
        self.live.clear();
    }

    /// Frees the line if it serves for nothing; whether it did. An object that it still names is then to forget the number.
    pub(super) fn recycle(&mut self, number: u32) -> bool {
        let entry = &self.entries[number as usize];
        let idle = entry.weak == 0 && entry.listed == [false; 2] && entry.state == State::Out;
        if idle {
            self.free.push(number);
        }
        idle
    }
}
