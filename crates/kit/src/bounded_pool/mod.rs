//! A pool of byte buffers with a bound on all of them together, after Kafka's.
//!
//! # What it is
//!
//! A source of buffers that never holds more than a given number of bytes: who asks for more than is
//! left waits until others give back. Buffers of one size, the *poolable* one, are kept for reuse; those of other sizes
//! are allocated from the parent and freed. Waiters are served in the order in which they came, the first with all that
//! comes in until he has enough, so that a big request is not starved by small ones. Who runs out of time leaves what
//! he had gathered to the next.
//!
//! # Where it comes from
//!
//! `BufferPool` of Kafka's producer (2013; `clients/src/main/java/.../BufferPool.java`), which bounds
//! the memory of records that are not sent yet. There a newcomer can take what a waiter has just been woken for; here
//! bytes are handed over under the lock, so the order is strict. There the garbage collector frees memory some time
//! after its bytes were granted to another; here before.
//!
//! # When to use it, and when not
//!
//! Where a producer is to be slowed down by its consumer, by bytes: queues to a network or a disk.
//! Not where nobody may wait (see [`try_acquire`](BoundedPool::try_acquire)), or most sizes differ from the
//! poolable one and speed matters; then take a [`Limiting`](crate::limiting) allocator.
//!
//! # Costs
//!
//! One lock for acquire and one for release, held for a few instructions, and for the parent's `deallocate` where
//! recyclable blocks are given up for another size. Memory: the bound, and one word for each recyclable block.
//!
//! # Example
//!
//! ```
//! use freestone_kit::{BoundedPool, bounded_pool::BoundedError, c::C};
//! use std::time::Duration;
//!
//! let pool = BoundedPool::new(64 << 10, 16 << 10, C);
//! let mut buffer = pool.acquire(16 << 10)?;
//! buffer[..4].copy_from_slice(b"data");
//! let large = pool.acquire(48 << 10)?;
//! assert_eq!(pool.available(), 0);
//! let refused = pool.acquire_timeout(1, Duration::from_millis(1)).unwrap_err();
//! assert!(matches!(refused, BoundedError::TimedOut { .. }));
//! drop(large);
//! assert_eq!(pool.available(), 48 << 10);
//! # Ok::<(), BoundedError>(())
//! ```
//!
//! # Safety
//!
//! 1. *Blocks*: a pointer in the bank is a block of the parent of the poolable layout that nobody uses.
//! 2. *Buffers*: a buffer of more than zero bytes owns a block of the parent of its layout, all bytes written.
#![allow(unsafe_code)]

mod bank;
mod buffer;
mod monitor;

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Alloc;
use bank::{Bank, Denied, Grant};

pub use buffer::BoundedBuffer;

/// Alignment of all buffers, in bytes.
pub const ALIGN: usize = 16;

/// A block that nobody uses.
struct FreeBlock(NonNull<u8>);

// SAFETY: *blocks*: it is nobody's, and a parent that is used from several threads is `Sync`.
unsafe impl Send for FreeBlock {}

/// Why there is no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoundedError {
    /// More than the pool's bound: no wait would help.
    TooBig {
        /// Bytes asked for.
        wanted: usize,
        /// The pool's bound.
        total: usize,
    },
    /// Not to be had within the time, or at once if that was asked.
    TimedOut {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that were available at the end, this request's part included.
        available: usize,
    },
    /// The pool is closed.
    Closed,
    /// The parent has no memory, though the bound would allow it.
    OutOfMemory,
}

impl fmt::Display for BoundedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundedError::TooBig { wanted, total } => {
                write!(f, "{wanted} bytes were asked of a pool of {total} bytes in all")
            }
            BoundedError::TimedOut { wanted, available } => {
                write!(f, "{wanted} bytes could not be had in time; {available} bytes are available")
            }
            BoundedError::Closed => f.write_str("the pool is closed"),
            BoundedError::OutOfMemory => f.write_str("the parent of the pool has no memory"),
        }
    }
}

impl std::error::Error for BoundedError {}

/// What a pool has done, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoundedStats {
    /// Bytes that may be had now: those without memory behind them and those in blocks for reuse.
    pub available: usize,
    /// Bytes of `available` that have no memory behind them.
    pub unpooled: usize,
    /// Bytes that waiters have gathered.
    pub gathered: usize,
    /// Threads that wait.
    pub waiting: usize,
    /// Requests that were granted.
    pub granted: u64,
    /// Granted requests that reused a block.
    pub reused: u64,
    /// Requests that had to wait.
    pub waits: u64,
    /// Time that requests have waited, all together.
    pub wait_time: Duration,
    /// Requests that ran out of time, or wanted it at once and could not have it.
    pub exhausted: u64,
}

/// A pool of byte buffers with a bound in bytes.
pub struct BoundedPool<A: Alloc> {
    bank: Bank<FreeBlock>,
    parent: A,
    granted: AtomicU64,
    reused: AtomicU64,
    waits: AtomicU64,
    wait_ns: AtomicU64,
    exhausted: AtomicU64,
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, ALIGN).ok()
}

impl<A: Alloc> BoundedPool<A> {
    /// A pool of `total` bytes that keeps buffers of `poolable` bytes. Takes no memory yet.
    ///
    /// # Panics
    ///
    /// When `poolable` is zero.
    pub const fn new(total: usize, poolable: usize, parent: A) -> BoundedPool<A> {
        assert!(poolable > 0, "a block for reuse has a size");
        BoundedPool {
            bank: Bank::new(total, poolable),
            parent,
            granted: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            wait_ns: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }
    }

