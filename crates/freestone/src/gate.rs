//! The one way into the slow path. Nobody enters twice, and nobody enters while the process forks.
//!
//! A thread that is refused is served by the emergency allocator and by deferred frees, which are lock-free.
//! So a signal handler that interrupts the allocator, a libc function that allocates while we call it, and
//! a fork handler that allocates while other threads are held off all make progress, and no lock of ours is
//! ever waited for by somebody who holds a lock of libc over fork. An allocation that meets a fork first waits a moment
//! for it to end, a bounded one for the same reason.
//!
//! The argument for fork. `inside` counts the threads inside, spread over lines to keep it cheap. A thread
//! enters by counting itself (SeqCst) and then reading `forking` (SeqCst); the forking thread sets `forking`
//! and then reads the counts (both SeqCst). In the single order of these operations either the entering
//! thread sees the fork, and leaves, or the forking thread sees the count, and waits until it falls. Nobody
//! inside ever waits for anything but a lock whose holder is inside too, so the wait ends. When it has
//! ended, no critical section is under way, and none begins before `forking` falls: the child's copy of the
//! heap is whole. A thread that is alone counts itself by plain stores (`sync/alone.rs`): only itself can fork. Caches need no such care: every operation on them commits with one store.

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use freestone_sys::linux::{control, monotonic_ns};

use crate::sync::{enter_plainly, leave_plainly, plain};
use crate::tls::{self, ThreadState};

const SHARDS: usize = 16;

/// `ThreadState::busy` of a thread that must not be entered again.
const MARKED: u8 = 1;
/// The same, and the thread stands in the count.
const COUNTED: u8 = 2;

#[repr(align(128))]
struct Shard(AtomicUsize);

impl Shard {
    #[inline]
    fn enter(&self) {
        if enter_plainly() {
            self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[inline]
    fn leave(&self) {
        if plain() {
            self.0.store(self.0.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            leave_plainly();
        } else {
            // Release: whoever sees the count fall sees what was done inside.
            self.0.fetch_sub(1, Ordering::Release);
        }
    }
}

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
        busy.store(MARKED, Ordering::Relaxed);
        let shard = &self.inside[shard];
        shard.enter();
        busy.store(COUNTED, Ordering::Relaxed);
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

    /// The same for a caller that a signal interrupted inside or at the gate: it may hold a lock that others inside wait
    /// for, or stand in the count without knowing. So it waits only while `wait` says yes.
    pub(crate) fn close_in_handler(&self, own: usize, wait: impl Fn() -> bool) {
        self.forking.fetch_add(1, Ordering::SeqCst);
        while self.inside.iter().map(|shard| shard.0.load(Ordering::SeqCst)).sum::<usize>() > own && wait() {}
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
        self.busy.store(MARKED, Ordering::Relaxed);
        self.shard.leave();
        self.busy.store(0, Ordering::Relaxed);
    }
}

#[inline]
fn shard_of(thread: &ThreadState) -> usize {
    (core::ptr::from_ref(thread).addr() >> 12) % SHARDS
}

/// Entries of the calling thread: a signal handler may fork on top of the allocator, whose thread goes on in the child.
fn own_entries(thread: &ThreadState) -> usize {
    usize::from(thread.busy.load(Ordering::Relaxed) == COUNTED)
}

/// Enters, or returns `None` when the thread is inside already or the process forks.
#[inline]
pub(crate) fn enter() -> Option<Inside> {
    let thread = tls::current();
    GATE.enter(&thread.busy, shard_of(thread))
}

/// Enters, waiting a moment for a fork of another thread to be done, or returns `None`. Forks seldom take
/// longer; the wait is bounded because the forking thread may be waiting for a lock of libc that the caller holds.
#[inline]
pub(crate) fn enter_patiently() -> Option<Inside> {
    enter().or_else(wait_to_enter)
}

#[cold]
#[inline(never)]
fn wait_to_enter() -> Option<Inside> {
    let thread = tls::current();
    let mut patience = None;
    loop {
        if let Some(inside) = GATE.enter(&thread.busy, shard_of(thread)) {
            return Some(inside);
        }
        let own = thread.busy.load(Ordering::Relaxed) != 0 || thread.forking.load(Ordering::Relaxed) != 0;
        if own || !patience.get_or_insert_with(Patience::new).wait() {
            return None;
        }
    }
}

/// A wait that ends: 10 ms at most.
struct Patience {
    until_ns: u64,
}

impl Patience {
    fn new() -> Patience {
        Patience { until_ns: monotonic_ns() + 10_000_000 }
    }

    /// Lets others run; false when the time is up.
    fn wait(&self) -> bool {
        control::yield_now();
        monotonic_ns() < self.until_ns
    }
}

/// Before fork, in the parent: holds new entries off and waits until everybody else has left.
pub(crate) extern "C" fn before_fork() {
    let thread = tls::current();
    thread.forking.store(1, Ordering::Relaxed);
    if thread.busy.load(Ordering::Relaxed) == 0 {
        GATE.close(0, control::yield_now);
    } else {
        let patience = Patience::new();
        GATE.close_in_handler(own_entries(thread), || patience.wait());
    }
    crate::start::before_fork();
}

/// After fork, in the parent.
pub(crate) extern "C" fn after_fork_in_parent() {
    GATE.open();
    tls::current().forking.store(0, Ordering::Relaxed);
}

/// After fork, in the child, which has one thread: forks that other threads had begun are gone.
pub(crate) extern "C" fn after_fork_in_child() {
    let thread = tls::current();
    // Marked, not counted: a handler forked right beside the count, and the thread will take itself out of it.
    let own = usize::from(thread.busy.load(Ordering::Relaxed) != 0);
    GATE.reopen_alone(own, shard_of(thread));
    thread.forking.store(0, Ordering::Relaxed);
    crate::start::forked_child();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_twice_nor_during_a_fork() {
        let first = enter_patiently().expect("free");
        assert!(enter().is_none());
        drop(first);
        before_fork();
        assert!(enter().is_none());
        after_fork_in_parent();
        assert!(enter_patiently().is_some());
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
