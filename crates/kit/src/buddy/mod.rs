//! The buddy system: blocks of powers of two that split in halves and merge with their other half.
//!
//! # What it is
//!
//! A [`Buddy`] serves each request with a block of `2^order` bytes, `MIN` to `MAX` being the orders there are. Where no
//! block of the order is free, a longer one is split, and split again. A freed block merges with its *buddy*, the
//! block whose address differs in that one bit, if that is free and whole, and the pair with its own buddy in turn.
//!
//! ```text
//! order 7  |                              128                              |
//! order 6  |              64               |              64               |
//! order 5  |      32       |      32       |      32       |      32       |
//!           └─── buddies ──┘               └─── buddies ──┘
//!
//! map      | L5            | F5            | L6            |               |   a byte each 2^MIN bytes
//! ```
//!
//! Whether a block is free or live, and its order, stands in a map beside the memory, a byte for each `2^MIN` bytes.
//! A block thus begins at a multiple of its own size, has all its bytes for the caller, and a second free or the free
//! of an address where no block begins is known at once.
//!
//! The memory is a buffer of any length ([`Buddy::over`]), or zones of `2^MAX` bytes from a parent ([`Buddy::new`]),
//! which go back to it when they are wholly free (but for one).
//!
//! # Where it comes from
//!
//! H. Markowitz for SIMSCRIPT (1963); K. C. Knowlton, *A Fast Storage Allocator*, Communications of the ACM 8(10),
//! 1965; D. E. Knuth, *The Art of Computer Programming*, volume 1, section 2.5, algorithms R and S.
//!
//! # When to use it
//!
//! Where requests are powers of two or alignment is large (page frames, DMA, textures), and the time must be bounded.
//! Not for general sizes: rounding to a power of two wastes a quarter on average.
//!
//! # Costs
//!
//! Allocation and deallocation take at most `MAX - MIN` splits or merges, O(1) each; finding a block's zone takes
//! O(zones), but O(1) when it is the zone of the last call. Choose `MAX` so that a few zones are enough. A block has
//! no header; the map takes one byte of each `2^MIN`.
//!
//! ```
//! use freestone_kit::buddy::Buddy;
//! use freestone_kit::{Alloc, Capacity};
//! use std::alloc::Layout;
//! use std::mem::MaybeUninit;
//!
//! let mut buffer = [MaybeUninit::uninit(); 8192];
//! let buddy = Buddy::<_, 5, 12>::over(&mut buffer);
//! let layout = Layout::from_size_align(100, 8)?;
//! let block = buddy.allocate(layout)?;
//! assert_eq!((block.len(), buddy.used()), (128, 128));
//! assert!(block.cast::<u8>().addr().get().is_multiple_of(128));
//! // SAFETY: the block is live, and has that layout.
//! unsafe { buddy.deallocate(block.cast(), layout) };
//! assert_eq!(buddy.used(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Safety
//!
//! * *Zones*: see the module `zone`. Memory and head of a zone come from the parent, or out of a buffer that is borrowed for
//!   as long as the buddy system lives, and are nobody else's.
//! * *Map*: the map says of each block what it is: the free ones, and they alone, are in the list of their order;
//!   free and live blocks tile the zone.
#![allow(unsafe_code)]

mod zone;

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::tally::Tally;
use crate::{
    Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Reset, ResizeInPlace, Stats, UsableSize,
};
use zone::{HEAD, HEAD_ALIGN, Head, Node, Unit, Zone};

/// Orders that a word of bits can hold.
const ORDERS: usize = 48;

/// The parent of a buddy system over a buffer: it has nothing to give.
pub struct Buffer<'b>(PhantomData<&'b mut [MaybeUninit<u8>]>);

// SAFETY: it never returns a block.
unsafe impl Alloc for Buffer<'_> {
    fn allocate(&self, _: Layout) -> Allocated {
        Err(AllocError)
    }

    unsafe fn deallocate(&self, _: NonNull<u8>, _: Layout) {}
}

