//! What callgrind's file says about the calls of the allocator.

use std::collections::BTreeMap;

/// The functions whose calls are told, with the name shown; Rust's are those that `std::alloc` calls.
const ENTRIES: [(&str, &str); 13] = [
    ("malloc", "malloc"),
    ("free", "free"),
    ("calloc", "calloc"),
    ("realloc", "realloc"),
    ("aligned_alloc", "aligned_alloc"),
    ("posix_memalign", "posix_memalign"),
    ("memalign", "memalign"),
    ("free_sized", "free_sized"),
    ("__rust_alloc", "Rust alloc"),
    ("__rust_dealloc", "Rust dealloc"),
    ("__rust_realloc", "Rust realloc"),
    ("__rust_alloc_zeroed", "Rust alloc_zeroed"),
    ("_dl_runtime_resolve", "the loader, on a function's first call"),
];

/// Calls of a function, and the instructions spent in it and what it called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// How often it was called.
    pub count: u64,
    /// All instructions of these calls.
    pub instructions: u64,
}

impl Calls {
    /// The mean of a call.
    pub fn each(self) -> f64 {
        self.instructions as f64 / self.count.max(1) as f64
    }
}

/// The calls of the allocator's entry points in a file that callgrind wrote.
pub fn entry_points(text: &str) -> BTreeMap<&'static str, Calls> {
    // A function's name stands behind its number where it first occurs; after that the number stands alone.
    let mut names: BTreeMap<&str, Option<&'static str>> = BTreeMap::new();
    let mut found: BTreeMap<&'static str, Calls> = BTreeMap::new();
    let mut callee = None;
    let mut pending: Option<u64> = None;
    for line in text.lines() {
        if let Some(count) = pending.take() {
            let cost = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
            if let (Some(entry), Some(cost)) = (callee, cost) {
                let calls = found.entry(entry).or_default();
                calls.count += count;
                calls.instructions += cost;
            }
        } else if let Some(rest) = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn=")) {
            let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
            if !name.is_empty() {
                names.insert(number, entry(name));
            }
            if line.starts_with('c') {
                callee = names.get(number).copied().flatten();
            }
        } else if let Some(rest) = line.strip_prefix("calls=") {
            pending = rest.split_whitespace().next().and_then(|word| word.parse().ok());
        }
    }
    found
}

/// The shown name of a function that is an entry point.
fn entry(name: &str) -> Option<&'static str> {
    // Rust puts paths before the names, callgrind marks of recursion behind, the linker versions.
    let bare = name.split(['\'', '@']).next().unwrap_or(name);
    let bare = bare.rsplit("::").next().unwrap_or(bare);
    ENTRIES.iter().find(|(known, _)| *known == bare).map(|(_, shown)| *shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
events: Ir
fn=(1) main
12 100
cfn=(2) malloc
calls=10 5
12 380
cfn=(3) _RNvCs_7___rustc::__rust_dealloc
calls=2 +3
* 40
fn=(4) other
cfn=(2)
calls=1 5
+4 1000
cfn=(5) mallocator
calls=9 9
3 9
fn=(2)
7 400
";

    #[test]
    fn calls_and_costs_are_added_up() {
        let found = entry_points(FILE);
        assert_eq!(found["malloc"], Calls { count: 11, instructions: 1380 });
        assert_eq!(found["Rust dealloc"], Calls { count: 2, instructions: 40 });
        assert_eq!(found.len(), 2);
        assert_eq!(found["Rust dealloc"].each(), 20.0);
    }
}
