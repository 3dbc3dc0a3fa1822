//! The one way into the slow path. Nobody enters twice, and nobody enters while the process forks.
//!
//! A thread that is refused is served by the emergency allocator and by deferred frees, which are lock-free.
//! So a signal handler that interrupts the allocator, a libc function that allocates while we call it, and
//! a fork handler that allocates while other threads are held off all make progress, and no lock of ours is
//! ever waited for by somebody who holds a lock of libc over fork.
//!
//! The argument for fork. `inside` counts the threads inside, spread over lines to keep it cheap. A thread
//! enters by counting itself (SeqCst) and then reading `forking` (SeqCst); the forking thread sets `forking`
//! and then reads the counts (both SeqCst). In the single order of these operations either the entering
//! thread sees the fork, and leaves, or the forking thread sees the count, and waits until it falls. Nobody
//! inside ever waits for anything but a lock whose holder is inside too, so the wait ends. When it has
//! ended, no critical section is under way, and none begins before `forking` falls: the child's copy of the
//! heap is whole. Caches need no such care: every operation on them commits with one store.

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::tls::{self, ThreadState};

const SHARDS: usize = 16;

#[repr(align(128))]
struct Shard(AtomicUsize);

/// Who is inside, and who forks; a type of its own so that a model checker can have many.
pub(crate) struct Gate<const N: usize> {
    /// Threads inside.
    inside: [Shard; N],
    /// Forks under way.
    forking: AtomicUsize,
}

static GATE: Gate<SHARDS> = Gate::new();

/// The thread is inside the allocator until this is dropped.
pub(crate) struct Entry<'a> {
    shard: &'a Shard,
    busy: &'a AtomicU8,
}

/// The calling thread is inside the allocator until this is dropped.
pub(crate) type Inside = Entry<'static>;

impl<const N: usize> Gate<N> {
    pub(crate) const fn new() -> Gate<N> {
        Gate { inside: [const { Shard(AtomicUsize::new(0)) }; N], forking: AtomicUsize::new(0) }
    }

    /// Enters for the thread that `busy` belongs to and that counts itself in `shard`, or returns `None` when it
    /// is inside already or the process forks.
    #[inline]
    pub(crate) fn enter<'a>(&'a self, busy: &'a AtomicU8, shard: usize) -> Option<Entry<'a>> {
        if busy.load(Ordering::Relaxed) != 0 {
            return None;
        }
        busy.store(1, Ordering::Relaxed);
        let shard = &self.inside[shard];
        shard.0.fetch_add(1, Ordering::SeqCst);
        let inside = Entry { shard, busy };
        if self.forking.load(Ordering::SeqCst) != 0 {
            return None;
        }
        Some(inside)
    }

    /// Holds new entries off and waits until nobody is inside but the `own` entries of the caller.
    pub(crate) fn close(&self, own: usize, wait: impl Fn()) {
        self.forking.fetch_add(1, Ordering::SeqCst);
        while self.inside.iter().map(|shard| shard.0.load(Ordering::SeqCst)).sum::<usize>() > own {
            wait();
        }
    }

    /// Ends one fork.
    pub(crate) fn open(&self) {
        self.forking.fetch_sub(1, Ordering::SeqCst);
    }

    /// Ends all forks in a process that has one thread, whose own entries `shard` counts. A thread that had
    /// counted itself only to find the fork and leave again is gone with its count standing.
    pub(crate) fn reopen_alone(&self, own: usize, shard: usize) {
        for (number, place) in self.inside.iter().enumerate() {
            let standing = if number == shard { own.min(place.0.load(Ordering::SeqCst)) } else { 0 };
            place.0.store(standing, Ordering::SeqCst);
        }
        self.forking.store(0, Ordering::SeqCst);
    }
}

impl Drop for Entry<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: whoever sees the count fall sees what was done inside.
        self.shard.0.fetch_sub(1, Ordering::Release);
        self.busy.store(0, Ordering::Relaxed);
    }
}

#[inline]
fn shard_of(thread: &ThreadState) -> usize {
    (core::ptr::from_ref(thread).addr() >> 12) % SHARDS
}

/// Entries of the calling thread: a signal handler may fork on top of the allocator, whose thread goes on in the child.
fn own_entries(thread: &ThreadState) -> usize {
    usize::from(thread.busy.load(Ordering::Relaxed) != 0)
}

/// Enters, or returns `None` when the thread is inside already or the process forks.
#[inline]
pub(crate) fn enter() -> Option<Inside> {
    let thread = tls::current();
    GATE.enter(&thread.busy, shard_of(thread))
}

/// Before fork, in the parent: holds new entries off and waits until everybody else has left.
pub(crate) extern "C" fn before_fork() {
    GATE.close(own_entries(tls::current()), freestone_sys::linux::process::yield_now);
}

/// After fork, in the parent.
pub(crate) extern "C" fn after_fork_in_parent() {
    GATE.open();
}

/// After fork, in the child, which has one thread: forks that other threads had begun are gone.
pub(crate) extern "C" fn after_fork_in_child() {
    let thread = tls::current();
    GATE.reopen_alone(own_entries(thread), shard_of(thread));
    crate::start::forked_child();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_twice_nor_during_a_fork() {
        let first = enter().expect("free");
        assert!(enter().is_none());
        drop(first);
        before_fork();
        assert!(enter().is_none());
        after_fork_in_parent();
        assert!(enter().is_some());
    }

    #[test]
    fn a_child_forgets_the_entries_of_threads_that_are_gone() {
        let gate = Gate::<2>::new();
        let (gone, own) = (AtomicU8::new(0), AtomicU8::new(0));
        core::mem::forget(gate.enter(&gone, 0));
        let inside = gate.enter(&own, 1);
        gate.forking.fetch_add(2, Ordering::SeqCst);
        gate.reopen_alone(1, 1);
        gate.close(1, || panic!("waits for a thread that does not exist"));
        gate.open();
        drop(inside);
        gate.close(0, || panic!("waits for itself"));
    }
}
