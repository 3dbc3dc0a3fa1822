//! The indexer over Redis' exact accounts and slabs behind a lock.

mod indexer;

use freestone_kit::accounting::{Accounting, Slabs};
use freestone_kit::global::AsGlobal;
use freestone_kit::locked::Locked;
use freestone_kit::page::Page;

#[global_allocator]
static GLOBAL: AsGlobal<Accounting<Locked<Slabs<Page>>>> =
    AsGlobal::new(Accounting::new(Locked::new(Slabs::new(Page))));

fn main() {
    indexer::run();
    eprintln!("at most {} bytes live", GLOBAL.get().stats().peak);
}
