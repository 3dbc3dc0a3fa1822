//! Ephemerons whose keys are not known to be alive, by key: who is marked is looked up once, and nobody is asked again and again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Pending;
use super::kind::CELL;
use super::object::Object;

/// Ephemerons that wait for their keys, of objects that do not move while one marks.
pub(crate) struct Waiting<V> {
    by_key: HashMap<usize, Vec<Pending<V>>, BuildHasherDefault<Spread>>,
}

/// What a key is known by: the objects in one cell live and die together.
fn name(key: Object, celled: bool) -> usize {
    if celled { key.address() / CELL * CELL } else { key.address() }
}

impl<V> Waiting<V> {
    pub(crate) fn new() -> Self {
        Waiting { by_key: HashMap::default() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Waits until the key is marked. `celled`: it lies in a cell.
    pub(crate) fn insert(&mut self, pending: Pending<V>, celled: bool) {
        self.by_key.entry(name(pending.key, celled)).or_default().push(pending);
    }

    /// A key was marked: those that waited for it.
    pub(crate) fn take(&mut self, key: Object, celled: bool) -> Vec<Pending<V>> {
        self.by_key.remove(&name(key, celled)).unwrap_or_default()
    }

    /// All, since no further key will be marked.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Pending<V>> + '_ {
        self.by_key.drain().flat_map(|(_, waiting)| waiting)
    }
}

/// Spreads addresses, of which nobody chooses any: a multiplication by 2^64 over the golden ratio (Knuth), folded.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_usize(usize::from(byte)));
    }

    fn write_usize(&mut self, address: usize) {
        let product = u128::from(self.0 ^ address as u64) * 0x9E37_79B9_7F4A_7C15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
