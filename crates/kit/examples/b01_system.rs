//! B1: the system's own interfaces as allocators: pages, the C library in full and raw, the program break.
//!
//! # Safety
//!
//! Every block is live, and of the layout that it is used with; nothing is used after it is freed; offsets are within.
#![allow(unsafe_code)]

use freestone_kit::c::{C, RawC};
use freestone_kit::page::Page;
use freestone_kit::sbrk::{ProgramBreak, Sbrk};
use freestone_kit::{Alloc, Remap, UsableSize};
use std::alloc::Layout;
use std::ptr::NonNull;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// The byte at `offset` of a block that is longer.
fn byte_of(block: NonNull<u8>, offset: usize) -> NonNull<u8> {
    // SAFETY: see the header.
    unsafe { block.add(offset) }
}

fn write_byte(block: NonNull<u8>, offset: usize, value: u8) {
    // SAFETY: see the header.
    unsafe { byte_of(block, offset).write(value) }
}

fn read_byte(block: NonNull<u8>, offset: usize) -> u8 {
    // SAFETY: see the header.
    unsafe { byte_of(block, offset).read() }
}

fn pages() {
    let one = layout(1, 1);
    let block = Page.allocate(one).unwrap();
    println!("page: 1 byte asked for, {} pages given", block.len() / Page::page_size());
    // SAFETY: see the header.
    unsafe { Page.deallocate(block.cast(), one) };

    // Growing moves page tables, not bytes: a page touched at each end costs the same at any length.
    let (short, long) = (layout(1 << 20, 8), layout(1 << 32, 8));
    let block = Page.allocate_zeroed(short).unwrap().cast::<u8>();
    write_byte(block, (1 << 20) - 1, 42);
    // SAFETY: see the header.
    match unsafe { Page.remap(block, short, long) } {
        Ok(grown) => {
            let grown = grown.cast::<u8>();
            let (kept, fresh) = (read_byte(grown, (1 << 20) - 1), read_byte(grown, (1 << 32) - 1));
            println!("page: from 1 MiB to 4 GiB without a copy: kept {kept}, fresh {fresh}");
            // SAFETY: see the header.
            unsafe { Page.deallocate(grown, long) };
        }
        Err(_) => println!("page: the system refused 4 GiB of addresses"),
    }
}

fn c_library() {
    let wanted = layout(100, 256);
    let block = C.allocate_zeroed(wanted).unwrap().cast::<u8>();
    let aligned = block.addr().get().is_multiple_of(256);
    // SAFETY: see the header.
    let enough = unsafe { C.usable_size(block, wanted) } >= 100;
    println!("c: aligned to 256: {aligned}; usable size at least what was asked for: {enough}");
    // SAFETY: see the header.
    unsafe { C.deallocate(block, wanted) };

    println!("raw c: alignment 16: {}", describe(RawC, layout(100, 16)));
    println!("raw c: alignment 256: {}", describe(RawC, wanted));
}

fn describe(alloc: impl Alloc, wanted: Layout) -> &'static str {
    match alloc.allocate(wanted) {
        Ok(block) => {
            // SAFETY: see the header.
            unsafe { alloc.deallocate(block.cast(), wanted) };
            "served"
        }
        Err(_) => "refused",
    }
}

fn program_break() {
    // SAFETY: this program has one thread.
    let sbrk = Sbrk::new(unsafe { ProgramBreak::new() });
    let wanted = layout(40, 8);
    let blocks = [0; 3].map(|_| sbrk.allocate(wanted).unwrap().cast::<u8>());
    let apart = blocks[1].addr().get() - blocks[0].addr().get();
    println!("sbrk: blocks of 40 bytes lie {apart} bytes apart, 8 of which are the list's");
    for block in blocks {
        // SAFETY: see the header.
        unsafe { sbrk.deallocate(block, wanted) };
    }
    let again = sbrk.allocate(wanted).unwrap().cast::<u8>();
    println!("sbrk: the block freed last is given out first: {}", again == blocks[2]);
    // SAFETY: see the header.
    unsafe { sbrk.deallocate(again, wanted) };
}

fn main() {
    pages();
    c_library();
    program_break();
}
