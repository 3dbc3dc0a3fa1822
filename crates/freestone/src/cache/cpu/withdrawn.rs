//! Threads whose cache number the kernel does not keep: the allocator's own, and one that calls `vfork`.
//!
//! # Safety
//!
//! Q1 of `rseq.rs`: every thread has an area at the offset noted, and a thread is in no sequence here.
#![allow(unsafe_code)]

use freestone_sys::linux;

use super::{AREA, AREA_LEN, CPU_ID_OFFSET, MM_CID_OFFSET, OWN_AREAS, libc_area, register_own_area, rseq};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::tls;

const FLAGS_OFFSET: usize = 16;

/// A field of the calling thread's area, which lies so far from the thread pointer.
fn field(area: usize, offset: usize) -> &'static AtomicU32 {
    let at = tls::thread_pointer().wrapping_add(area).wrapping_add(offset);
    let field = core::ptr::with_exposed_provenance::<AtomicU32>(at);
    // SAFETY: a field of the area that every thread has (Q1 of rseq.rs).
    unsafe { &*field }
}

/// In a thread that is not registered with the kernel, so that its cache number may be another thread's: takes the number
/// away. The allocator's own thread is one; a child of `vfork`, which runs on its parent's thread-local data, another, unless
/// its parent was [`withdraw`]n. The kernel then writes the parent's number anew when it next moves the parent to another CPU or id
/// (before Linux 6.19 whenever the parent runs again), and until then the parent goes without a cache.
pub(crate) fn forget_number() {
    let area = AREA.load(Ordering::Relaxed);
    if area != 0 {
        for offset in [CPU_ID_OFFSET, MM_CID_OFFSET] {
            field(area, offset).store(u32::MAX, Ordering::Relaxed);
        }
    }
}

/// Has the kernel forget the calling thread's area, so that it numbers no cache and may be written to, until [`enroll`] with the length
/// that is returned; 0 where nothing was done. To be called while no signal is taken: unregistering sets a concurrency id to 0.
pub(crate) fn withdraw() -> u32 {
    /// In the field of flags: the kernel was asked for longer slices of time where that helps, which a registration anew would undo.
    const SLICES: u32 = 1 << 5;
    let area = AREA.load(Ordering::Relaxed);
    if area == 0 {
        return 0;
    }
    let is_numbered = field(area, CPU_ID_OFFSET).load(Ordering::Relaxed) != u32::MAX;
    // A child would register an area of its own in its parent's place, and leave it there.
    let is_registered = is_numbered || OWN_AREAS.load(Ordering::Relaxed) && register_own_area();
    if !is_registered {
        return 0;
    }
    if field(area, FLAGS_OFFSET).load(Ordering::Relaxed) & SLICES != 0 {
        return 0;
    }
    let len = if OWN_AREAS.load(Ordering::Relaxed) { 0 } else { libc_area().map_or(0, |(_, size)| size) };
    // Shorter ones the kernel does not take, so glibc registers as much; where its area is longer than what it tells, whole units.
    let len = len.max(AREA_LEN);
    let at = core::ptr::with_exposed_provenance_mut(tls::thread_pointer().wrapping_add(area));
    // SAFETY: the area of this thread, which is in no sequence; if it is registered otherwise, the kernel refuses.
    let unregister = |len: &u32| unsafe { linux::rseq_unregister(at, *len, rseq::SIGNATURE) }.is_ok();
    let Some(len) = [len, len.next_multiple_of(AREA_LEN)].into_iter().find(unregister) else { return 0 };
    forget_number();
    len
}

/// Registers the calling thread's area as it was before [`withdraw`]. Where that is refused, the thread goes without a cache.
pub(crate) fn enroll(len: u32) {
    let at = tls::thread_pointer().wrapping_add(AREA.load(Ordering::Relaxed));
    // SAFETY: the thread's own area, registered so before: libc's, or that of `ThreadState`.
    let _ = unsafe {
        linux::rseq_register_again(core::ptr::with_exposed_provenance_mut(at), len, rseq::SIGNATURE)
    };
}

#[cfg(test)]
mod tests {
    use super::super::{CpuAccess, INDEX};
    use super::*;
    use crate::start::{self, Mode};

    #[test]
    fn a_withdrawn_thread_has_no_cache_until_it_is_enrolled() {
        let block = crate::front::malloc(1);
        if start::mode() != Mode::Cpu {
            return freestone_testkit::skipped(format_args!("no restartable sequences"));
        }
        // SAFETY: Q1, the allocator has started.
        let number = || unsafe { rseq::cache_number(INDEX.load(Ordering::Relaxed)) };
        // SAFETY: the block is ours.
        unsafe { crate::front::free(block) };
        assert!(number() >= 0);
        let area = withdraw();
        assert!(area >= AREA_LEN);
        assert_eq!(withdraw(), 0);
        // The kernel writes nothing to it, however often the thread begins to run again.
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert_eq!(number(), -1);
            assert!(CpuAccess::current().is_none());
        }
        // SAFETY: the block is used no more.
        unsafe { crate::front::free(crate::front::malloc(100)) };
        enroll(area);
        assert!(number() >= 0);
    }
}
