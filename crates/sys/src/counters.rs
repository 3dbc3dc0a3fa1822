//! What was asked of the system, counted for the report.
//!
//! The counters are independent statistics: every access is relaxed and orders nothing.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls made and bytes moved, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SystemCalls {
    /// Ranges mapped, at a given address or anywhere.
    pub map: u64,
    /// Ranges of addresses reserved.
    pub reserve: u64,
    /// Parts of reservations committed.
    pub commit: u64,
    /// Ranges purged.
    pub purge: u64,
    /// Ranges released.
    pub release: u64,
    /// Ranges moved.
    pub moves: u64,
    /// Calls of any kind that the system refused; they are counted above as well.
    pub refused: u64,
    /// Bytes in the ranges mapped.
    pub bytes_mapped: u64,
    /// Bytes in the ranges reserved.
    pub bytes_reserved: u64,
    /// Bytes in the ranges committed.
    pub bytes_committed: u64,
    /// Bytes in the ranges purged.
    pub bytes_purged: u64,
    /// Bytes in the ranges released.
    pub bytes_released: u64,
    /// Bytes in the ranges moved.
    pub bytes_moved: u64,
}

/// The kinds of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallKind {
    /// `map` and `map_at`.
    Map,
    /// `reserve`.
    Reserve,
    /// `commit`.
    Commit,
    /// `purge`.
    Purge,
    /// `release`.
    Release,
    /// `move_pages`.
    Move,
}

const KINDS: usize = 6;

/// Running counts, one set for each implementation of the system.
pub struct Counters {
    calls: [AtomicU64; KINDS],
    bytes: [AtomicU64; KINDS],
    refused: AtomicU64,
}

impl Counters {
    /// All zero.
    pub const fn new() -> Counters {
        Counters {
            calls: [const { AtomicU64::new(0) }; KINDS],
            bytes: [const { AtomicU64::new(0) }; KINDS],
            refused: AtomicU64::new(0),
        }
    }

    /// Counts one call on `len` bytes; bytes count only where the system did it.
    pub fn count<T, E>(&self, kind: CallKind, len: usize, outcome: &Result<T, E>) {
        self.calls[kind as usize].fetch_add(1, Relaxed);
        if outcome.is_ok() {
            self.bytes[kind as usize].fetch_add(len as u64, Relaxed);
        } else {
            self.refused.fetch_add(1, Relaxed);
        }
    }

    /// The counts now.
    pub fn snapshot(&self) -> SystemCalls {
        let calls = |kind: CallKind| self.calls[kind as usize].load(Relaxed);
        let bytes = |kind: CallKind| self.bytes[kind as usize].load(Relaxed);
        SystemCalls {
            map: calls(CallKind::Map),
            reserve: calls(CallKind::Reserve),
            commit: calls(CallKind::Commit),
            purge: calls(CallKind::Purge),
            release: calls(CallKind::Release),
            moves: calls(CallKind::Move),
            refused: self.refused.load(Relaxed),
            bytes_mapped: bytes(CallKind::Map),
            bytes_reserved: bytes(CallKind::Reserve),
            bytes_committed: bytes(CallKind::Commit),
            bytes_purged: bytes(CallKind::Purge),
            bytes_released: bytes(CallKind::Release),
            bytes_moved: bytes(CallKind::Move),
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_counts_as_a_call_but_moves_no_bytes() {
        let counters = Counters::new();
        counters.count(CallKind::Map, 4096, &Ok::<_, ()>(()));
        counters.count(CallKind::Map, 4096, &Err::<(), _>(()));
        let calls = counters.snapshot();
        assert_eq!((calls.map, calls.bytes_mapped, calls.refused), (2, 4096, 1));
    }
}
