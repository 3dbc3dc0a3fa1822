//! Heaps of any size: over a buffer, and over the system.

use std::alloc::Layout;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use freestone_kit::Alloc;
use freestone_kit::bins::{Bins, BinsConfig};
use freestone_kit::buddy::Buddy;
use freestone_kit::c::C;
use freestone_kit::fixed::Fixed;
use freestone_kit::page::Page;
use freestone_kit::textbook::{FirstFit, Textbook};

use crate::measure::Row;
use crate::random::Random;

/// What is measured: every block is freed once, with its layout.
trait Heap {
    fn take(&mut self, layout: Layout) -> NonNull<u8>;
    fn give(&mut self, block: NonNull<u8>, layout: Layout);
}

struct Kit<A>(A);

impl<A: Alloc> Heap for Kit<A> {
    #[inline]
    fn take(&mut self, layout: Layout) -> NonNull<u8> {
        self.0.allocate(layout).unwrap().cast()
    }

    #[inline]
    fn give(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the work frees each block once, with its layout.
        unsafe { self.0.deallocate(block, layout) }
    }
}

macro_rules! heap {
    ([$($generics:tt)*] $type:ty, $heap:ident, $layout:ident, $block:ident, $take:expr, $give:expr) => {
        impl<$($generics)*> Heap for $type {
            #[inline]
            fn take(&mut self, $layout: Layout) -> NonNull<u8> {
                let $heap = self;
                $take
            }

            #[inline]
            fn give(&mut self, $block: NonNull<u8>, $layout: Layout) {
                let $heap = self;
                // SAFETY: the work frees each block once, with its layout.
                unsafe { $give }
            }
        }
    };
}

heap!([] buddy_system_allocator::Heap<32>, heap, layout, block, heap.alloc(layout).unwrap(), heap.dealloc(block, layout));
heap!([] linked_list_allocator::Heap, heap, layout, block, heap.allocate_first_fit(layout).unwrap(), heap.deallocate(block, layout));
heap!([S: talc::source::Source] talc::base::Talc<S, talc::DefaultBinning>, heap, layout, block,
    // SAFETY: the layout is not of zero size.
    unsafe { heap.allocate(layout) }.unwrap(), heap.deallocate(block.as_ptr(), layout));
heap!([] rlsf::Tlsf<'static, u32, u32, 28, 32>, heap, layout, block, heap.allocate(layout).unwrap(), heap.deallocate(block, layout.align()));
heap!([] dlmalloc::Dlmalloc, heap, layout, block,
    // SAFETY: any size and alignment may be asked for.
    NonNull::new(unsafe { heap.malloc(layout.size(), layout.align()) }).unwrap(),
    heap.free(block.as_ptr(), layout.size(), layout.align()));

/// What is done: at each step a place is emptied, if it is full, and filled.
struct Churn {
    places: usize,
    steps: &'static [(u32, Layout)],
}

impl Churn {
    /// Sizes of which each doubling is as frequent as the next.
    fn new(places: usize, steps: usize, least: usize, doublings: usize) -> Churn {
        let mut random = Random::new(places as u64);
        let step = |_| {
            let base = least << random.below(doublings);
            let layout = Layout::from_size_align(base + random.below(base), 8).unwrap();
            (random.below(places) as u32, layout)
        };
        Churn { places, steps: (0..steps).map(step).collect::<Vec<_>>().leak() }
    }

    fn on<H: Heap + 'static>(&self, mut heap: H) -> impl FnMut() + 'static {
        let steps = self.steps;
        let mut places: Vec<Option<(NonNull<u8>, Layout)>> = vec![None; self.places];
        move || {
            for &(place, layout) in steps {
                let place = &mut places[place as usize];
                if let Some((block, layout)) = place.take() {
                    heap.give(block, layout);
                }
                let block = heap.take(layout);
                // SAFETY: a live block of eight bytes at least.
                unsafe { block.cast::<u64>().write(1) };
                *place = Some((block, layout));
            }
            for (block, layout) in places.iter_mut().filter_map(Option::take) {
                heap.give(block, layout);
            }
            black_box(&places);
        }
    }
}

/// Memory that is touched already.
fn memory(bytes: usize) -> &'static mut [MaybeUninit<u8>] {
    vec![MaybeUninit::new(1); bytes].leak()
}

const MEMORY: usize = 32 << 20;

fn buddy_rows() -> Vec<Row> {
    let row = |work, churn: Churn| {
        let mut peer = buddy_system_allocator::Heap::<32>::empty();
        let region = memory(MEMORY);
        // SAFETY: nobody else has the memory.
        unsafe { peer.init(region.as_ptr().addr(), MEMORY) };
        Row::new("buddy", work, churn.steps.len())
            .ours("Buddy", churn.on(Kit(Buddy::<_, 5, 24>::over(memory(MEMORY)))))
            .peer("buddy_system_allocator", churn.on(peer))
    };
    vec![
        row("1000 places, 32 B to 4 KiB", Churn::new(1000, 50_000, 32, 7)),
        row("100 places, 4 to 64 KiB", Churn::new(100, 50_000, 4096, 4)),
    ]
}

fn first_fit_rows() -> Vec<Row> {
    let row = |work, churn: Churn| {
        let mut peer = linked_list_allocator::Heap::empty();
        peer.init_from_slice(memory(MEMORY));
        Row::new("one free list", work, churn.steps.len())
            .ours("Textbook, first fit", churn.on(Kit(Textbook::<FirstFit, _>::with_region(C, MEMORY))))
            .peer("linked_list_allocator", churn.on(peer))
    };
    vec![
        row("100 places, 32 B to 1 KiB", Churn::new(100, 20_000, 32, 5)),
        row("1000 places, 32 B to 4 KiB", Churn::new(1000, 20_000, 32, 7)),
    ]
}

fn general_rows() -> Vec<Row> {
    let row = |work, churn: Churn| {
        let source = |bytes: &'static mut [MaybeUninit<u8>]| {
            // SAFETY: nobody else has the memory.
            unsafe { talc::source::Claim::new(bytes.as_mut_ptr().cast(), bytes.len()) }
        };
        // A buffer takes back only what was given last: so nothing is given back to it.
        let kept = BinsConfig::default().granularity(MEMORY / 2).trim_threshold(usize::MAX);
        let mut tlsf = rlsf::Tlsf::new();
        let _ = tlsf.insert_free_block(memory(MEMORY));
        Row::new("general heap", work, churn.steps.len())
            .ours("Bins over pages", churn.on(Kit(Bins::new(Page))))
            .ours("Bins over a buffer", churn.on(Kit(Bins::with_config(Fixed::new(memory(MEMORY)), kept))))
            .peer("dlmalloc", churn.on(dlmalloc::Dlmalloc::new()))
            .peer("talc", churn.on(talc::base::Talc::<_, talc::DefaultBinning>::new(source(memory(MEMORY)))))
            .peer("rlsf", churn.on::<rlsf::Tlsf<'static, u32, u32, 28, 32>>(tlsf))
    };
    vec![
        row("1000 places, 16 B to 512 B", Churn::new(1000, 100_000, 16, 5)),
        row("10,000 places, 16 B to 4 KiB", Churn::new(10_000, 100_000, 16, 8)),
        row("200 places, 4 to 64 KiB", Churn::new(200, 50_000, 4096, 4)),
    ]
}

pub fn rows() -> Vec<Row> {
    [buddy_rows(), first_fit_rows(), general_rows()].into_iter().flatten().collect()
}
