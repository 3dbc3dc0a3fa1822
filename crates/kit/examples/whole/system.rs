//! The indexer over the system's allocator: what it prints here it must print everywhere.

mod indexer;

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

fn main() {
    indexer::run();
}
