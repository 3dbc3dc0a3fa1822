//! Bump allocators and arenas.

use std::hint::black_box;

use allocator_api2::alloc::{Allocator, Layout};
use allocator_api2::vec::Vec as VecIn;
use freestone_kit::Reset;
use freestone_kit::arena::{Arena, TypedArena};
use freestone_kit::bump::Bump;
use freestone_kit::c::C;

use crate::measure::Row;
use crate::random::Random;

const BUMP: &str = "bump";
const MANY: usize = 100_000;

/// Objects of three small types in turn.
macro_rules! small_values {
    ($bump:expr, $alloc:ident) => {{
        for n in 0..(MANY / 3) as u64 {
            black_box($bump.$alloc(n as u32));
            black_box($bump.$alloc([n, n]));
            black_box($bump.$alloc((n as u32, n, n)));
        }
    }};
}

fn values() -> Row {
    let (mut bump, mut wide) = (Bump::<_>::new(C), Bump::<_, 8>::new(C));
    let mut bumpalo = bumpalo::Bump::new();
    let mut bumpalo_wide = bumpalo::Bump::<8>::with_min_align();
    let mut scope: bump_scope::Bump = bump_scope::Bump::new();
    Row::new(BUMP, "values of three small types", MANY)
        .ours("Bump", move || {
            small_values!(bump, alloc);
            bump.reset();
        })
        .ours("Bump, 8", move || {
            small_values!(wide, alloc);
            wide.reset();
        })
        .peer("bumpalo", move || {
            small_values!(bumpalo, alloc);
            bumpalo.reset();
        })
        .peer("bumpalo, 8", move || {
            small_values!(bumpalo_wide, alloc);
            bumpalo_wide.reset();
        })
        .peer("bump-scope", move || {
            small_values!(scope, alloc);
            scope.reset();
        })
}

fn texts() -> Row {
    let mut random = Random::new(1);
    let text = "the quick brown fox jumps over the lazy dog";
    let words: Vec<&'static str> =
        (0..MANY).map(|_| &text[random.below(10)..10 + random.below(30)]).collect();
    let words: &'static [&'static str] = words.leak();
    let (mut bump, mut bumpalo) = (Bump::<_>::new(C), bumpalo::Bump::new());
    let mut scope: bump_scope::Bump = bump_scope::Bump::new();
    Row::new(BUMP, "texts of 0 to 39 bytes", MANY)
        .ours("Bump", move || {
            for word in words {
                black_box(bump.alloc_str(word));
            }
            bump.reset();
        })
        .peer("bumpalo", move || {
            for word in words {
                black_box(bumpalo.alloc_str(word));
            }
            bumpalo.reset();
        })
        .peer("bump-scope", move || {
            for word in words {
                black_box(scope.alloc_str(word));
            }
            scope.reset();
        })
}

fn slices() -> Row {
    let count = MANY / 4;
    let (mut bump, mut bumpalo) = (Bump::<_>::new(C), bumpalo::Bump::new());
    let mut scope: bump_scope::Bump = bump_scope::Bump::new();
    Row::new(BUMP, "slices of 0 to 63 numbers, computed", count)
        .ours("Bump", move || {
            for n in 0..count {
                black_box(bump.alloc_slice_fill_with(n % 64, |index| (index ^ n) as u32));
            }
            bump.reset();
        })
        .peer("bumpalo", move || {
            for n in 0..count {
                black_box(bumpalo.alloc_slice_fill_with(n % 64, |index| (index ^ n) as u32));
            }
            bumpalo.reset();
        })
        .peer("bump-scope", move || {
            for n in 0..count {
                let mut index = 0;
                black_box(scope.alloc_slice_fill_with(n % 64, || {
                    index += 1;
                    ((index - 1) ^ n) as u32
                }));
            }
            scope.reset();
        })
}

/// Layouts that are known only at run time.
fn allocate_all(alloc: impl Allocator, layouts: &[Layout]) {
    for &layout in layouts {
        let _ = black_box(alloc.allocate(layout));
    }
}

fn layouts() -> Row {
    let mut random = Random::new(2);
    let of_chance = |_| Layout::from_size_align(1 + random.below(120), 1 << random.below(5)).unwrap();
    let layouts: &'static [Layout] = (0..MANY).map(of_chance).collect::<Vec<_>>().leak();
    let (mut bump, mut arena, mut bumpalo) = (Bump::<_>::new(C), Arena::new(C), bumpalo::Bump::new());
    let mut scope: bump_scope::Bump = bump_scope::Bump::new();
    Row::new(BUMP, "layouts by chance, through `Allocator`", MANY)
        .ours("Bump", move || {
            allocate_all(&bump, layouts);
            bump.reset();
        })
        .ours("Arena", move || {
            allocate_all(&arena, layouts);
            arena.reset();
        })
        .peer("bumpalo", move || {
            allocate_all(&bumpalo, layouts);
            bumpalo.reset();
        })
        .peer("bump-scope", move || {
            allocate_all(&scope, layouts);
            scope.reset();
        })
}

