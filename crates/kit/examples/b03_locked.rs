//! B3: a lock around any allocator: here an arena that four threads fill, and a bump allocator that is a program's own.

use allocator_api2_04::boxed::Box as BoxIn;
use allocator_api2_04::vec::Vec as VecIn;
use freestone_kit::arena::Arena;
use freestone_kit::bump::Bump;
use freestone_kit::counting::Counting;
use freestone_kit::global::AsGlobal;
use freestone_kit::locked::Locked;
use freestone_kit::page::Page;
use freestone_kit::{Reset, Stats};
use std::collections::BTreeMap;

/// Everything in this program lies in one bump allocator over the system's pages, and is freed by its end.
#[global_allocator]
static GLOBAL: AsGlobal<Locked<Bump<Page, 16>>> = AsGlobal::new(Locked::new(Bump::new(Page)));

fn main() {
    let arena = Locked::new(Counting::new(Arena::new(Page)));
    let lists: Vec<VecIn<BoxIn<usize, _>, _>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|thread| {
                let arena = &arena;
                scope.spawn(move || {
                    let mut list = VecIn::new_in(arena);
                    list.extend((0..1000).map(|n| BoxIn::new_in(n * 4 + thread, arena)));
                    list
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let numbers: BTreeMap<usize, usize> =
        lists.iter().enumerate().flat_map(|(thread, list)| list.iter().map(move |n| (**n, thread))).collect();
    println!(
        "{} numbers from 4 threads, none twice, none missing: {}",
        numbers.len(),
        numbers.keys().copied().eq(0..4000)
    );
    println!("{} blocks live in the arena", arena.stats().live_blocks);
    drop(lists);
    println!("{} blocks live when the lists are gone", arena.stats().live_blocks);
    println!(
        "their memory is still the arena's: {}",
        arena.with(|counting| counting.parent().held_bytes() >= 64_000)
    );

    // Whoever has the lock alone needs no lock.
    let mut arena = Locked::new(arena.into_inner().into_parent());
    arena.reset();
    println!("nodes after a reset: {}", arena.with(Arena::node_count));
    let held = GLOBAL.get().with(Bump::held_bytes);
    println!(
        "the program's own allocator holds whole pages: {}",
        held > 0 && held.is_multiple_of(Page::page_size())
    );
}
