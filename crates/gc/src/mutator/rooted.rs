//! Roots that are kept outside of the heap.
//!
//! # Safety
//!
//! *Table*: an entry holds the address of a live object and the function that visits it as what it is; collectors trace all entries
//! that are in use. An index in a [`Rooted`] is that of an entry in use of its own table, for an object of its type.
#![allow(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::marker::PhantomData;
use std::rc::Rc;

use super::{Branded, Gc};
use crate::collector::kind::{Kind, Plain};
use crate::collector::object::Object;
use crate::collector::{Collector, Visitor};

/// Keeps one object of a heap alive, as long as it or a clone of it is there; see [`Mutation::root`](crate::Mutation::root).
///
/// It may outlive the heap, and is then of no use.
pub struct Rooted<B: Branded> {
    entry: Rc<Entry>,
    holds: PhantomData<fn() -> B>,
}

impl<B: Branded> Clone for Rooted<B> {
    fn clone(&self) -> Self {
        Rooted { entry: Rc::clone(&self.entry), holds: PhantomData }
    }
}

/// The object of one root. The table has it, too; when it is the only one, the root is gone.
struct Entry {
    /// The table's own address, by which a root knows its heap.
    table: *const (),
    object: Cell<Object>,
}

struct Slot<C: Collector> {
    entry: Rc<Entry>,
    trace: fn(&mut Object, &mut C::Marker),
    trace_young: fn(&mut Object, &mut C::Young),
}

/// The roots of a heap that are outside of it.
pub(crate) struct RootTable<C: Collector> {
    slots: RefCell<Vec<Slot<C>>>,
    /// What says whose roots they are: an address that is the heap's alone.
    identity: Rc<()>,
    /// As many slots as there may be before the table is looked through for roots that are gone.
    full_at: Cell<usize>,
}

fn visit<K: Kind, V: Visitor>(place: &mut Object, visitor: &mut V) {
    visitor.edge::<K>(place);
}

impl<C: Collector> RootTable<C> {
    pub(super) fn new() -> Self {
        RootTable { slots: RefCell::default(), identity: Rc::new(()), full_at: Cell::new(64) }
    }

    pub(super) fn insert<'gc, B: Branded>(&self, gc: Gc<'gc, B::Of<'gc>>) -> Rooted<B> {
        let entry = Rc::new(Entry { table: Rc::as_ptr(&self.identity), object: Cell::new(gc.object()) });
        let mut slots = self.slots.borrow_mut();
        if slots.len() >= self.full_at.get() {
            slots.retain(|slot| Rc::strong_count(&slot.entry) > 1);
            self.full_at.set(64.max(2 * slots.len()));
        }
        slots.push(Slot {
            entry: Rc::clone(&entry),
            trace: visit::<Plain<'gc, B::Of<'gc>>, C::Marker>,
            trace_young: visit::<Plain<'gc, B::Of<'gc>>, C::Young>,
        });
        Rooted { entry, holds: PhantomData }
    }

    pub(super) fn get<'gc, B: Branded>(&self, rooted: &Rooted<B>) -> Gc<'gc, B::Of<'gc>> {
        assert!(
            rooted.entry.table == Rc::as_ptr(&self.identity),
            "Mutation::get: this is a root of another heap"
        );
        // SAFETY: table: a live object of that type in this heap.
        unsafe { Gc::from_object(rooted.entry.object.get()) }
    }

    /// How many roots there are.
    pub(super) fn count(&mut self) -> usize {
        self.slots.get_mut().iter().filter(|slot| Rc::strong_count(&slot.entry) > 1).count()
    }

    /// Traces those that are there, forgets the others.
    fn each(&mut self, mut trace: impl FnMut(&Slot<C>, &mut Object)) {
        self.slots.get_mut().retain(|slot| {
            if Rc::strong_count(&slot.entry) == 1 {
                return false;
            }
            let mut object = slot.entry.object.get();
            trace(slot, &mut object);
            slot.entry.object.set(object);
            true
        });
    }

    pub(super) fn trace(&mut self, marker: &mut C::Marker) {
        self.each(|slot, object| (slot.trace)(object, marker));
    }

    pub(super) fn trace_young(&mut self, young: &mut C::Young) {
        self.each(|slot, object| (slot.trace_young)(object, young));
    }
}