fn push_all(alloc: impl Allocator) {
    let mut list = VecIn::new_in(alloc);
    for n in 0..1000_u64 {
        list.push(black_box(n));
    }
    black_box(&list);
}

fn growing() -> Row {
    let (mut bump, mut arena, mut bumpalo) = (Bump::<_>::new(C), Arena::new(C), bumpalo::Bump::new());
    let mut scope: bump_scope::Bump = bump_scope::Bump::new();
    let lists = 100;
    Row::new(BUMP, "a vector that grows to 1000 numbers, a push", 1000 * lists)
        .ours("Bump", move || {
            (0..lists).for_each(|_| push_all(&bump));
            bump.reset();
        })
        .ours("Arena", move || {
            (0..lists).for_each(|_| push_all(&arena));
            arena.reset();
        })
        .peer("bumpalo", move || {
            (0..lists).for_each(|_| push_all(&bumpalo));
            bumpalo.reset();
        })
        .peer("bump-scope", move || {
            (0..lists).for_each(|_| push_all(&scope));
            scope.reset();
        })
}

fn short_lives() -> Row {
    let rounds = 20_000;
    Row::new(BUMP, "an allocator for ten values, made and dropped", rounds)
        .ours("Bump", move || {
            for n in 0..rounds {
                let bump = Bump::<_>::new(C);
                (0..10).for_each(|value| _ = black_box(bump.alloc([n, value])));
            }
        })
        .peer("bumpalo", move || {
            for n in 0..rounds {
                let bump = bumpalo::Bump::new();
                (0..10).for_each(|value| _ = black_box(bump.alloc([n, value])));
            }
        })
        .peer("bump-scope", move || {
            for n in 0..rounds {
                let bump: bump_scope::Bump = bump_scope::Bump::new();
                (0..10).for_each(|value| _ = black_box(bump.alloc([n, value])));
            }
        })
}

fn scopes() -> Row {
    let rounds = 20_000;
    let mut bump = Bump::<_>::new(C);
    let mut scope: bump_scope::Bump = bump_scope::Bump::new();
    Row::new(BUMP, "a scope with five slices of 100 bytes", rounds)
        .ours("Bump", move || {
            let mut outer = bump.scope();
            for n in 0..rounds {
                outer.nested(|inner| {
                    (0..5).for_each(|_| _ = black_box(inner.alloc_slice_copy(&[n as u8; 100])))
                });
            }
        })
        .peer("bump-scope", move || {
            for n in 0..rounds {
                scope.scoped(|inner| {
                    (0..5).for_each(|_| _ = black_box(inner.alloc_slice_copy(&[n as u8; 100])))
                });
            }
        })
}

const TYPED: &str = "typed arena";

/// A node with something to drop.
struct Node {
    _name: Box<u32>,
    _numbers: [u64; 4],
}

fn plain() -> Row {
    Row::new(TYPED, "values without a destructor, and the arena's end", MANY)
        .ours("TypedArena", || {
            let arena = TypedArena::new(C);
            for n in 0..MANY as u64 {
                black_box(arena.alloc([n; 4]));
            }
        })
        .peer("typed-arena", || {
            let arena = typed_arena::Arena::new();
            for n in 0..MANY as u64 {
                black_box(arena.alloc([n; 4]));
            }
        })
}

fn with_destructors() -> Row {
    Row::new(TYPED, "values that own a box, and the arena's end", MANY)
        .ours("TypedArena", || {
            let arena = TypedArena::new(C);
            for n in 0..MANY {
                black_box(arena.alloc(Node { _name: Box::new(n as u32), _numbers: [1; 4] }));
            }
        })
        .peer("typed-arena", || {
            let arena = typed_arena::Arena::new();
            for n in 0..MANY {
                black_box(arena.alloc(Node { _name: Box::new(n as u32), _numbers: [1; 4] }));
            }
        })
}

fn extended() -> Row {
    let lists = MANY / 50;
    Row::new(TYPED, "slices of 50 values from an iterator, a slice", lists)
        .ours("TypedArena", move || {
            let arena = TypedArena::new(C);
            for n in 0..lists as u64 {
                black_box(arena.alloc_extend((0..50).map(|m| n ^ m)));
            }
        })
        .peer("typed-arena", move || {
            let arena = typed_arena::Arena::new();
            for n in 0..lists as u64 {
                black_box(arena.alloc_extend((0..50).map(|m| n ^ m)));
            }
        })
}

pub fn rows() -> Vec<Row> {
    vec![
        values(),
        texts(),
        slices(),
        layouts(),
        growing(),
        short_lives(),
        scopes(),
        plain(),
        with_destructors(),
        extended(),
    ]
}
