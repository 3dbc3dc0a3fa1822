//! The indexer over Lea's heap behind a lock.

mod indexer;

use freestone_kit::Stats;
use freestone_kit::bins::Bins;
use freestone_kit::global::AsGlobal;
use freestone_kit::locked::Locked;
use freestone_kit::page::Page;

#[global_allocator]
static GLOBAL: AsGlobal<Locked<Bins<Page>>> = AsGlobal::new(Locked::new(Bins::new(Page)));

fn main() {
    indexer::run();
    eprintln!("at most {} bytes live", GLOBAL.get().stats().peak_bytes);
}