/// A buddy system with blocks of `2^MIN` to `2^MAX` bytes. See the [module](self).
///
/// Orders that make no sense do not compile:
///
/// ```compile_fail
/// let buddy = freestone_kit::buddy::Buddy::<_, 12, 5>::over(&mut []);
/// ```
pub struct Buddy<A: Alloc, const MIN: u32 = 5, const MAX: u32 = 20> {
    parent: A,
    zones: Cell<Option<Zone>>,
    /// The zone of the last block.
    last: Cell<Option<Zone>>,
    /// Free blocks by order.
    free: [Cell<Option<Node>>; ORDERS],
    /// A bit for each order that has any.
    filled: Cell<u64>,
    /// Zones from the parent with nothing live in them.
    empty: Cell<usize>,
    capacity: Cell<usize>,
    held: Cell<usize>,
    taken: Cell<usize>,
    tally: Tally,
}

// SAFETY: zones: nobody else refers to them, so they may move to another thread with the buddy system.
unsafe impl<A: Alloc + Send, const MIN: u32, const MAX: u32> Send for Buddy<A, MIN, MAX> {}

impl<'b, const MIN: u32, const MAX: u32> Buddy<Buffer<'b>, MIN, MAX> {
    /// A buddy system in a buffer of any length. The map comes out of the buffer, and so does what is lost at both
    /// ends to alignment; a buffer too short for one block gives a buddy system that refuses everything.
    pub fn over(buffer: &'b mut [MaybeUninit<u8>]) -> Self {
        let buddy = Self::with_parent(Buffer(PhantomData));
        let len = buffer.len();
        // A slice's pointer is never null.
        let Some(base) = NonNull::new(buffer.as_mut_ptr().cast::<u8>()) else { return buddy };
        let address = base.addr().get();
        let end = (address + len) >> MIN << MIN;
        let head = address.next_multiple_of(HEAD_ALIGN);
        // Each unit costs its bytes and one of the map.
        let room = end.saturating_sub(head + HEAD);
        let units = room / ((1 << MIN) + 1);
        let start = end - (units << MIN);
        if units == 0 {
            return buddy;
        }
        // SAFETY: zones: inside the buffer.
        let place = unsafe { base.add(head - address) };
        // SAFETY: zones: inside the buffer, behind head and map.
        let first = unsafe { base.add(start - address) };
        let bytes = units << MIN;
        let head = Head { next: None, start: first, bytes, taken: 0, from_parent: false };
        // SAFETY: zones: head, map and memory lie one behind the other in the buffer.
        let zone = unsafe { Zone::lay_out(place, head, units) };
        buddy.held.set(len);
        buddy.enter(zone);
        buddy
    }
}

impl<A: Alloc, const MIN: u32, const MAX: u32> Buddy<A, MIN, MAX> {
    const UNIT: usize = {
        assert!(MIN >= 4, "a free block must hold two links");
        assert!(MIN <= MAX && (MAX as usize) < ORDERS, "orders rise from MIN to MAX, below 48");
        1 << MIN
    };

    /// Bytes of the longest block, and of a zone from the parent.
    pub const MOST: usize = 1 << MAX;

    /// A buddy system that takes zones of `2^MAX` bytes, so aligned, from `parent` as it needs them.
    pub fn new(parent: A) -> Self {
        Self::with_parent(parent)
    }

