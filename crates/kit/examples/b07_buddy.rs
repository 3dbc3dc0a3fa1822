//! B7: a buddy system in a buffer: how a block splits, what is free of each order, and how all merges again.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation.
#![allow(unsafe_code)]

use freestone_kit::buddy::{Buddy, Buffer};
use freestone_kit::{Alloc, AllocError, Capacity, ResizeInPlace};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

const MIN: u32 = 6;
const MAX: u32 = 12;

/// A buffer that is aligned, so that every run looks alike.
#[repr(align(8192))]
struct Aligned([MaybeUninit<u8>; 8192 + 4096]);

fn show(what: &str, buddy: &Buddy<Buffer<'_>, MIN, MAX>) {
    print!("{what:<30}");
    for order in MIN..=MAX {
        print!(" {:>2} x {:<4}", buddy.free_blocks(order), 1 << order);
    }
    println!(" used {}", buddy.used());
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("small")
}

fn main() -> Result<(), AllocError> {
    let mut buffer = Box::new(Aligned([MaybeUninit::uninit(); 8192 + 4096]));
    let buddy = Buddy::<_, MIN, MAX>::over(&mut buffer.0);
    println!("{} bytes to hand out of a buffer of {}", buddy.capacity(), 8192 + 4096);
    show("free at the start", &buddy);

    let first: NonNull<u8> = buddy.allocate(bytes(100))?.cast();
    show("a block for 100 bytes", &buddy);
    let second: NonNull<u8> = buddy.allocate(bytes(128))?.cast();
    show("and its buddy", &buddy);
    println!("their addresses differ by {}", first.addr().get() ^ second.addr().get());

    // SAFETY: freed once.
    unsafe { buddy.deallocate(second, bytes(128)) };
    show("the buddy freed", &buddy);
    // SAFETY: the block is live, and has that layout.
    unsafe { buddy.resize_in_place(first, bytes(100), bytes(200)) }?;
    show("the first grown where it lies", &buddy);
    // SAFETY: freed once.
    unsafe { buddy.deallocate(first, bytes(200)) };
    show("all freed and merged", &buddy);
    println!("a request of {} bytes: {:?}", (1 << MAX) + 1, buddy.allocate(bytes((1 << MAX) + 1)).err());
    Ok(())
}
