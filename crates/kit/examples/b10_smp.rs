//! B10: slots by try-lock, as the global allocator of a program that counts words on many threads.

use freestone_kit::global::AsGlobal;
use freestone_kit::page::Page;
use freestone_kit::smp::Smp;
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::thread;

#[global_allocator]
static GLOBAL: AsGlobal<Smp> = AsGlobal::new(Smp::new(Page));

const WORDS: [&str; 8] = ["heap", "slab", "page", "span", "block", "cache", "arena", "chunk"];
const THREADS: usize = 8;

/// Text in which some words are more frequent than others.
fn text(part: usize) -> String {
    let word = |at: usize| WORDS[(at * at + part) % 11 % WORDS.len()];
    (0..20_000).map(word).collect::<Vec<_>>().join(" ")
}

fn main() {
    // Maps are made on one thread and dropped on another.
    let (sender, receiver) = mpsc::channel();
    let counting: Vec<_> = (0..THREADS)
        .map(|part| {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut counts = HashMap::<String, usize>::new();
                for word in text(part).split(' ') {
                    *counts.entry(word.to_string()).or_default() += 1;
                }
                sender.send(counts).unwrap();
            })
        })
        .collect();
    drop(sender);
    let mut total = BTreeMap::<String, usize>::new();
    for counts in receiver {
        for (word, count) in counts {
            *total.entry(word).or_default() += count;
        }
    }
    counting.into_iter().for_each(|thread| thread.join().unwrap());

    for (word, count) in &total {
        println!("{word:<6} {count}");
    }
    println!("words: {}", total.values().sum::<usize>());

    let smp = GLOBAL.get();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    println!("no fewer slots than CPUs: {}", smp.slots() >= cpus.min(128));
    println!("slabs were cut: {}", smp.held() > 0);

    // Threads that come and go use again what those before left behind.
    let before = smp.held();
    for _ in 0..200 {
        thread::spawn(|| drop((0..500).map(|at| vec![at; 20]).collect::<Vec<_>>())).join().unwrap();
    }
    let grown = smp.held() - before;
    println!("slabs for 200 threads one after the other are those of a few: {}", grown < 32 * (64 << 10));
}
