//! Pooled byte buffers, after Netty.
//!
//! # What it is
//!
//! An allocator for the buffers of a network program: many, of all sizes up to some mebibytes, made in one thread and
//! dropped in another. Memory comes from the parent in *chunks*, which are cut into *runs* of pages; a large block is a
//! run, and small blocks of one size share a run, a *subpage*. Chunks belong to *arenas*, each with a lock, and in each
//! arena they are sorted by how full they are, so that nearly empty ones run dry and go back. Threads share out the
//! arenas among themselves, and each keeps some blocks in a *cache*, to which its blocks come back from whatever thread
//! drops them.
//!
//! ```text
//!   buffer(n)    --> thread cache      a queue per size class, trimmed to what is used
//!                       | empty
//!                       v
//!                    arena             q050, q025, q000, qInit, q075: chunks by usage
//!                       |
//!                       v
//!   chunk 16 MiB     | run | run | subpage: 512 B blocks | free run           |
//!                       |                      |
//!                       v                      v
//!                    normal, 32 KiB and up   small, below     huge, above a chunk: the parent
//! ```
//!
//! A [`Buf`] has one owner, who reads at one index and writes at another. [`Buf::share`] makes a [`SharedBuf`] of it:
//! clones and slices of it count the references and may go to any thread; the last one gives the memory back. A
//! [`CompositeBuf`] reads several as one. In Netty a buffer is retained and released by hand, and releasing it twice,
//! or using it afterwards, is an error at run time; here neither compiles. What can still happen is that a buffer is
//! forgotten; the [leak detector](LeakLevel) tells where it came from.
//!
//! # Where it comes from
//!
//! `PooledByteBufAllocator` of Netty 4 (Trustin Lee and Norman Maurer, 2012, after jemalloc 3): `PoolArena`,
//! `PoolChunk`, `PoolChunkList`, `PoolSubpage`, `PoolThreadCache`, `ResourceLeakDetector`. Runs and size classes are
//! those of 4.1.52 (2020), after jemalloc 4; before, a chunk was a buddy system. What differs: one lock an arena (Netty
//! has one more for each small class); the cache of a thread that has exited is emptied by the next that needs it or
//! needs memory, not at once; buffers borrow the pool.
//!
//! # When to use it, and when not
//!
//! Where buffers of many sizes come and go on many threads, and memory should be bounded by what is in use at once plus
//! one chunk an arena. Not for one size, see [`ObjectPool`](crate::ObjectPool); for a bound on all of them,
//! [`BoundedPool`](crate::BoundedPool); as a general allocator, for which it serves too, but at a chunk for each arena
//! at least; as the global one, which it needs itself for its bookkeeping.
//!
//! # Costs
//!
//! From and to the thread's cache: a few loads and stores, and one compare-and-exchange for the way back. From an
//! arena: its lock; a subpage: a search for a zero bit; a run: the lowest in a tree. Memory beside the
//! blocks: 12 bytes a page, a bit a small block, 8 bytes a place in a queue that is used.
//!
//! # Example
//!
//! ```
//! use freestone_kit::netty::{BufferPool, Config};
//! # use freestone_kit::c::C;
//!
//! let pool = BufferPool::new(Config::CLASSIC, C);
//! let mut request = pool.buffer(256)?;
//! request.write(b"GET /index.html\r\n\r\n")?;
//!
//! let request = request.share();
//! let path = request.slice(4..15);
//! drop(request);
//! // The memory stays as long as the slice.
//! assert_eq!(&*path, b"/index.html");
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```

mod arena;
mod as_alloc;
mod buf;
mod cache;
mod chunk;
mod composite;
mod config;
mod leak;
mod metrics;
mod pool;
mod queue;
mod shared;
mod size_class;
mod slots;
mod subpage;
mod threads;

pub use buf::Buf;
pub use composite::CompositeBuf;
pub use config::Config;
pub use leak::{Leak, LeakLevel, Touch};
pub use metrics::{ArenaMetrics, ChunkListMetrics, ChunkMetrics, PoolMetrics, SubpageMetrics};
pub use pool::BufferPool;
pub use shared::SharedBuf;
