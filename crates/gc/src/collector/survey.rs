//! Who is alive, and why: a picture of the heap.
//!
//! # Safety
//!
//! *Reached*, as in [`marker`](super::marker); a survey changes nothing.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;

use super::kind::{Kind, size_in_chunk};
use super::object::Object;
use super::{Pending, Visitor, sealed};

/// An object in a [`Survey`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Surveyed {
    /// The type, as `std::any::type_name` says it.
    pub kind: &'static str,
    /// Bytes of the object with its header; what it has elsewhere (a `Vec`'s elements) does not count.
    pub bytes: usize,
    /// What it points to, as numbers of [`Survey::objects`]; one that it points to twice is in it twice.
    pub edges: Vec<usize>,
    /// Its address at the moment.
    pub address: usize,
}

/// A picture of all that can be reached in a heap; see [`Heap::survey`](crate::Heap::survey).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Survey {
    /// The objects, those nearest to the roots first.
    pub objects: Vec<Surveyed>,
    /// What the root of the heap points to.
    pub root: Vec<usize>,
    /// What roots outside point to.
    pub rooted: Vec<usize>,
}

/// The objects of one type in a [`Survey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindTotal {
    /// How many.
    pub objects: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Survey {
    /// Objects and bytes by type, the most bytes first.
    pub fn by_kind(&self) -> Vec<(&'static str, KindTotal)> {
        let mut totals: BTreeMap<&str, KindTotal> = BTreeMap::new();
        for object in &self.objects {
            let total = totals.entry(object.kind).or_default();
            total.objects += 1;
            total.bytes += object.bytes;
        }
        let mut totals: Vec<_> = totals.into_iter().collect();
        totals.sort_by_key(|(_, total)| core::cmp::Reverse(total.bytes));
        totals
    }

    /// Why an object is alive: a shortest way from a root to it, both ends included; empty if there is none.
    pub fn path_to(&self, object: usize) -> Vec<usize> {
        let mut from: Vec<Option<usize>> = vec![None; self.objects.len()];
        let mut seen = vec![false; self.objects.len()];
        let mut todo: VecDeque<usize> = VecDeque::new();
        for &root in self.root.iter().chain(&self.rooted) {
            if !core::mem::replace(&mut seen[root], true) {
                todo.push_back(root);
            }
        }
        while let Some(at) = todo.pop_front() {
            if at == object {
                let mut path: Vec<usize> = core::iter::successors(Some(at), |&at| from[at]).collect();
                path.reverse();
                return path;
            }
            for &next in &self.objects[at].edges {
                if !core::mem::replace(&mut seen[next], true) {
                    from[next] = Some(at);
                    todo.push_back(next);
                }
            }
        }
        Vec::new()
    }

    /// Writes the survey as one JSON object: `{"root":[..],"rooted":[..],"objects":[{"kind":..,"bytes":..,"address":..,"edges":[..]},..]}`.
    ///
    /// # Errors
    ///
    /// What writing returns.
    pub fn write_json(&self, out: &mut impl io::Write) -> io::Result<()> {
        write!(out, "{{\"root\":{:?},\"rooted\":{:?},\"objects\":[", self.root, self.rooted)?;
        for (number, object) in self.objects.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            // A type's name has neither quotes nor control characters, but for those in the literals of const parameters.
            let kind = object.kind.escape_default();
            let Surveyed { bytes, address, edges, .. } = object;
            write!(
                out,
                "{comma}\n{{\"kind\":\"{kind}\",\"bytes\":{bytes},\"address\":{address},\"edges\":{edges:?}}}"
            )?;
        }
        writeln!(out, "]}}")
    }
}

/// What draws the picture.
#[doc(hidden)]
#[derive(Default)]
pub struct Surveyor {
    survey: Survey,
    numbers: HashMap<usize, usize>,
    /// Objects whose pointers have not been followed yet, in their order.
    work: VecDeque<Found>,
    pending: Vec<Pending<Surveyor>>,
    /// The edges of what is being traced.
    edges: Vec<usize>,
}

impl sealed::Sealed for Surveyor {}

/// An object, and how its pointers are followed.
type Found = (Object, fn(Object, &mut Surveyor));

fn trace<K: Kind>(object: Object, surveyor: &mut Surveyor) {
    // SAFETY: reached: an object of that kind, by the edge that led to it.
    unsafe { K::trace(object, surveyor) };
}

impl Visitor for Surveyor {
    fn edge<K: Kind>(&mut self, place: &mut Object) {
        let object = *place;
        let next = self.survey.objects.len();
        let number = *self.numbers.entry(object.address()).or_insert(next);
        self.edges.push(number);
        if number == next {
            let bytes = size_in_chunk::<K>(object);
            let address = object.address();
            self.survey.objects.push(Surveyed { kind: K::name(), bytes, edges: Vec::new(), address });
            self.work.push_back((object, trace::<K>));
        }
    }

    fn fate(&self, object: Object, _tiny: bool) -> Option<Object> {
        self.numbers.contains_key(&object.address()).then_some(object)
    }

    fn ephemeron(&mut self, pending: Pending<Self>) {
        self.pending.push(pending);
    }
}

impl Surveyor {
    /// Takes the edges seen since the last time.
    pub(crate) fn take_edges(&mut self) -> Vec<usize> {
        core::mem::take(&mut self.edges)
    }

    fn follow(&mut self) {
        while let Some((object, trace)) = self.work.pop_front() {
            trace(object, self);
            self.attribute(object);
        }
    }

    fn attribute(&mut self, object: Object) {
        let edges = self.take_edges();
        if let Some(&number) = self.numbers.get(&object.address()) {
            self.survey.objects[number].edges.extend(edges);
        }
    }

    /// Follows everything from what was shown.
    pub(crate) fn finish(mut self, root: Vec<usize>, rooted: Vec<usize>) -> Survey {
        loop {
            self.follow();
            let mut any = false;
            for ephemeron in core::mem::take(&mut self.pending) {
                if (ephemeron.attempt)(ephemeron.object, &mut self) {
                    any = true;
                    self.attribute(ephemeron.object);
                } else {
                    self.pending.push(ephemeron);
                }
            }
            if !any {
                return Survey { root, rooted, ..self.survey };
            }
        }
    }
}
