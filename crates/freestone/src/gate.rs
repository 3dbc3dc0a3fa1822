//! The one way into the slow path. Nobody enters twice, and nobody enters while the process forks.
//!
//! A thread that is refused is served by the emergency allocator and by deferred frees, which are lock-free.
//! So a signal handler that interrupts the allocator, a libc function that allocates while we call it, and
//! a fork handler that allocates while other threads are held off all make progress, and no lock of ours is
//! ever waited for by somebody who holds a lock of libc over fork.
//!
//! The argument for fork. `INSIDE` counts the threads inside, spread over lines to keep it cheap. A thread
//! enters by counting itself (SeqCst) and then reading `FORKING` (SeqCst); the forking thread sets `FORKING`
//! and then reads the counts (both SeqCst). In the single order of these operations either the entering
//! thread sees the fork, and leaves, or the forking thread sees the count, and waits until it falls. Nobody
//! inside ever waits for anything but a lock whose holder is inside too, so the wait ends. When it has
//! ended, no critical section is under way, and none begins before `FORKING` falls: the child's copy of the
//! heap is whole. Caches need no such care: every operation on them commits with one store.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::tls;

const SHARDS: usize = 16;

#[repr(align(128))]
struct Shard(AtomicUsize);

static INSIDE: [Shard; SHARDS] = [const { Shard(AtomicUsize::new(0)) }; SHARDS];
/// Forks under way.
static FORKING: AtomicUsize = AtomicUsize::new(0);

/// The calling thread is inside the allocator until this is dropped.
pub(crate) struct Inside {
    shard: &'static Shard,
}

/// Enters, or returns `None` when the thread is inside already or the process forks.
#[inline]
pub(crate) fn enter() -> Option<Inside> {
    let thread = tls::current();
    if thread.busy.load(Ordering::Relaxed) != 0 {
        return None;
    }
    thread.busy.store(1, Ordering::Relaxed);
    let shard = &INSIDE[(core::ptr::from_ref(thread).addr() >> 12) % SHARDS];
    shard.0.fetch_add(1, Ordering::SeqCst);
    let inside = Inside { shard };
    if FORKING.load(Ordering::SeqCst) != 0 {
        return None;
    }
    Some(inside)
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        // Release: whoever sees the count fall sees what was done inside.
        self.shard.0.fetch_sub(1, Ordering::Release);
        tls::current().busy.store(0, Ordering::Relaxed);
    }
}

/// Before fork, in the parent: holds new entries off and waits until everybody else has left.
pub(crate) extern "C" fn before_fork() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    // A signal handler may fork on top of the allocator; its own thread goes on in the child.
    let own = usize::from(tls::current().busy.load(Ordering::Relaxed) != 0);
    while INSIDE.iter().map(|shard| shard.0.load(Ordering::SeqCst)).sum::<usize>() > own {
        freestone_sys::linux::process::yield_now();
    }
}

/// After fork, in the parent.
pub(crate) extern "C" fn after_fork_in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

/// After fork, in the child, which has one thread: forks that other threads had begun are gone.
pub(crate) extern "C" fn after_fork_in_child() {
    FORKING.store(0, Ordering::SeqCst);
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
}