    fn with_parent(parent: A) -> Self {
        const { assert!(Self::UNIT <= Self::MOST) };
        Buddy {
            parent,
            zones: Cell::new(None),
            last: Cell::new(None),
            free: [const { Cell::new(None) }; ORDERS],
            filled: Cell::new(0),
            empty: Cell::new(0),
            capacity: Cell::new(0),
            held: Cell::new(0),
            taken: Cell::new(0),
            tally: Tally::new(),
        }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The free blocks of an order. O(free blocks of it).
    pub fn free_blocks(&self, order: u32) -> usize {
        let head = self.free.get(order as usize).and_then(Cell::get);
        core::iter::successors(head, |node| node.next()).count()
    }

    fn zones(&self) -> impl Iterator<Item = Zone> {
        core::iter::successors(self.zones.get(), |zone| zone.head().next)
    }

    fn zone_of(&self, address: usize) -> Option<Zone> {
        let last = self.last.get().filter(|zone| zone.contains(address));
        let zone = last.or_else(|| self.zones().find(|zone| zone.contains(address)));
        self.last.set(zone.or(self.last.get()));
        zone
    }

    /// The order of the blocks that serve `layout`.
    fn order(layout: Layout) -> Result<u32, AllocError> {
        let bytes = layout.size().max(layout.align()).max(Self::UNIT);
        if bytes > Self::MOST { Err(AllocError) } else { Ok(bytes.next_power_of_two().ilog2()) }
    }

    /// Makes a free block of it and enters it in the list of its order.
    fn push(&self, zone: Zone, address: usize, order: u32) {
        zone.set_state(address, MIN, Unit::Free(order));
        // SAFETY: map: it is free, and aligned to its own size, which is two words at least.
        let node = unsafe { Node::new(zone.at(address)) };
        let head = &self.free[order as usize];
        node.set_previous(None);
        node.set_next(head.get());
        if let Some(next) = head.get() {
            next.set_previous(Some(node));
        }
        head.set(Some(node));
        self.filled.set(self.filled.get() | 1 << order);
    }

    /// Takes a free block out of the list of its order; its unit counts as inner.
    fn remove(&self, zone: Zone, address: usize, order: u32) {
        zone.set_state(address, MIN, Unit::Inner);
        // SAFETY: map: it was free until now, and nothing was written to it yet.
        let node = unsafe { Node::new(zone.at(address)) };
        match node.previous() {
            Some(previous) => previous.set_next(node.next()),
            None => self.free[order as usize].set(node.next()),
        }
        if let Some(next) = node.next() {
            next.set_previous(node.previous());
        }
        if self.free[order as usize].get().is_none() {
            self.filled.set(self.filled.get() & !(1 << order));
        }
    }

    /// Cuts all the memory of a zone into the longest free blocks.
    fn seed(&self, zone: Zone) {
        let Head { start, bytes, .. } = zone.head();
        let mut address = start.addr().get();
        let end = address + bytes;
        while address < end {
            let order = MAX.min(address.trailing_zeros()).min((end - address).ilog2());
            self.push(zone, address, order);
            address += 1 << order;
        }
    }

    /// Adds a zone that was laid out.
    fn enter(&self, zone: Zone) {
        zone.set_head(Head { next: self.zones.get(), ..zone.head() });
        self.zones.set(Some(zone));
        self.capacity.set(self.capacity.get() + zone.head().bytes);
        self.empty.set(self.empty.get() + usize::from(zone.head().from_parent));
        self.seed(zone);
    }

    fn zone_layouts() -> Result<(Layout, Layout), AllocError> {
        let memory = Layout::from_size_align(Self::MOST, Self::MOST).map_err(|_| AllocError)?;
        let head = Layout::from_size_align(HEAD + (Self::MOST >> MIN), HEAD_ALIGN).map_err(|_| AllocError)?;
        Ok((memory, head))
    }

    #[cold]
    fn add_zone(&self) -> Result<(), AllocError> {
        let (memory, head) = Self::zone_layouts()?;
        let place = self.parent.allocate(head)?.cast();
        let Ok(start) = self.parent.allocate(memory) else {
            // SAFETY: allocated a moment ago, with that layout.
            unsafe { self.parent.deallocate(place, head) };
            return Err(AllocError);
        };
        let contents =
            Head { next: None, start: start.cast(), bytes: Self::MOST, taken: 0, from_parent: true };
        // SAFETY: zones: both are new, and as long as their layouts.
        let zone = unsafe { Zone::lay_out(place, contents, Self::MOST >> MIN) };
        self.held.set(self.held.get() + memory.size() + head.size());
        self.enter(zone);
        Ok(())
    }

    /// Gives a zone that is one free block back to the parent.
    #[cold]
    fn remove_zone(&self, zone: Zone) {
        let Head { next, start, .. } = zone.head();
        self.remove(zone, start.addr().get(), MAX);
        match self.zones().find(|other| other.head().next == Some(zone)) {
            Some(before) => before.set_head(Head { next, ..before.head() }),
            None => self.zones.set(next),
        }
        self.last.set(None);
        self.capacity.set(self.capacity.get() - Self::MOST);
        self.return_zone(zone);
    }

    fn return_zone(&self, zone: Zone) {
        if let (Ok((memory, head)), true) = (Self::zone_layouts(), zone.head().from_parent) {
            self.held.set(self.held.get() - memory.size() - head.size());
            // SAFETY: zones: allocated with that layout, and no longer in the list.
            unsafe { self.parent.deallocate(zone.head().start, memory) };
            // SAFETY: the same.
            unsafe { self.parent.deallocate(zone.place(), head) };
        }
    }

    /// Counts bytes that become live in a zone, or cease to be.
    fn take(&self, zone: Zone, more: usize, less: usize) {
        let head = zone.head();
        let taken = head.taken + more - less;
        zone.set_head(Head { taken, ..head });
        self.taken.set(self.taken.get() + more - less);
        if head.from_parent && head.taken == 0 && taken > 0 {
            self.empty.set(self.empty.get() - 1);
        }
    }

    fn try_allocate(&self, layout: Layout) -> Allocated {
        let order = Self::order(layout)?;
        let longer = || self.filled.get() >> order << order;
        if longer() == 0 {
            self.add_zone()?;
        }
        let mut found = longer().trailing_zeros();
        let address = self.free.get(found as usize).and_then(Cell::get).ok_or(AllocError)?.address();
        let zone = self.zone_of(address).ok_or(AllocError)?;
        self.remove(zone, address, found);
        while found > order {
            found -= 1;
            self.push(zone, address + (1 << found), found);
        }
        zone.set_state(address, MIN, Unit::Live(order));
        self.take(zone, 1 << order, 0);
        Ok(NonNull::slice_from_raw_parts(zone.at(address), 1 << order))
    }

    /// The zone and the order of a live block.
    ///
    /// # Panics
    ///
    /// When there is none at that address.
    fn live(&self, block: NonNull<u8>) -> (Zone, u32) {
        let address = block.addr().get();
        let Some(zone) = self.zone_of(address) else {
            panic!("invalid free: {block:p} is not in this buddy system")
        };
        match zone.state(address, MIN) {
            Unit::Live(order) if address.is_multiple_of(1 << order) => (zone, order),
            Unit::Free(_) => panic!("double free: the block at {block:p} is free already"),
            _ => panic!("invalid free: no block begins at {block:p}, or it was freed and merged"),
        }
    }

    /// Whether the free block of `order` that would be the buddy at `address` is there.
    fn is_free(zone: Zone, address: usize, order: u32) -> bool {
        zone.contains(address) && zone.state(address, MIN) == Unit::Free(order)
    }

    fn release(&self, zone: Zone, mut address: usize, mut order: u32) {
        zone.set_state(address, MIN, Unit::Inner);
        self.take(zone, 0, 1 << order);
        while order < MAX && Self::is_free(zone, address ^ (1 << order), order) {
            self.remove(zone, address ^ (1 << order), order);
            address &= !(1 << order);
            order += 1;
        }
        self.push(zone, address, order);
        if zone.head().from_parent && zone.head().taken == 0 {
            if self.empty.get() > 0 {
                self.remove_zone(zone);
            } else {
                self.empty.set(1);
            }
        }
    }

    /// Gives a live block another order where it lies: free buddies above it come to it, halves above it go.
    fn try_resize(&self, block: NonNull<u8>, layout: Layout) -> Result<usize, AllocError> {
        let wanted = Self::order(layout)?;
        let address = block.addr().get();
        let (zone, order) = self.live(block);
        let upper = |order: u32| address | (1 << order);
        let reaches = |order: u32| address & (1 << order) == 0 && Self::is_free(zone, upper(order), order);
        if !(order..wanted).all(reaches) {
            return Err(AllocError);
        }
        (order..wanted).for_each(|order| self.remove(zone, upper(order), order));
        (wanted..order).for_each(|order| self.push(zone, upper(order), order));
        zone.set_state(address, MIN, Unit::Live(wanted));
        self.take(zone, 1 << wanted, 1 << order);
        Ok(1 << wanted)
    }

    /// Resizes in place where address and buddies allow it.
    fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 || new.size() == 0 || !block.addr().get().is_multiple_of(new.align()) {
            return Err(AllocError);
        }
        let len = self.try_resize(block, new)?;
        self.tally.resized(old.size(), new.size());
        Ok(NonNull::slice_from_raw_parts(block, len))
    }