    /// A buffer of so many bytes; waits as long as it takes. Its contents are zeros or what an earlier user of the pool
    /// left.
    ///
    /// # Errors
    ///
    /// [`TooBig`](BoundedError::TooBig), [`Closed`](BoundedError::Closed), [`OutOfMemory`](BoundedError::OutOfMemory).
    pub fn acquire(&self, bytes: usize) -> Result<BoundedBuffer<'_, A>, BoundedError> {
        self.acquire_until(bytes, None)
    }

    /// The same, but waits no longer than `most`.
    ///
    /// # Errors
    ///
    /// As [`acquire`](BoundedPool::acquire), and [`TimedOut`](BoundedError::TimedOut).
    pub fn acquire_timeout(
        &self,
        bytes: usize,
        most: Duration,
    ) -> Result<BoundedBuffer<'_, A>, BoundedError> {
        // A time that no clock can say is no limit.
        self.acquire_until(bytes, Instant::now().checked_add(most))
    }

    /// The same without waiting. Refused also when others wait already.
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](BoundedPool::acquire_timeout).
    pub fn try_acquire(&self, bytes: usize) -> Result<BoundedBuffer<'_, A>, BoundedError> {
        self.check(bytes)?;
        match self.bank.try_take(bytes, &self.discard()) {
            Ok(Some(grant)) => self.furnish(bytes, grant),
            Ok(None) => Err(self.exhausted(bytes)),
            Err(denied) => Err(self.denied(bytes, denied)),
        }
    }

    fn acquire_until(
        &self,
        bytes: usize,
        until: Option<Instant>,
    ) -> Result<BoundedBuffer<'_, A>, BoundedError> {
        self.check(bytes)?;
        let denied = |denied| self.denied(bytes, denied);
        if let Some(grant) = self.bank.try_take(bytes, &self.discard()).map_err(denied)? {
            return self.furnish(bytes, grant);
        }
        let start = Instant::now();
        let result = self.bank.take(bytes, until, &self.discard());
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.wait_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.furnish(bytes, result.map_err(denied)?)
    }

    fn check(&self, bytes: usize) -> Result<(), BoundedError> {
        if bytes > self.bank.total() || layout(bytes).is_none() {
            return Err(BoundedError::TooBig { wanted: bytes, total: self.bank.total() });
        }
        Ok(())
    }

    fn denied(&self, bytes: usize, denied: Denied) -> BoundedError {
        match denied {
            Denied::Late => self.exhausted(bytes),
            Denied::Closed => BoundedError::Closed,
        }
    }

    fn exhausted(&self, wanted: usize) -> BoundedError {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        BoundedError::TimedOut { wanted, available: self.available() }
    }

    /// Makes a buffer of a grant. If there is no memory, the bytes go back.
    fn furnish(&self, bytes: usize, grant: Grant<FreeBlock>) -> Result<BoundedBuffer<'_, A>, BoundedError> {
        let start = match grant {
            Grant::Block(block) => {
                self.reused.fetch_add(1, Ordering::Relaxed);
                block.0
            }
            Grant::Bytes if bytes == 0 => NonNull::dangling(),
            Grant::Bytes => match layout(bytes).map(|layout| self.parent.allocate_zeroed(layout)) {
                Some(Ok(block)) => block.cast(),
                _ => {
                    self.bank.give(bytes, None, &self.discard());
                    return Err(BoundedError::OutOfMemory);
                }
            },
        };
        self.granted.fetch_add(1, Ordering::Relaxed);
        Ok(BoundedBuffer::new(self, start, bytes))
    }

    /// For the drop of a buffer.
    fn take_back(&self, start: NonNull<u8>, bytes: usize) {
        let block = if bytes == self.bank.poolable() {
            Some(FreeBlock(start))
        } else {
            self.free(start, bytes);
            None
        };
        self.bank.give(bytes, block, &self.discard());
    }

    fn free(&self, start: NonNull<u8>, bytes: usize) {
        if let Some(layout) = layout(bytes).filter(|layout| layout.size() > 0) {
            // SAFETY: *blocks* and *buffers*: whoever calls this has the block, and gives it up.
            unsafe { self.parent.deallocate(start, layout) };
        }
    }

    fn discard(&self) -> impl Fn(FreeBlock) {
        |block| self.free(block.0, self.bank.poolable())
    }

    /// Closes the pool: whoever waits is refused now, whoever comes later is, too. Buffers in use stay valid and can
    /// be given back.
    pub fn close(&self) {
        self.bank.close();
    }

    /// Bytes that may be had now, if nobody waits.
    pub fn available(&self) -> usize {
        let figures = self.bank.figures();
        figures.unpooled + figures.free * self.bank.poolable()
    }

    /// The bound, in bytes.
    pub const fn total(&self) -> usize {
        self.bank.total()
    }

    /// The size of buffers that are kept for reuse, in bytes.
    pub const fn poolable(&self) -> usize {
        self.bank.poolable()
    }

    /// The figures at this moment.
    pub fn stats(&self) -> BoundedStats {
        let figures = self.bank.figures();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BoundedStats {
            available: figures.unpooled + figures.free * self.bank.poolable(),
            unpooled: figures.unpooled,
            gathered: figures.gathered,
            waiting: figures.waiting,
            granted: get(&self.granted),
            reused: get(&self.reused),
            waits: get(&self.waits),
            wait_time: Duration::from_nanos(get(&self.wait_ns)),
            exhausted: get(&self.exhausted),
        }
    }
}

impl<A: Alloc> Drop for BoundedPool<A> {
    fn drop(&mut self) {
        for block in self.bank.drain() {
            self.free(block.0, self.bank.poolable());
        }
    }
}
