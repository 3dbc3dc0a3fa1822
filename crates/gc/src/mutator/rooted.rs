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

use super::guardian::hand_over;
use super::weak::Body;
use super::{Branded, Gc, Trace};
use crate::collector::kind::{Fixed, Kind, Plain};
use crate::collector::object::Object;
use crate::collector::survey::Surveyor;
use crate::collector::{Collector, Fate, Visitor};

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

/// Visits an object as what it is.
type Visit<V> = fn(&mut Object, &mut V);

struct Slot<C: Collector> {
    entry: Rc<Entry>,
    survey: Visit<Surveyor>,
    trace: Visit<C::Marker>,
    trace_young: Visit<C::Young>,
}

/// The body of a weak pointer, which is tiny; whether its target is.
struct Weak {
    body: Object,
    tiny: bool,
}

/// What a guardian watches.
struct Guarded<C: Collector> {
    guardian: Object,
    object: Object,
    tiny: bool,
    hand_over: fn(Object, Object),
    trace: Visit<C::Marker>,
    trace_young: Visit<C::Young>,
}

/// The roots of a heap that are outside of it, and what is to be told of deaths.
pub(crate) struct RootTable<C: Collector> {
    slots: RefCell<Vec<Slot<C>>>,
    /// The bodies of weak pointers.
    weak: RefCell<Vec<Weak>>,
    guarded: RefCell<Vec<Guarded<C>>>,
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
        RootTable {
            slots: RefCell::default(),
            weak: RefCell::default(),
            guarded: RefCell::default(),
            identity: Rc::new(()),
            full_at: Cell::new(64),
        }
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
            survey: visit::<Plain<'gc, B::Of<'gc>>, Surveyor>,
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

    /// How many roots there are; those that are gone are forgotten.
    pub(super) fn count(&mut self) -> usize {
        self.each(|_, _| ());
        self.slots.get_mut().len()
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

    pub(super) fn watch_weak(&self, body: Object, tiny: bool) {
        self.weak.borrow_mut().push(Weak { body, tiny });
    }

    pub(super) fn watch_guarded<'gc, T: Trace<'gc> + 'gc>(&self, guardian: Object, object: Object) {
        self.guarded.borrow_mut().push(Guarded {
            guardian,
            object,
            tiny: Fixed::<Plain<'gc, T>>::TINY,
            hand_over: hand_over::<T>,
            trace: visit::<Plain<'gc, T>, C::Marker>,
            trace_young: visit::<Plain<'gc, T>, C::Young>,
        });
    }

    /// Lets the objects that would die live once more, and hands them to their guardians. Says whether there were any.
    fn rescue_by<V: Visitor>(&mut self, visitor: &mut V, which: impl Fn(&Guarded<C>) -> Visit<V>) -> bool {
        let guarded = self.guarded.get_mut();
        let before = guarded.len();
        // Who is alive is asked of all before the first is rescued: what they lead to dies together with them.
        let fates: Vec<_> = guarded
            .iter()
            .map(|entry| (visitor.fate(entry.guardian, false), visitor.fate(entry.object, entry.tiny)))
            .collect();
        let mut fates = fates.into_iter();
        guarded.retain_mut(|entry| match fates.next() {
            Some((Some(_), Some(_))) => true,
            Some((Some(guardian), None)) => {
                which(entry)(&mut entry.object, visitor);
                (entry.hand_over)(guardian, entry.object);
                visitor.touched(guardian);
                false
            }
            _ => false,
        });
        guarded.len() != before
    }

    pub(super) fn rescue(&mut self, marker: &mut C::Marker) -> bool {
        self.rescue_by(marker, |entry| entry.trace)
    }

    pub(super) fn rescue_young(&mut self, young: &mut C::Young) -> bool {
        self.rescue_by(young, |entry| entry.trace_young)
    }

    /// Forgets who is dead, and follows who has moved, or is about to.
    pub(super) fn settle(&mut self, fate: Fate<'_>, moved: bool) {
        self.weak.get_mut().retain_mut(|weak| {
            let Some(now) = fate(weak.body, true) else { return false };
            let there = if moved { now } else { weak.body };
            weak.body = now;
            // SAFETY: table: a live body.
            let body = unsafe { there.payload().cast::<Body>().as_ref() };
            body.target.set(body.target.get().and_then(|target| fate(target, weak.tiny)));
            body.target.get().is_some()
        });
        self.guarded.get_mut().retain_mut(|entry| {
            let (Some(guardian), Some(object)) =
                (fate(entry.guardian, false), fate(entry.object, entry.tiny))
            else {
                return false;
            };
            (entry.guardian, entry.object) = (guardian, object);
            true
        });
    }

    /// Shows all roots to a survey.
    pub(super) fn survey(&mut self, surveyor: &mut Surveyor) {
        self.each(|slot, object| (slot.survey)(object, surveyor));
    }

    pub(super) fn trace(&mut self, marker: &mut C::Marker) {
        self.each(|slot, object| (slot.trace)(object, marker));
    }

    pub(super) fn trace_young(&mut self, young: &mut C::Young) {
        self.each(|slot, object| (slot.trace_young)(object, young));
    }
}
