//! A buffer that one owner reads and writes.
//!
//! ```text
//!   0         read            write            capacity       room
//!   +----------+----------------+------------------+-------------+
//!   |   gone   |   readable     |  writable        |  grows here |
//!   |          |                |                  |  in place   |
//!   +----------+----------------+------------------+-------------+
//! ```
//!
//! # Safety
//!
//! 1. *Block*: `start` begins a block of the pool of `room` bytes that the buffer owns.
//! 2. *Indices*: `read <= write <= capacity <= room`.
//! 3. *Written*: the first `write` bytes of the block have been written.
#![allow(unsafe_code)]

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;
use core::slice;
use std::io;
use std::sync::Arc;

use super::cache::ThreadCache;
use super::leak::Watched;
use super::pool::BufferPool;
use super::shared::SharedBuf;
use crate::{Alloc, AllocError};

/// Growth doubles up to here, and goes by steps of as much above.
const STEP: usize = 4 << 20;

/// A block's origin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Pooled(usize),
    Huge,
}

/// A byte buffer of a [`BufferPool`], with an index from which it is read and one at which it is written. Derefs to its
/// readable bytes. Its memory goes back when it is dropped.
///
/// It cannot outlive its pool, nor be used once it is shared:
///
/// ```compile_fail,E0505
/// # use freestone_kit::{c::C, netty::{BufferPool, Config}};
/// let pool = BufferPool::new(Config::CLASSIC, C);
/// let buf = pool.buffer(10).unwrap();
/// drop(pool);
/// assert_eq!(buf.readable(), 0);
/// ```
///
/// ```compile_fail,E0382
/// # use freestone_kit::{c::C, netty::{BufferPool, Config}};
/// # let pool = BufferPool::new(Config::CLASSIC, C);
/// let mut buf = pool.buffer(10).unwrap();
/// let shared = buf.share();
/// buf.clear();
/// ```
pub struct Buf<'p, A: Alloc> {
    pool: &'p BufferPool<A>,
    /// Where the block came from and is to go back to.
    cache: Option<&'p ThreadCache>,
    start: NonNull<u8>,
    origin: Origin,
    room: usize,
    capacity: usize,
    most: usize,
    read: usize,
    write: usize,
    watched: Option<Arc<Watched>>,
}

// SAFETY: *block*: it owns its bytes; it uses the pool, which may be shared when the parent may.
unsafe impl<A: Alloc + Sync> Send for Buf<'_, A> {}
// SAFETY: a shared buffer gives shared bytes.
unsafe impl<A: Alloc + Sync> Sync for Buf<'_, A> {}

/// A block, where it came from, its length, and the cache to go back to.
type Got<'p> = (NonNull<u8>, Origin, usize, Option<&'p ThreadCache>);

fn take<A: Alloc>(pool: &BufferPool<A>, capacity: usize) -> Result<Got<'_>, AllocError> {
    match pool.classes.class(capacity) {
        Some(class) => {
            let (block, cache) = pool.take(class)?;
            Ok((block, Origin::Pooled(class), pool.classes.size(class), cache))
        }
        None => {
            let block = pool.take_huge(BufferPool::<A>::huge_layout(capacity)?)?;
            Ok((block, Origin::Huge, capacity, None))
        }
    }
}

/// What a buffer grows to when it needs `least` bytes.
fn grown(least: usize, most: usize) -> usize {
    if least > STEP {
        return least.div_ceil(STEP).saturating_mul(STEP).min(most);
    }
    least.max(64).next_power_of_two().min(most)
}

impl<'p, A: Alloc> Buf<'p, A> {
    pub(super) fn new(pool: &'p BufferPool<A>, capacity: usize, most: usize) -> Result<Self, AllocError> {
        let (start, origin, room, cache) = take(pool, capacity)?;
        let watched = pool.leaks.watch(room);
        Ok(Buf { pool, cache, start, origin, room, capacity, most, read: 0, write: 0, watched })
    }

    /// Bytes that the buffer holds without growing.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes to which it may grow.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Bytes that can be read now.
    pub fn readable(&self) -> usize {
        self.write - self.read
    }

    /// Bytes that can be written without growing.
    pub fn writable(&self) -> usize {
        self.capacity - self.write
    }

    /// Where it is read next.
    pub fn read_index(&self) -> usize {
        self.read
    }

    /// Where it is written next.
    pub fn write_index(&self) -> usize {
        self.write
    }

    /// The readable bytes, to be changed.
    pub fn readable_mut(&mut self) -> &mut [u8] {
        let start = self.at(self.read);
        // SAFETY: *block*, *indices* and *written*; the buffer is ours alone.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), self.write - self.read) }
    }

