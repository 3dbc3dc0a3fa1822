//! The system's pages.

use crate::conformance::{self as suite, Held, OnAlloc, Serves, hunt, layout};
use freestone_kit::Alloc;
use freestone_kit::page::Page;
use freestone_testkit::Mix;

#[test]
fn keeps_the_contract() {
    suite::check(&Page, Serves::ALL);
    suite::check_usable_size(&Page, Serves::ALL);
    suite::check_resize_in_place(&Page, Serves::ALL);
    suite::check_remap(&Page, Serves::ALL);
}

#[test]
fn random_sequences() {
    hunt(20, Mix::All, || OnAlloc::shared(Page));
}

#[test]
fn blocks_are_whole_pages() {
    let page = Page::page_size();
    let block = Page.allocate(layout(1, 1)).unwrap();
    assert_eq!((block.len(), block.cast::<u8>().addr().get() % page), (page, 0));
    // SAFETY: a live block of that layout.
    #[allow(unsafe_code)]
    unsafe {
        Page.deallocate(block.cast(), layout(1, 1));
    };
}

#[test]
fn alignments_far_above_a_page() {
    for align in [1 << 16, 1 << 21, 1 << 24] {
        let held = Held::new(&Page, layout(10_000, align)).unwrap();
        let held = held.resize(&Page, 3_000_000, true).unwrap();
        let held = held.resize(&Page, 5000, false).unwrap();
        held.check("at a large alignment");
        held.free(&Page);
    }
}

#[test]
fn growth_after_shrinking_reads_as_zero() {
    let held = Held::new(&Page, layout(50_000, 8)).unwrap();
    let held = held.resize(&Page, 5000, false).unwrap();
    // The pattern was written up to the end of the page: `resize` checks that it is gone.
    held.resize(&Page, 60_000, true).unwrap().free(&Page);
}
