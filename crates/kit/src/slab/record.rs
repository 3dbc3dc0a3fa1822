//! A slab: the memory of some objects, and its record.
//!
//! # Safety
//!
//! *Record*: a [`Slab`] designates a record that lives until the cache gives the slab back. Behind the record lies an
//! entry for each object of the slab, written before it is read. Records and entries are the cache's alone; no object
//! overlaps them.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::NonNull;

/// What is known of a slab.
#[derive(Clone, Copy)]
pub struct Record {
    /// In its list.
    pub next: Option<Slab>,
    pub previous: Option<Slab>,
    /// The next slab in its bucket of the index, where records are off their slabs.
    pub chain: Option<Slab>,
    /// The memory of the slab.
    pub base: NonNull<u8>,
    /// From there to the first object: the colour.
    pub colour: u32,
    /// The object to be taken next, or [`NONE`].
    pub free: u16,
    /// Objects that are out.
    pub live: u16,
}

/// Bytes of a record.
pub const RECORD: usize = size_of::<Record>();
/// Alignment of a record.
pub const RECORD_ALIGN: usize = align_of::<Record>();
/// Bytes of an entry: the number of the next free object, or [`NONE`], or [`LIVE`].
pub const ENTRY: usize = size_of::<u16>();
/// No object.
pub const NONE: u16 = u16::MAX;
/// The object is out.
pub const LIVE: u16 = u16::MAX - 1;
/// Most objects of a slab.
pub const MOST: usize = LIVE as usize;

/// A slab, by its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slab(NonNull<u8>);

impl Slab {
    /// Writes the record of a slab with all its objects free.
    ///
    /// # Safety
    ///
    /// `place` is aligned for a record and has room for it and for an entry for each of `objects` behind it, which
    /// are the cache's for as long as it has the slab.
    #[inline]
    pub unsafe fn lay_out(place: NonNull<u8>, base: NonNull<u8>, colour: usize, objects: usize) -> Slab {
        let slab = Slab(place);
        let colour = colour as u32;
        slab.set(Record { next: None, previous: None, chain: None, base, colour, free: 0, live: 0 });
        for object in 0..objects {
            let next = if object + 1 == objects { NONE } else { object as u16 + 1 };
            slab.set_entry(object, next);
        }
        slab
    }

    /// The slab whose record lies there.
    ///
    /// # Safety
    ///
    /// One does.
    #[inline]
    pub unsafe fn at(place: NonNull<u8>) -> Slab {
        Slab(place)
    }

    #[inline]
    pub fn place(self) -> NonNull<u8> {
        self.0
    }

    #[inline]
    pub fn get(self) -> Record {
        // SAFETY: record.
        unsafe { self.0.cast().read() }
    }

    #[inline]
    pub fn set(self, record: Record) {
        // SAFETY: record.
        unsafe { self.0.cast().write(record) };
    }

    /// Changes the record.
    #[inline]
    pub fn update(self, change: impl FnOnce(&mut Record)) {
        let mut record = self.get();
        change(&mut record);
        self.set(record);
    }

    #[inline]
    fn place_of(self, object: usize) -> NonNull<u16> {
        // SAFETY: record: entries lie behind it.
        let first = unsafe { self.0.add(RECORD).cast::<u16>() };
        // SAFETY: record: one for each object.
        unsafe { first.add(object) }
    }

    /// The entry of an object of this slab.
    #[inline]
    pub fn entry(self, object: usize) -> u16 {
        // SAFETY: record.
        unsafe { self.place_of(object).read() }
    }

    #[inline]
    pub fn set_entry(self, object: usize, entry: u16) {
        // SAFETY: record.
        unsafe { self.place_of(object).write(entry) };
    }

    /// Takes the first free object, if any.
    #[inline]
    pub fn pop(self) -> Option<usize> {
        let record = self.get();
        if record.free == NONE {
            return None;
        }
        let object = usize::from(record.free);
        let next = self.entry(object);
        self.set_entry(object, LIVE);
        self.set(Record { free: next, live: record.live + 1, ..record });
        Some(object)
    }

    /// Gives an object back that is out.
    #[inline]
    pub fn push(self, object: usize) {
        let record = self.get();
        self.set_entry(object, record.free);
        self.set(Record { free: object as u16, live: record.live - 1, ..record });
    }
}

/// A list of slabs, each of which is in one list at most.
pub struct List {
    head: Cell<Option<Slab>>,
    len: Cell<usize>,
}

impl List {
    pub const fn new() -> List {
        List { head: Cell::new(None), len: Cell::new(0) }
    }

    #[inline]
    pub fn head(&self) -> Option<Slab> {
        self.head.get()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len.get()
    }

    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Slab> {
        core::iter::successors(self.head.get(), |slab| slab.get().next)
    }

    #[inline]
    pub fn push(&self, slab: Slab) {
        let next = self.head.replace(Some(slab));
        slab.update(|record| (record.next, record.previous) = (next, None));
        if let Some(next) = next {
            next.update(|record| record.previous = Some(slab));
        }
        self.len.set(self.len.get() + 1);
    }

    #[inline]
    pub fn remove(&self, slab: Slab) {
        let Record { next, previous, .. } = slab.get();
        match previous {
            Some(previous) => previous.update(|record| record.next = next),
            None => self.head.set(next),
        }
        if let Some(next) = next {
            next.update(|record| record.previous = previous);
        }
        self.len.set(self.len.get() - 1);
    }

    #[inline]
    pub fn pop(&self) -> Option<Slab> {
        let slab = self.head.get()?;
        self.remove(slab);
        Some(slab)
    }
}
