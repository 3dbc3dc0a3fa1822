//! The jobs. Each follows from its seed, makes and frees many blocks on many threads, and panics
//! when its result is wrong.

use freestone_soak::content::random_size;
use freestone_soak::{checksum, content};
use freestone_testkit::Rng;
use hashbrown::HashMap;
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// All jobs.
pub const JOBS: [fn(u64); 6] = [sort_numbers, sort_strings, group, build_text, nest, share];

/// A word that follows from a seed and a number.
fn word(seed: u64, n: usize) -> u64 {
    Rng::stream(seed, n as u64).word()
}

/// Large vectors, and the buffers of a merge sort.
fn sort_numbers(seed: u64) {
    const COUNT: usize = 400_000;
    let mut numbers: Vec<u64> = (0..COUNT).into_par_iter().map(|n| word(seed, n)).collect();
    let sum = |numbers: &[u64]| numbers.par_iter().copied().reduce(|| 0, u64::wrapping_add);
    let before = sum(&numbers);
    numbers.par_sort();
    assert!(numbers.is_sorted() && sum(&numbers) == before, "sorted numbers");
}

/// Many small strings, moved, cloned and dropped.
fn sort_strings(seed: u64) {
    const COUNT: usize = 60_000;
    let text = |n: usize| format!("{:x}", word(seed, n) >> (n % 60));
    let mut strings: Vec<String> = (0..COUNT).into_par_iter().map(text).collect();
    let sum = |strings: &[String]| {
        strings.par_iter().map(|s| checksum(s.as_bytes())).reduce(|| 0, u64::wrapping_add)
    };
    let before = sum(&strings);
    let mut copy = strings.clone();
    strings.par_sort();
    copy.par_sort_unstable_by(|a, b| b.cmp(a));
    copy.reverse();
    assert!(strings.is_sorted() && sum(&strings) == before && strings == copy, "sorted strings");
}

/// Hash maps that grow, merge, and are dropped by whoever merged them.
fn group(seed: u64) {
    const COUNT: usize = 200_000;
    const GROUPS: usize = 5_000;
    type Groups = HashMap<usize, Vec<usize>>;
    let add = |mut groups: Groups, n: usize| {
        groups.entry(word(seed, n) as usize % GROUPS).or_default().push(n);
        groups
    };
    let merge = |a: Groups, b: Groups| {
        let (mut large, small) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        for (key, mut members) in small {
            large.entry(key).or_default().append(&mut members);
        }
        large
    };
    let groups = (0..COUNT).into_par_iter().fold(Groups::new, add).reduce(Groups::new, merge);
    let right = |(key, members): (&usize, &Vec<usize>)| {
        members.iter().all(|&n| word(seed, n) as usize % GROUPS == *key)
    };
    assert!(groups.par_iter().all(right), "members of groups");
    assert_eq!(groups.values().map(Vec::len).sum::<usize>(), COUNT, "size of all groups");
    assert_eq!(groups.values().flatten().sum::<usize>(), COUNT * (COUNT - 1) / 2, "sum of all groups");
}

/// Strings that grow by reallocation, joined into one large one.
fn build_text(seed: u64) {
    const LINES: usize = 2_000;
    let numbers = |line: usize| (0..line % 200).map(move |n| word(seed, line * 200 + n));
    let write = |line: usize| {
        let mut text = String::new();
        for number in numbers(line) {
            text.push_str(&number.to_string());
            text.push(' ');
        }
        text
    };
    let lines: Vec<String> = (0..LINES).into_par_iter().map(write).collect();
    let whole = lines.join("\n");
    drop(lines);
    let read = |text: &str| text.split_whitespace().map(|n| n.parse::<u64>().expect("a number")).collect();
    let found: Vec<Vec<u64>> = whole.par_split('\n').map(read).collect();
    assert_eq!(found.len(), LINES, "lines of text");
    let right = |(line, found): (usize, Vec<u64>)| numbers(line).eq(found);
    assert!(found.into_par_iter().enumerate().all(right), "numbers in text");
}

/// Vectors of vectors of bytes, flattened and dropped on other threads than made them.
fn nest(seed: u64) {
    const OUTER: usize = 300;
    let inner = |n: usize| {
        let mut rng = Rng::stream(seed, n as u64);
        (0..rng.below(100)).map(|_| content(seed ^ n as u64, random_size(&mut rng, 12))).collect::<Vec<_>>()
    };
    let mut nested: Vec<Vec<Vec<u8>>> = (0..OUTER).into_par_iter().map(inner).collect();
    let count: usize = nested.iter().map(Vec::len).sum();
    let sum: u64 = nested.iter().flatten().map(|bytes| checksum(bytes)).fold(0, u64::wrapping_add);
    nested.par_iter_mut().for_each(|inner| inner.shrink_to_fit());
    let flat: Vec<Vec<u8>> = nested.into_par_iter().rev().flatten().collect();
    assert_eq!(flat.len(), count, "flattened vectors");
    let found = flat.into_par_iter().map(|bytes| checksum(&bytes)).reduce(|| 0, u64::wrapping_add);
    assert_eq!(found, sum, "contents of nested vectors");
}

/// Boxes and reference-counted trees that pass from thread to thread.
fn share(seed: u64) {
    const COUNT: usize = 50_000;
    const BOXES: usize = 64;
    enum Tree {
        Leaf(Box<[u8]>),
        Pair(Arc<Tree>, Arc<Tree>),
    }
    fn total(tree: &Tree) -> u64 {
        match tree {
            Tree::Leaf(bytes) => checksum(bytes),
            Tree::Pair(left, right) => total(left).wrapping_add(total(right)),
        }
    }
    let leaf = |n: usize| content(word(seed, n), n % 300).into_boxed_slice();
    let mailboxes: Vec<Mutex<Vec<Arc<Tree>>>> = (0..BOXES).map(|_| Mutex::default()).collect();
    let expected = (0..COUNT).into_par_iter().map(|n| checksum(&leaf(n))).reduce(|| 0, u64::wrapping_add);
    (0..COUNT).into_par_iter().for_each(|n| {
        let place = word(seed, n) as usize;
        let mail = |place: usize| mailboxes[place % BOXES].lock().expect("no job panics under a lock");
        let tree = Arc::new(Tree::Leaf(leaf(n)));
        // Now and then a tree from another box is joined in: made by one thread, kept by a second.
        let other = if n % 3 == 0 { mail(place >> 8).pop() } else { None };
        let tree = match other {
            Some(other) => Arc::new(Tree::Pair(tree, other)),
            None => tree,
        };
        mail(place).push(tree);
    });
    let empty = |mailbox: Mutex<Vec<Arc<Tree>>>| {
        let trees = mailbox.into_inner().expect("no job panics under a lock");
        trees.iter().map(|tree| total(tree)).fold(0, u64::wrapping_add)
    };
    let found = mailboxes.into_par_iter().map(empty).reduce(|| 0, u64::wrapping_add);
    assert_eq!(found, expected, "contents of shared trees");
}