    /// Checks that blocks tile every zone, that no two free buddies are apart, and the figures. O(memory).
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn verify(&self) -> Result<(), &'static str> {
        let mut listed = [0_usize; ORDERS];
        let mut taken = 0;
        for zone in self.zones() {
            let Head { start, bytes, .. } = zone.head();
            let mut address = start.addr().get();
            let end = address + bytes;
            while address < end {
                let order = match zone.state(address, MIN) {
                    Unit::Inner => return Err("no block begins where one ended"),
                    Unit::Live(order) => {
                        taken += 1 << order;
                        order
                    }
                    Unit::Free(order) => {
                        listed[order as usize] += 1;
                        if order < MAX && Self::is_free(zone, address ^ (1 << order), order) {
                            return Err("two free buddies were not merged");
                        }
                        order
                    }
                };
                if !address.is_multiple_of(1 << order) {
                    return Err("a block is not aligned to its size");
                }
                let units = address + Self::UNIT..address + (1 << order);
                if units.step_by(Self::UNIT).any(|unit| zone.state(unit, MIN) != Unit::Inner) {
                    return Err("a block begins inside another");
                }
                address += 1 << order;
            }
        }
        if (0..ORDERS as u32).any(|order| self.free_blocks(order) != listed[order as usize]) {
            return Err("the lists do not hold the free blocks");
        }
        if taken == self.taken.get() { Ok(()) } else { Err("the figures are wrong") }
    }
}

