//! The works.

use std::hint::black_box;

use crate::program::{Context, Program, Roots};

/// Numbers by chance (Marsaglia's xorshift), the same for all.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A tree, its leaves first.
fn bottom_up<C: Context>(context: &C, depth: u32) -> C::Node {
    if depth == 0 {
        return context.make(1, None, None);
    }
    let (a, b) = (bottom_up(context, depth - 1), bottom_up(context, depth - 1));
    context.make(u64::from(depth), Some(a), Some(b))
}

/// A tree, its root first.
fn top_down<C: Context>(context: &C, depth: u32, node: &C::Node) {
    if depth == 0 {
        return;
    }
    let (a, b) = (context.make(1, None, None), context.make(1, None, None));
    context.set_a(node, Some(a.clone()));
    context.set_b(node, Some(b.clone()));
    top_down(context, depth - 1, &a);
    top_down(context, depth - 1, &b);
}

fn count<C: Context>(context: &C, node: Option<&C::Node>) -> u64 {
    let Some(node) = node else { return 0 };
    1 + context.with_a(node, |a| count(context, a)) + context.with_b(node, |b| count(context, b))
}

/// Goes down a path, bit by bit.
fn descend<C: Context, R>(
    context: &C,
    node: &C::Node,
    path: u64,
    depth: u32,
    done: impl FnOnce(&C::Node) -> R,
) -> R {
    /// The closure's type must not grow with the depth.
    fn go<C: Context>(context: &C, node: &C::Node, path: u64, depth: u32, done: &mut dyn FnMut(&C::Node)) {
        if depth == 0 {
            return done(node);
        }
        let next = |next: Option<&C::Node>| {
            go(context, next.expect("the tree is that deep"), path >> 1, depth - 1, done)
        };
        if path & 1 == 0 { context.with_a(node, next) } else { context.with_b(node, next) }
    }
    let mut done = Some(done);
    let mut result = None;
    go(context, node, path, depth, &mut |node| result = done.take().map(|done| done(node)));
    result.expect("it was called")
}

/// Binary trees: a tree that lives, and many small ones that are built, counted, and dropped.
pub struct Trees {
    pub left: u32,
}

impl Program for Trees {
    fn step<C: Context>(&mut self, context: &C, roots: &mut Roots<C::Node>) -> bool {
        if roots.is_empty() {
            roots.push(Some(bottom_up(context, 16)));
            return true;
        }
        let tree = bottom_up(context, 9);
        assert_eq!(count(context, Some(&tree)), 1023);
        self.left -= 1;
        self.left != 0
    }
}

/// GCBench (Ellis, Kovac, Boehm): a large tree that lives, and trees of growing depth, built both ways.
pub struct GcBench {
    pub depth: u32,
    pub left: u32,
}

impl Program for GcBench {
    fn step<C: Context>(&mut self, context: &C, roots: &mut Roots<C::Node>) -> bool {
        if roots.is_empty() {
            let root = context.make(1, None, None);
            top_down(context, 16, &root);
            roots.push(Some(root));
            return true;
        }
        let root = context.make(1, None, None);
        top_down(context, self.depth, &root);
        drop(root);
        drop(black_box(bottom_up(context, self.depth)));
        // As many objects for each depth.
        if self.left == 0 {
            if self.depth == 16 {
                return false;
            }
            self.depth += 2;
            self.left = 1 << (18 - self.depth);
        }
        self.left -= 1;
        true
    }
}

/// A large tree that lives, in which small parts are replaced.
pub struct Graph {
    pub depth: u32,
    pub left: u32,
    seed: u64,
}

impl Graph {
    pub fn new(depth: u32, left: u32) -> Graph {
        Graph { depth, left, seed: 88_172_645_463_325_252 }
    }
}

impl Program for Graph {
    fn step<C: Context>(&mut self, context: &C, roots: &mut Roots<C::Node>) -> bool {
        if roots.is_empty() {
            roots.push(None);
        }
        let Some(root) = &roots[0] else {
            roots[0] = Some(bottom_up(context, self.depth));
            return true;
        };
        let mut random = Random(self.seed);
        for _ in 0..50 {
            let (path, side) = (random.next(), random.next());
            descend(context, root, path, self.depth - 4, |node| {
                let part = Some(bottom_up(context, 3));
                if side & 1 == 0 { context.set_a(node, part) } else { context.set_b(node, part) }
            });
        }
        self.seed = random.0;
        self.left -= 1;
        self.left != 0
    }
}

