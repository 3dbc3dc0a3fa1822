//! The indexer over Zig's allocator for threads.

mod indexer;

use freestone_kit::Stats;
use freestone_kit::counting::Counting;
use freestone_kit::global::AsGlobal;
use freestone_kit::page::Page;
use freestone_kit::smp::Smp;

#[global_allocator]
static GLOBAL: AsGlobal<Counting<Smp>> = AsGlobal::new(Counting::new(Smp::new(Page)));

fn main() {
    indexer::run();
    eprintln!("at most {} bytes live", GLOBAL.get().stats().peak_bytes);
}
