//! B2: bump, arenas, fixed buffers and the stack fallback, on one small task each.

use allocator_api2_04::boxed::Box as BoxIn;
use allocator_api2_04::vec::Vec as VecIn;
use freestone_kit::arena::{Arena, ResetMode, TypedArena};
use freestone_kit::bump::Bump;
use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::fixed::{Fixed, SharedFixed};
use freestone_kit::stack_fallback::StackFallback;
use freestone_kit::{Capacity, Reset, Stats};
use std::cell::Cell;
use std::mem::MaybeUninit;

/// Words of a text, kept as long as the bump allocator is not reset.
fn bump() {
    let counting = Counting::new(C);
    let mut bump: Bump<_, 8> = Bump::new(&counting);
    let words: Vec<&str> = "the quick brown fox".split(' ').map(|word| &*bump.alloc_str(word)).collect();
    println!("bump: {words:?} in {} bytes", bump.used());
    let mut scope = bump.scope();
    let kept = scope.alloc(0_u64);
    for round in 1..=100 {
        *kept += scope.nested(|inner| inner.alloc_slice_fill_with(100, |index| index as u64 * round)[99]);
    }
    println!(
        "bump: 100 scopes of 800 bytes, sum {kept}, {} blocks of the parent",
        counting.stats().total_blocks
    );
    bump.reset();
    println!("bump: after a reset {} bytes used", bump.used());
}

/// A request a round: from the second on, nothing is asked of the parent.
fn arena() {
    let counting = Counting::new(C);
    let mut arena = Arena::new(&counting);
    for round in 1..=4 {
        let before = counting.stats().total_blocks;
        let mut lines: VecIn<VecIn<u8, _>, _> = VecIn::new_in(&arena);
        for length in 0..100 {
            let mut line = VecIn::new_in(&arena);
            line.resize(length, b'-');
            lines.push(line);
        }
        let bytes: usize = lines.iter().map(|line| line.len()).sum();
        drop(lines);
        let asked = counting.stats().total_blocks - before;
        println!(
            "arena: round {round}: {bytes} bytes in lines, {} the parent",
            if asked > 0 { "asked" } else { "did not ask" }
        );
        arena.reset_with(ResetMode::RetainCapacity);
    }
    arena.reset_with(ResetMode::FreeAll);
    println!("arena: after a reset that frees all, {} bytes held", counting.stats().live_bytes);

    // The last block grows where it lies.
    let growing = Arena::new(C);
    let mut numbers = VecIn::with_capacity_in(1, &growing);
    numbers.push(0_u32);
    let first = numbers.as_ptr();
    numbers.extend(1..50);
    println!("arena: a vector that grew 6 times lies where it lay: {}", first == numbers.as_ptr());
}

/// A graph with a cycle, whose nodes are dropped together.
fn typed_arena() {
    struct Node<'a> {
        name: String,
        next: Cell<Option<&'a Node<'a>>>,
    }
    let arena = TypedArena::new(C);
    let nodes: &[Node] =
        arena.alloc_extend(["a", "b", "c"].map(|name| Node { name: name.into(), next: Cell::new(None) }));
    for (index, node) in nodes.iter().enumerate() {
        node.next.set(Some(&nodes[(index + 1) % 3]));
    }
    let mut at = &nodes[0];
    let mut path = String::new();
    for _ in 0..7 {
        path.push_str(&at.name);
        at = at.next.get().unwrap();
    }
    println!("typed arena: once around and on: {path}");
}

fn fixed() {
    let mut buffer = [MaybeUninit::uninit(); 256];
    let mut fixed = Fixed::new(&mut buffer);
    let mut numbers = VecIn::new_in(&fixed);
    let fit =
        (0..).take_while(|&n: &u64| numbers.try_reserve_exact(1).map(|()| numbers.push(n)).is_ok()).count();
    println!("fixed: {fit} numbers of 8 bytes in {} bytes", fixed.capacity());
    drop(numbers);
    println!("fixed: the last block gave its bytes back: {} used", fixed.used());
    fixed.reset();

    let mut buffer = [MaybeUninit::uninit(); 1 << 10];
    let shared = SharedFixed::new(&mut buffer);
    let served: usize = std::thread::scope(|scope| {
        let workers = [0; 4].map(|_| {
            scope.spawn(|| {
                (0..100).take_while(|&n: &u64| BoxIn::try_new_in(n, &shared).map(BoxIn::leak).is_ok()).count()
            })
        });
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("shared fixed: 4 threads got {served} boxes of 8 bytes out of {} bytes", shared.capacity());
}

/// Zero calls of the heap while the buffer serves.
fn stack_fallback() {
    let stack = StackFallback::<512, _>::new(Counting::new(C));
    for length in [10, 100, 400, 4000] {
        let mut line = VecIn::new_in(&stack);
        line.resize(length, b'x');
        let blocks = stack.parent().stats().total_blocks;
        println!("stack fallback: {length} bytes, {blocks} blocks of the heap so far");
    }
}

fn main() {
    bump();
    arena();
    typed_arena();
    fixed();
    stack_fallback();
}
