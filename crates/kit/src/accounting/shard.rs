//! Which shard of the ledger this thread uses. Any will do; different threads had better have different ones.

#[cfg(feature = "std")]
pub(super) fn own() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        static OWN: core::cell::Cell<usize> = const { core::cell::Cell::new(usize::MAX) };
    }
    OWN.try_with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % super::ledger::SHARDS);
        }
        own.get()
    })
    .unwrap_or(0)
}

/// Without thread-locals the stack tells threads apart: two of them are half a mebibyte apart or more, nearly always.
#[cfg(not(feature = "std"))]
pub(super) fn own() -> usize {
    let local = 0_u8;
    let address = core::hint::black_box(&raw const local).addr();
    (address >> 19).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60
}