// SAFETY: map: a block is live from its allocation to its free, and live blocks do not overlap.
unsafe impl<A: Alloc, const MIN: u32, const MAX: u32> Alloc for Buddy<A, MIN, MAX> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let block = self.try_allocate(layout).inspect_err(|_| self.tally.refused())?;
        self.tally.allocated(layout.size());
        Ok(block)
    }

    /// # Panics
    ///
    /// When no live block begins there, or its order is not that of `layout`.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let (zone, order) = self.live(block);
        assert!(
            Self::order(layout) == Ok(order),
            "wrong layout: {layout:?} for a block of {} B",
            1_usize << order
        );
        self.tally.freed(layout.size());
        self.release(zone, block.addr().get(), order);
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise; nothing has changed.
        self.resize(block, old, new).or_else(|_| unsafe { moved(self, block, old, new) })
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise; nothing has changed.
        self.resize(block, old, new).or_else(|_| unsafe { moved(self, block, old, new) })
    }
}

// SAFETY: only addresses inside zones are owned.
unsafe impl<A: Alloc, const MIN: u32, const MAX: u32> Owns for Buddy<A, MIN, MAX> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.zone_of(address.addr().get()).is_some()
    }
}

// SAFETY: a block is its whole order.
unsafe impl<A: Alloc, const MIN: u32, const MAX: u32> UsableSize for Buddy<A, MIN, MAX> {
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        match Self::order(layout) {
            Ok(order) if layout.size() > 0 => 1 << order,
            _ => layout.size(),
        }
    }
}

// SAFETY: what comes was free, what goes lies behind the new size.
unsafe impl<A: Alloc, const MIN: u32, const MAX: u32> ResizeInPlace for Buddy<A, MIN, MAX> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        self.resize(block, old, new).map(|_| ())
    }
}

impl<A: Alloc, const MIN: u32, const MAX: u32> Reset for Buddy<A, MIN, MAX> {
    /// Makes every zone whole again; none goes back to the parent. O(memory / 2^MIN).
    fn reset(&mut self) {
        self.free.iter().for_each(|head| head.set(None));
        self.filled.set(0);
        self.taken.set(0);
        self.empty.set(0);
        for zone in self.zones() {
            let head = zone.head();
            self.empty.set(self.empty.get() + usize::from(head.from_parent));
            zone.set_head(Head { taken: 0, ..head });
            let start = head.start.addr().get();
            let units = (start..start + head.bytes).step_by(Self::UNIT);
            units.for_each(|unit| zone.set_state(unit, MIN, Unit::Inner));
            self.seed(zone);
        }
        self.tally.reset();
    }
}

impl<A: Alloc, const MIN: u32, const MAX: u32> Capacity for Buddy<A, MIN, MAX> {
    /// The bytes of all zones that are there now; with a parent, more may come.
    fn capacity(&self) -> usize {
        self.capacity.get()
    }

    fn used(&self) -> usize {
        self.taken.get()
    }
}

impl<A: Alloc, const MIN: u32, const MAX: u32> Stats for Buddy<A, MIN, MAX> {
    fn stats(&self) -> AllocStats {
        self.tally.stats(self.held.get())
    }
}

impl<A: Alloc, const MIN: u32, const MAX: u32> Drop for Buddy<A, MIN, MAX> {
    fn drop(&mut self) {
        let mut next = self.zones.take();
        while let Some(zone) = next {
            next = zone.head().next;
            self.return_zone(zone);
        }
    }
}

implement_allocator!(impl[A: Alloc, const MIN: u32, const MAX: u32] Buddy<A, MIN, MAX>);