/// A list that grows, is gone through, and dropped.
pub struct List {
    pub length: u32,
    pub rounds: u32,
    built: u32,
}

impl List {
    pub fn new(length: u32, rounds: u32) -> List {
        List { length, rounds, built: 0 }
    }
}

impl Program for List {
    fn step<C: Context>(&mut self, context: &C, roots: &mut Roots<C::Node>) -> bool {
        if roots.is_empty() {
            roots.push(None);
        }
        if self.built < self.length {
            for value in 0..1000 {
                let next = roots[0].take();
                roots[0] = Some(context.make(value, next, None));
            }
            self.built += 1000;
            return true;
        }
        let mut sum = 0;
        let mut at = roots[0].clone();
        while let Some(node) = at {
            sum += context.value(&node);
            at = context.a(&node);
        }
        assert_eq!(sum, u64::from(self.length) / 1000 * 499_500);
        roots[0] = None;
        self.built = 0;
        self.rounds -= 1;
        self.rounds != 0
    }
}

/// A cache of bounded size that forgets what was used least lately: an index tree, and a list with links both ways.
pub struct Lru {
    pub capacity: u32,
    pub left: u32,
    size: u32,
    seed: u64,
}

const KEY_BITS: u32 = 16;
const INDEX: usize = 0;
const FIRST: usize = 1;
const LAST: usize = 2;

impl Lru {
    pub fn new(capacity: u32, left: u32) -> Lru {
        Lru { capacity, left, size: 0, seed: 88_172_645_463_325_252 }
    }

    /// Out of the list.
    fn take_out<C: Context>(context: &C, roots: &mut Roots<C::Node>, entry: &C::Node) {
        let (next, back) = (context.a(entry), context.back(entry));
        match &next {
            Some(next) => context.set_back(next, back.as_ref()),
            None => roots[LAST] = back.clone(),
        }
        match &back {
            Some(back) => context.set_a(back, next),
            None => roots[FIRST] = next,
        }
    }

    fn put_first<C: Context>(context: &C, roots: &mut Roots<C::Node>, entry: C::Node) {
        let next = roots[FIRST].take();
        match &next {
            Some(next) => context.set_back(next, Some(&entry)),
            None => roots[LAST] = Some(entry.clone()),
        }
        context.set_back(&entry, None);
        context.set_a(&entry, next);
        roots[FIRST] = Some(entry);
    }
}

impl Program for Lru {
    fn step<C: Context>(&mut self, context: &C, roots: &mut Roots<C::Node>) -> bool {
        if roots.is_empty() {
            roots.extend([Some(bottom_up(context, KEY_BITS)), None, None]);
            return true;
        }
        let mut random = Random(self.seed);
        for _ in 0..100 {
            // Some keys are asked for more often than others.
            let key = random.next() & random.next() & ((1 << KEY_BITS) - 1);
            let index = roots[INDEX].clone().expect("made above");
            let found = descend(context, &index, key, KEY_BITS, |leaf| context.a(leaf));
            if let Some(entry) = found {
                assert_eq!(context.value(&entry), key);
                Self::take_out(context, roots, &entry);
                Self::put_first(context, roots, entry);
                continue;
            }
            if self.size == self.capacity {
                let last = roots[LAST].clone().expect("the cache is full");
                Self::take_out(context, roots, &last);
                let old = context.value(&last);
                descend(context, &index, old, KEY_BITS, |leaf| context.set_a(leaf, None));
            } else {
                self.size += 1;
            }
            let entry = context.make(key, None, None);
            descend(context, &index, key, KEY_BITS, |leaf| context.set_a(leaf, Some(entry.clone())));
            Self::put_first(context, roots, entry);
        }
        self.seed = random.0;
        self.left -= 1;
        self.left != 0
    }

    fn needs_back(&self) -> bool {
        true
    }
}
