//! Which handles an object has.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};

use super::core::Core;
use super::handle::Cc;
use super::table::State;
use freestone_kit::Alloc;

/// Says which handles a value has: [`links!`](crate::links) writes it for a type from its fields.
///
/// A handle is reported once for each time that it is there; handles that belong to somebody else are not reported. Those that
/// are left out, such as one in a `RefCell`, count as held from outside: a circle through it is never collected. The type of each
/// field that is visited says the rest.
///
/// No implementation can break memory safety; see [the module](super).
pub trait Links {
    /// Whether there may be a handle in such a value at all. Objects without are never candidates.
    const ANY: bool = true;

    /// Visits all fields that have handles.
    fn links(&self, to: &mut Visit<'_>);
}

/// What the visit is for.
pub(super) enum Aim {
    /// Counts the handles, and enters objects that are new.
    Trial,
    /// Marks as live.
    Live,
    /// Empties slots.
    Unlink,
    /// The handles are about to move where nobody sees it: their objects are live for this collection.
    Touch,
}

/// Goes through the fields of an object for the collector.
pub struct Visit<'a> {
    pub(super) aim: Aim,
    /// The collector; none for a touch, which is for all.
    pub(super) core: Option<&'a Core>,
    /// Handles seen.
    pub(super) edges: usize,
}

impl Visit<'_> {
    /// Visits a field.
    #[inline]
    pub fn visit<L: Links + ?Sized>(&mut self, field: &L) {
        field.links(self);
    }

    /// Touches all that `value` has handles to, for the collections under way on this thread.
    pub(super) fn touch<L: Links + ?Sized>(value: &L) {
        if Core::any_active() {
            value.links(&mut Visit { aim: Aim::Touch, core: None, edges: 0 });
        }
    }

    pub(super) fn unlinks(&self) -> bool {
        matches!(self.aim, Aim::Unlink)
    }
}

impl<T: ?Sized, A: Alloc + 'static> Links for Cc<T, A> {
    fn links(&self, to: &mut Visit<'_>) {
        to.edges += 1;
        let home = Cc::home(self);
        let Some(core) = to.core else {
            home.touch(Cc::bare(self));
            return;
        };
        // Objects of others are outside.
        if !std::ptr::eq(core, home) {
            return;
        }
        match to.aim {
            Aim::Trial => core.table.borrow_mut().count(Cc::bare_pointer(self)),
            Aim::Live => {
                let mut table = core.table.borrow_mut();
                let number = Cc::bare(self).entry.get();
                if number != 0 && table.entry(number).state == State::Traced {
                    table.enliven(number);
                }
            }
            Aim::Unlink | Aim::Touch => {}
        }
    }
}

macro_rules! no_links {
    ($($type:ty),* $(,)?) => {
        $(impl Links for $type {
            const ANY: bool = false;

            #[inline]
            fn links(&self, _to: &mut Visit<'_>) {}
        })*
    };
}

no_links!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    str,
    String,
    &'static str,
);

macro_rules! each {
    ([$($generics:tt)*] $type:ty, $($element:ident),+) => {
        impl<$($generics)*> Links for $type {
            const ANY: bool = $($element::ANY)||+;

            fn links(&self, to: &mut Visit<'_>) {
                if Self::ANY {
                    self.iter().for_each(|element| to.visit(element));
                }
            }
        }
    };
}

each!([T: Links] Option<T>, T);
each!([T: Links] Vec<T>, T);
each!([T: Links] VecDeque<T>, T);
each!([T: Links] BinaryHeap<T>, T);
each!([T: Links] [T], T);
each!([T: Links, const N: usize] [T; N], T);
each!([T: Links, S] HashSet<T, S>, T);

macro_rules! pairs {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Links for $type {
            const ANY: bool = K::ANY || V::ANY;

            fn links(&self, to: &mut Visit<'_>) {
                if Self::ANY {
                    for (key, value) in self {
                        to.visit(key);
                        to.visit(value);
                    }
                }
            }
        }
    };
}

pairs!([K: Links, V: Links] BTreeMap<K, V>);
pairs!([K: Links, V: Links, S] HashMap<K, V, S>);

impl<T: Links + ?Sized> Links for Box<T> {
    const ANY: bool = T::ANY;

    fn links(&self, to: &mut Visit<'_>) {
        (**self).links(to);
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Links),+> Links for ($($name,)+) {
            const ANY: bool = $($name::ANY)||+;

            #[allow(non_snake_case, reason = "the types' names serve for the fields")]
            fn links(&self, to: &mut Visit<'_>) {
                let ($($name,)+) = self;
                $(to.visit($name);)+
            }
        }
    };
}

tuple!(T1);
tuple!(T1 T2);
tuple!(T1 T2 T3);
tuple!(T1 T2 T3 T4);

/// Writes [`Links`](crate::counted::cycles::Links) for a structure, or for an enumeration, from the fields that have handles.
///
/// ```
/// use freestone_gc::counted::cycles::{Cc, Slot};
///
/// struct Pair { name: String, left: Slot<Option<Cc<Pair>>>, right: Slot<Option<Cc<Pair>>> }
/// freestone_gc::links!(Pair { left, right });
///
/// struct Leaf(u32);
/// freestone_gc::links!(Leaf {});
///
/// struct Wrapped<T>(T);
/// freestone_gc::links!([T: freestone_gc::counted::cycles::Links] Wrapped<T> { 0 });
///
/// enum Value { Nothing, Number(f64), List(Cc<Slot<Vec<Value>>>), Both(Cc<Pair>, Cc<Pair>) }
/// freestone_gc::links!(enum Value { Value::List(list) => [list], Value::Both(one, two) => [one, two] });
/// ```
#[macro_export]
macro_rules! links {
    (enum $type:ty { $($pattern:pat => [$($field:expr),* $(,)?]),* $(,)? }) => {
        impl $crate::counted::cycles::Links for $type {
            fn links(&self, to: &mut $crate::counted::cycles::Visit<'_>) {
                match self {
                    $($pattern => { $(to.visit($field);)* })*
                    #[allow(unreachable_patterns)]
                    _ => {}
                }
            }
        }
    };
    ([$($generics:tt)*] $type:ty { $($field:tt),* $(,)? }) => {
        impl<$($generics)*> $crate::counted::cycles::Links for $type {
            const ANY: bool = {
                const FIELDS: &[&str] = &[$(stringify!($field)),*];
                !FIELDS.is_empty()
            };

            fn links(&self, to: &mut $crate::counted::cycles::Visit<'_>) {
                $(to.visit(&self.$field);)*
                let _ = to;
            }
        }
    };
    ($type:ident { $($field:tt),* $(,)? }) => {
        $crate::links!([] $type { $($field),* });
    };
}