    fn at(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index <= self.room);
        // SAFETY: *block*: all indices are within the room.
        unsafe { self.start.add(index) }
    }

    /// Appends bytes, growing as far as it may.
    ///
    /// # Errors
    ///
    /// When it may not be so long, or the parent has no memory; nothing is written then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), AllocError> {
        self.reserve(bytes.len())?;
        // SAFETY: `reserve` has made room, and nobody else has this memory.
        unsafe { self.at(self.write).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        self.write += bytes.len();
        Ok(())
    }

    /// Takes bytes from the front: as many as `into` holds, or none.
    pub fn read(&mut self, into: &mut [u8]) -> bool {
        let enough = into.len() <= self.readable();
        if enough {
            into.copy_from_slice(&self[..into.len()]);
            self.read += into.len();
        }
        enough
    }

    /// Takes an array from the front, if there are so many bytes: `buf.read_array().map(u32::from_be_bytes)`.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.first_chunk::<N>()?;
        self.read += N;
        Some(array)
    }

    /// Passes over bytes at the front.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn skip(&mut self, bytes: usize) {
        assert!(bytes <= self.readable(), "{bytes} bytes are passed over, {} are there", self.readable());
        self.read += bytes;
    }

    /// Reads again from `index` on.
    ///
    /// # Panics
    ///
    /// When nothing was written so far.
    pub fn set_read_index(&mut self, index: usize) {
        assert!(index <= self.write, "reading at {index}, written up to {}", self.write);
        self.read = index;
    }

    /// Drops what was written from `index` on.
    ///
    /// # Panics
    ///
    /// When `index` is not between the two indices.
    pub fn truncate(&mut self, index: usize) {
        assert!((self.read..=self.write).contains(&index), "cut at {index} of {}..{}", self.read, self.write);
        self.write = index;
    }

    /// Forgets all contents.
    pub fn clear(&mut self) {
        (self.read, self.write) = (0, 0);
    }

    /// Moves the readable bytes to the front, over those that were read.
    pub fn discard_read(&mut self) {
        let readable = self.readable();
        // SAFETY: *indices*: both lie within the block.
        unsafe { self.start.copy_from(self.at(self.read), readable) };
        (self.read, self.write) = (0, readable);
    }

    /// Room behind the write index that may be written without growing. [`advance`](Buf::advance) tells how much was.
    pub fn spare_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let start = self.at(self.write).cast();
        // SAFETY: *block* and *indices*; such bytes need not have been written.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), self.capacity - self.write) }
    }

    /// Takes bytes of the spare room for written.
    ///
    /// # Safety
    ///
    /// The first `bytes` of [`spare_mut`](Buf::spare_mut) have been written.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub unsafe fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.writable(), "{bytes} bytes were written to {}", self.writable());
        self.write += bytes;
    }

    /// Makes sure that so many bytes can be written.
    ///
    /// # Errors
    ///
    /// As [`write`](Buf::write).
    pub fn reserve(&mut self, bytes: usize) -> Result<(), AllocError> {
        if bytes <= self.writable() {
            return Ok(());
        }
        let least = self.write.checked_add(bytes).filter(|&least| least <= self.most).ok_or(AllocError)?;
        self.set_capacity(grown(least, self.most).max(least))
    }

    /// Makes it as long as that: in place within its block, else in another one. Cuts contents that do not fit.
    ///
    /// # Errors
    ///
    /// When it may not be so long, or the parent has no memory; nothing has changed then.
    pub fn set_capacity(&mut self, capacity: usize) -> Result<(), AllocError> {
        if capacity > self.most {
            return Err(AllocError);
        }
        if !self.fits(capacity) {
            let (start, origin, room, cache) = take(self.pool, capacity)?;
            let kept = self.write.min(capacity);
            // SAFETY: both blocks are that long and apart.
            unsafe { start.copy_from_nonoverlapping(self.start, kept) };
            self.give();
            (self.start, self.origin, self.room, self.cache) = (start, origin, room, cache);
        }
        self.capacity = capacity;
        self.write = self.write.min(capacity);
        self.read = self.read.min(self.write);
        Ok(())
    }

    /// Whether the block will do for such a capacity: it is long enough, and not twice too long, nor, where it is
    /// short, by more than the distance between two classes.
    fn fits(&self, capacity: usize) -> bool {
        let near = self.room <= 512 && capacity + 16 > self.room;
        let half = self.room > 512 && capacity > self.room / 2;
        capacity == self.capacity || capacity <= self.room && (capacity > self.capacity || near || half)
    }

    fn give(&mut self) {
        match self.origin {
            Origin::Pooled(class) => self.pool.give(class, self.start, self.cache),
            Origin::Huge => self.pool.give_huge(self.start),
        }
    }

    /// Notes for the leak report that the buffer was here.
    pub fn touch(&self, hint: &str) {
        if let Some(watched) = &self.watched {
            watched.touch(hint);
        }
    }

    /// Makes the readable bytes shareable, and for good unchangeable while they are shared. Copies nothing.
    pub fn share(self) -> SharedBuf<'p, A> {
        self.touch("shared");
        SharedBuf::new(self)
    }

    /// The pool that it came from.
    pub fn pool(&self) -> &'p BufferPool<A> {
        self.pool
    }
}

impl<A: Alloc> Deref for Buf<'_, A> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.at(self.read);
        // SAFETY: *block*, *indices* and *written*.
        unsafe { slice::from_raw_parts(start.as_ptr(), self.write - self.read) }
    }
}

impl<A: Alloc> Drop for Buf<'_, A> {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            self.pool.leaks.closed(&watched);
        }
        self.give();
    }
}

impl<A: Alloc> io::Write for Buf<'_, A> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(self.most - self.write)];
        Buf::write(self, bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<A: Alloc> io::Read for Buf<'_, A> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = into.len().min(self.readable());
        Buf::read(self, &mut into[..bytes]);
        Ok(bytes)
    }
}

impl<A: Alloc> fmt::Debug for Buf<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({}..{} of {})", self.read, self.write, self.capacity)
    }
}
